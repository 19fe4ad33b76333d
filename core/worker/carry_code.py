"""Lays a model's own code beside what is made of it, so that the artifact can be opened as its original can."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from core.errors import BitpressError
from core.models.local_files import inside, read_json
from core.models.own_code import needed_code
from core.worker.own_code import carried_code

_VOCABULARY = (".bpe", ".json", ".model", ".tiktoken", ".txt", ".vocab")
"""What a tokenizer that is code may read, by names that only it knows."""
_LARGEST = 256_000_000
_NOT_COPIED = ("config.json", "bitpress.json")


def carry_code(original: Path, output: Path) -> None:
    """Write the verified code of a model that needs it, and what names it, into the folder that was made of it.

    The same files give the same fingerprint: the consent to the original covers the artifact. Raises BitpressError
    `code-changed`, and OSError.
    """
    contents = carried_code(original)
    if not contents:
        return
    for name, content in contents.items():
        place = output / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    for name in ("config.json", "tokenizer_config.json"):
        asked = (read_json(original, name, "bad-config") or {}).get("auto_map")
        settings = read_json(output, name, "bad-config")
        if asked and settings is not None and settings.get("auto_map") != asked:
            text = json.dumps({**settings, "auto_map": asked}, indent=2, ensure_ascii=False)
            (output / name).write_text(text + "\n", encoding="utf-8")
    before, after = needed_code(original), needed_code(output)
    if before is not None and "tokenizer" in before.needed:
        _copy_vocabulary(original, output)
    if before is None or after is None or before.fingerprint != after.fingerprint:
        raise BitpressError(
            "code-changed",
            f"What was made of {original} would not hold the same code.",
            "The folder was changed while the job ran: start it anew.",
        )


def _copy_vocabulary(original: Path, output: Path) -> None:
    for path in sorted(original.iterdir()):
        wanted = path.suffix in _VOCABULARY and path.name not in _NOT_COPIED and not path.name.endswith(".index.json")
        if wanted and not (output / path.name).exists():
            place = inside(original, path.name)
            if place.is_file() and place.stat().st_size <= _LARGEST:
                shutil.copyfile(place, output / path.name)
