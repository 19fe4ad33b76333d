"""Writes a compressed model the way that plain transformers and serving engines read it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.models.local_files import holds
from core.worker.carry_code import carry_code
from core.worker.expert_names import name_experts
from core.worker.faults import as_system_error
from core.worker.reporter import Reporter
from core.worker.save_codebook import holds_codebooks, save_codebook_model
from core.worker.structured.settings import write_settings

VERBATIM = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files that compression does not touch: copied from the original byte for byte, so that it tokenizes the same."""

_CHUNK = 1 << 22


def save_artifact(
    model: Any, tokenizer: Any, original: Path, output: Path, shard: str | None = None
) -> tuple[Path, ...]:
    """Save into the existing folder `output`; gives the weight files in the order of their names.

    `shard` is the most that one of them holds, such as `1GB`, where it is not transformers' own measure.

    llmcompressor leaves its own `recipe.yaml` there. Files are readable by everybody, as safetensors would write them
    for the owner only. Raises OSError, with ENOSPC for a full disk.
    """
    _lenient_generation_config(model)
    name_experts(model)
    with writing_to(output):
        if holds_codebooks(model):
            save_codebook_model(model, output)
        else:
            sizes = {} if shard is None else {"max_shard_size": shard}
            model.save_pretrained(str(output), save_compressed=True, **sizes)
            write_settings(model, output)
        tokenizer.save_pretrained(str(output))
    for name in VERBATIM:
        if (original / name).is_file():
            shutil.copyfile(original / name, output / name)
    _drop_linked(original, output)
    carry_code(original, output)
    make_readable(output)
    return tuple(sorted(output.glob("*.safetensors")))


def _drop_linked(original: Path, output: Path) -> None:
    """llmcompressor copies every Python file beside the model, also what a link leads to, wherever that is."""
    for path in output.glob("*.py"):
        if not holds(original, path.name):
            path.unlink()


@contextmanager
def writing_to(output: Path) -> Iterator[None]:
    """Name the folder in what the system refuses: safetensors tells a full disk in words of its own, without a path."""
    try:
        yield
    except Exception as error:
        refused = as_system_error(error)
        if isinstance(refused, OSError) and refused.filename is None:
            refused.filename = str(output)
        if refused is error:
            raise
        raise refused from error


def make_readable(output: Path) -> None:
    """Everybody may read the files: safetensors writes them for the owner only."""
    for path in output.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


def hash_files(paths: Sequence[Path], report: Reporter) -> str:
    """SHA-256 over the files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                report.check()
    return digest.hexdigest()


def _lenient_generation_config(model: Any) -> None:
    """Put a plain generation config where transformers would refuse to save the model's own.

    Many models ship one that transformers reads with a warning and refuses to write. The file is copied as it is.
    """
    from transformers import GenerationConfig

    try:
        model.generation_config.validate(strict=True)
    except ValueError:
        model.generation_config = GenerationConfig()
