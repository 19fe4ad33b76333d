"""Reads a model's tokenizer, whose files anybody may have made, with sizes looked at before anything is parsed.

The libraries that parse them raise what they like, and the one that is written in Rust even something that is no
Exception; all of it becomes one error with a reason and a hint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.models.local_files import inside, read_json
from core.worker.faults import is_panic
from core.worker.own_code import own_tokenizer_class

MOST_BYTES = 128_000_000
"""Of one file; tokenizers of 262,144 tokens take 35 MB, and up to forty times as much in memory while they are read."""
SMALL_BYTES = 16_000_000
"""Of one that holds settings or a few added tokens; a list of a model's whole vocabulary takes some."""

FILES: Mapping[str, int] = {
    "config.json": SMALL_BYTES,
    "tokenizer.json": MOST_BYTES,
    "tokenizer.model": MOST_BYTES,
    "spiece.model": MOST_BYTES,
    "sentencepiece.bpe.model": MOST_BYTES,
    "tekken.json": MOST_BYTES,
    "vocab.json": MOST_BYTES,
    "vocab.txt": MOST_BYTES,
    "merges.txt": MOST_BYTES,
    "tokenizer_config.json": SMALL_BYTES,
    "added_tokens.json": SMALL_BYTES,
    "special_tokens_map.json": SMALL_BYTES,
    "chat_template.json": SMALL_BYTES,
    "chat_template.jinja": SMALL_BYTES,
}
"""What the libraries may open, and the most bytes that each may have."""
MOST_TOKENS = 4_000_000
"""In one list of tokens; the largest vocabularies have 262,144."""

_TRIAL = "The first 12,345 words \u2014 \u00fcberall, \u4e16\u754c \U0001f642 </s>"
_OBJECTS = ("tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "tokenizer.json")
_HINT = "Fetch the model's tokenizer files again, or use another copy of the model."


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer of a model's folder, without the network, and without code of its own that was not opened.

    Raises BitpressError `bad-tokenizer`, `outside-folder`, `code-not-agreed`, and `no-tokenizer` where there is none.
    """
    folder = Path(path)
    check_tokenizer_files(folder)
    from transformers import AutoTokenizer

    try:
        own = own_tokenizer_class(folder)
        if own is not None:
            tokenizer = own.from_pretrained(str(folder), local_files_only=True)
        else:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        # What does not fit together shows at the first text only, as an abort of the Rust library.
        tokenizer(_TRIAL, verbose=False)
    except (KeyboardInterrupt, SystemExit, MemoryError, BitpressError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise BitpressError("bad-tokenizer", f"The tokenizer in {folder} cannot be read: {said}", _HINT) from error
    return tokenizer


def check_tokenizer_files(folder: Path) -> None:
    """Refuse what is too large, leaves the folder, or is no JSON object where one belongs. Parses the small ones.

    Raises BitpressError `bad-tokenizer` and `outside-folder`.
    """
    for name, most in FILES.items():
        place = inside(folder, name)
        try:
            if not place.exists():
                continue
            if not place.is_file():
                raise _bad(place, "it is no regular file")
            size = place.stat().st_size
        except OSError as error:
            raise _bad(place, error.strerror or str(error)) from error
        if size > most:
            raise _bad(place, f"it has {size:,} bytes, more than {most:,}")
        if name in _OBJECTS and size <= SMALL_BYTES:
            _check_object(folder, name)
    if (folder / "tokenizer_config.json").exists():
        _check_classes(folder)


def _check_object(folder: Path, name: str) -> None:
    found = read_json(folder, name, "bad-tokenizer")
    listed = (found or {}).get("added_tokens") or (found or {}).get("added_tokens_decoder")
    if isinstance(listed, list | dict) and len(listed) > MOST_TOKENS:
        raise _bad(folder / name, f"it lists {len(listed):,} tokens")


def _check_classes(folder: Path) -> None:
    """A name that is looked up among classes has to be a name."""
    found = read_json(folder, "tokenizer_config.json", "bad-tokenizer") or {}
    for key in ("tokenizer_class", "processor_class"):
        value = found.get(key)
        if value is not None and not (isinstance(value, str) and value.isidentifier()):
            raise _bad(folder / "tokenizer_config.json", f"its {key} is no name of a class")


def _bad(place: Path, why: str) -> BitpressError:
    return BitpressError("bad-tokenizer", f"{place} is no file of a tokenizer: {why}.", _HINT)
