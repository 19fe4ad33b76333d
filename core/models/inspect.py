"""Reads a model folder or GGUF file by its headers: what it is, and why it may not be usable. Nothing is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.errors import BitpressError
from core.models.artifact import Manifest, read_manifest
from core.models.config_facts import ConfigFacts, check_weights, config_facts
from core.models.gguf_file import inspect_gguf
from core.models.local_files import holds, hub_repository, is_text, read_json, read_start, shown
from core.models.local_model import LocalModel, Origin, Remark, TensorGroup, Weights
from core.models.own_code import OwnCode, needed_parts, own_code
from core.models.quantized import PLAIN_LABELS, logical_parameters, precision_label, quantization_label
from core.models.safetensors_header import INDEX_FILE, SINGLE_FILE, TensorEntry, merged, read_headers
from core.value import Json

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_GENERATES = re.compile(r"(?:ForCausalLM|LMHeadModel|ForConditionalGeneration)$")
_LICENCE = re.compile(r"^(license(?:_name)?):[ \t]*['\"]?([^\s'\"#][^\n'\"#]*)", re.MULTILINE)


def inspect(path: Path, origin: Origin = Origin.FOLDER) -> LocalModel:
    """A model folder or a .gguf file as a value.

    Raises BitpressError: `no-such-model`, `no-config`, `bad-config`, `config-mismatch`, `truncated-weights`,
    `bad-weights`, `bad-index`, `missing-shard`, `no-index`, `outside-folder`, `bad-gguf`, `not-readable`,
    `path-not-text`.
    """
    path = path.expanduser().absolute()
    if not is_text(path):
        raise BitpressError(
            "path-not-text",
            f"The name of {os.fsencode(path).decode('utf-8', 'backslashreplace')} is not UTF-8, so it cannot be kept "
            "or passed on.",
            "Rename the folder or file.",
        )
    if path.is_file() and path.suffix.lower() == ".gguf":
        return inspect_gguf(path, origin)
    if not path.is_dir():
        raise BitpressError(
            "no-such-model",
            f"{path} is neither a model folder nor a GGUF file.",
            "Choose the folder that holds config.json and the weights, or a .gguf file.",
        )
    try:
        return _inspect_folder(path, origin)
    except OSError as error:
        raise BitpressError(
            "not-readable",
            f"{path} cannot be read: {error.strerror or error}.",
            "Check that you may read this folder and its files.",
        ) from error


def model_name(path: Path) -> str:
    """The folder's name; for a snapshot in the Hugging Face cache the model's own."""
    repository = hub_repository(path)
    return shown(path.name if repository is None else repository.name.rsplit("--", 1)[-1])


def _inspect_folder(folder: Path, origin: Origin) -> LocalModel:
    config = read_json(folder, "config.json", "bad-config")
    if config is None:
        raise BitpressError(
            "no-config",
            f"{folder} has no config.json, so nobody can tell what model it is.",
            "Choose the folder that holds config.json and the weights.",
        )
    facts = config_facts(config, folder / "config.json")
    headers = read_headers(folder)
    tensors = merged(headers)
    pickles = () if headers else _pickles(folder)
    weights = Weights.SAFETENSORS if headers else Weights.PICKLE if pickles else Weights.NONE
    quantization = _quantization(config)
    if tensors:
        check_weights(facts, tensors, folder)
    tied = _tied(facts, tensors)
    tokenizer_config = _optional(folder, "tokenizer_config.json")
    brings_code = facts.remote_code or bool(tokenizer_config.get("auto_map"))
    needs_code = needed_parts(config, tokenizer_config, tokenizer_file=holds(folder, "tokenizer.json"))
    remote_code = bool(needs_code)
    code, refused = _code(folder) if remote_code else (None, "")
    manifest = read_manifest(folder)
    groups = _groups(tensors.values())
    return LocalModel(
        path=folder,
        name=model_name(folder),
        origin=Origin.ARTIFACT if manifest is not None and origin is Origin.FOLDER else origin,
        weights=weights,
        bytes=sum(header.file_bytes for header in headers) or sum(path.stat().st_size for path in pickles),
        architecture=facts.architecture,
        model_type=facts.model_type,
        parameters=logical_parameters(tensors.values(), quantization, tied is True) if tensors else None,
        dtypes=groups,
        precision=_precision(groups, quantization, facts),
        layers=facts.layers,
        hidden_size=facts.hidden_size,
        intermediate_size=facts.intermediate_size,
        heads=facts.heads,
        kv_heads=facts.kv_heads,
        head_dim=facts.head_dim,
        context_length=facts.context_length,
        vocabulary=facts.vocabulary,
        tied_embeddings=tied,
        chat_template=bool(tokenizer_config.get("chat_template"))
        or any(holds(folder, name) for name in TEMPLATE_FILES),
        tokenizer=any(holds(folder, name) for name in TOKENIZER_FILES),
        quantization=quantization_label(quantization) if quantization is not None else None,
        licence=_licence(folder),
        remote_code=remote_code,
        needs_code=needs_code,
        own_code=code.fingerprint if code is not None and not refused else "",
        shards=len(headers) or len(pickles),
        made_from=manifest.made_from if manifest is not None else None,
        made_by_run=manifest.run if manifest is not None else None,
        made_by=shown(manifest.method_title, 80) if manifest is not None else "",
        proved=manifest.proved if manifest is not None else None,
        remarks=tuple(
            _remarks(
                folder,
                facts=facts,
                weights=weights,
                remote_code=remote_code,
                brings_code=brings_code,
                code=_named_code(config, tokenizer_config),
                refused=refused,
                manifest=manifest,
                names=tuple(header.path.name for header in headers),
            )
        ),
    )


def _remarks(
    folder: Path,
    *,
    facts: ConfigFacts,
    weights: Weights,
    remote_code: bool,
    brings_code: bool,
    code: str,
    refused: str,
    manifest: Manifest | None,
    names: tuple[str, ...],
) -> Iterable[Remark]:
    if weights is Weights.PICKLE:
        yield Remark(
            code="pickle",
            level="blocks",
            message="Its weights are Python pickles, which can run any code when they are opened, so they never are. "
            "Look for a safetensors version of this model.",
        )
    if weights is Weights.NONE:
        yield Remark(
            code="no-weights", level="blocks", message="There are no weights in this folder, only a description."
        )
    if weights is Weights.SAFETENSORS and SINGLE_FILE not in names and not holds(folder, INDEX_FILE):
        yield Remark(
            code="unusual-names",
            level="blocks",
            message=f"transformers looks for {SINGLE_FILE}; this folder has {shown(', '.join(names))}.",
        )
    if remote_code:
        yield Remark(
            code="remote-code",
            level="blocks",
            message=f"This model wants to run Python code that came with it: {code}. "
            + (
                f"Bitpress never runs that. {refused}"
                if refused
                else "Bitpress runs none of it before you have read it and agreed."
            ),
        )
    elif brings_code:
        yield Remark(
            code="own-code-unused",
            level="warns",
            message=f"Python code came with this model, and Bitpress never runs such code. transformers knows "
            f"{facts.model_type} itself, and that is used instead; the two should be the same, but nobody checked.",
        )
    if not facts.model_type:
        yield Remark(
            code="no-model-type",
            level="blocks",
            message="config.json does not say which model_type this is, so transformers cannot build it.",
        )
    elif not _GENERATES.search(facts.architecture):
        yield Remark(
            code="not-a-text-generator",
            level="warns",
            message=f"Its architecture, {facts.architecture or 'not named'}, is not known as one that writes text.",
        )
    if not any(holds(folder, name) for name in TOKENIZER_FILES):
        yield Remark(
            code="no-tokenizer",
            level="warns",
            message="There is no tokenizer, so the model can be neither calibrated nor compared.",
        )
    if manifest is not None and not manifest.proved:
        yield Remark(
            code="unproved",
            level="warns",
            message="The proof of this artifact failed." if manifest.proved is False else "It has not been proved yet.",
        )


def _named_code(*configs: Mapping[str, Json]) -> str:
    """What `auto_map` would have imported, as `modeling_x.XForCausalLM for AutoModelForCausalLM`, of three at most."""
    named: dict[str, None] = {}
    for config in configs:
        found = config.get("auto_map")
        entries = found.items() if isinstance(found, dict) else (("", found),) if found else ()
        for kind, classes in entries:
            for one in classes if isinstance(classes, list) else (classes,):
                if isinstance(one, str):
                    named[shown(f"{one} for {kind}" if kind else one, 80)] = None
    return ", ".join([*named][:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "") or "nothing it names"


def _code(folder: Path) -> tuple[OwnCode | None, str]:
    """The code that the model cannot do without, and why nobody can agree to it, or nothing."""
    try:
        code = own_code(folder)
    except BitpressError as error:
        return None, error.problem.message
    return code, "No Python file is named." if code is None else code.refused


def _pickles(folder: Path) -> tuple[Path, ...]:
    """Pickled weight files by name alone; `training_args.bin` and the like are not weights."""
    return tuple(
        entry
        for entry in sorted(folder.iterdir())
        if entry.suffix in PICKLE_SUFFIXES
        and entry.stem not in ("training_args", "optimizer", "scheduler", "rng_state")
        and entry.is_file()
    )


def _optional(folder: Path, name: str) -> Mapping[str, Json]:
    return read_json(folder, name, "bad-config") or {}


def _quantization(config: Mapping[str, Json]) -> Mapping[str, Json] | None:
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            for name in ("quantization_config", "compression_config"):
                if isinstance(found := part.get(name), dict):
                    return found
    return None


def _groups(tensors: Iterable[TensorEntry]) -> tuple[TensorGroup, ...]:
    groups: dict[str, list[TensorEntry]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return tuple(
        sorted(
            (
                TensorGroup(
                    dtype=dtype,
                    tensors=len(members),
                    elements=sum(member.elements for member in members),
                    bytes=sum(member.bytes for member in members),
                )
                for dtype, members in groups.items()
            ),
            key=lambda group: -group.bytes,
        )
    )


def _precision(groups: tuple[TensorGroup, ...], quantization: Mapping[str, Json] | None, facts: ConfigFacts) -> str:
    if quantization is not None and (label := precision_label(quantization)):
        return label
    if groups:
        return PLAIN_LABELS.get(groups[0].dtype, groups[0].dtype)
    return {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}.get(facts.dtype, "")


def _tied(facts: ConfigFacts, tensors: Mapping[str, TensorEntry]) -> bool | None:
    if facts.tied_embeddings is not None or not tensors:
        return facts.tied_embeddings
    return not any(".".join(name.split(".")[-2:]) in ("lm_head.weight", "embed_out.weight") for name in tensors)


def _licence(folder: Path) -> str:
    """From the README's front matter, else the first line of a licence file."""
    text = read_start(folder, "README.md").replace("\r\n", "\n")
    if text.startswith("---\n"):
        found = dict(_LICENCE.findall(text[4:].split("\n---", 1)[0]))
        licence = str(found.get("license", "")).strip()
        if licence:
            return shown(str(found.get("license_name", licence)).strip() if licence == "other" else licence, 60)
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        line = next((line.strip(" #\t") for line in read_start(folder, name).splitlines() if line.strip(" #\t")), "")
        if line:
            return shown(line, 60)
    return ""
