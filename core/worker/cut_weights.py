"""Copies the tensors that a cut needs, byte by byte: a model of any size costs its kept layers, and no memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from core.errors import BitpressError
from core.models.safetensors_header import SINGLE_FILE, TensorEntry

_CHUNK = 1 << 24
_ALIGNMENT = 8
"""Bytes; the header is filled up with blanks so that the tensors begin at a multiple of this."""


def layer_prefix(names: Collection[str], module_list: str, layers: int, inside: Collection[str]) -> str:
    """What stands before a layer's number in the tensors' names, `model.layers` for one.

    A checkpoint may name its layers with more or less before them than the module in memory; the tensors inside tell
    which list it is. `inside` are the names of one layer's own tensors. Raises BitpressError `cannot-cut`.
    """
    last = module_list.rpartition(".")[2]
    found: dict[str, dict[int, int]] = {}
    for name in names:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdecimal() and place and parts[place - 1] == last:
                numbers = found.setdefault(".".join(parts[:place]), {})
                known = ".".join(parts[place + 1 :]) in inside
                numbers[int(part)] = numbers.get(int(part), 0) + known
    whole = {
        head: sum(numbers[number] for number in range(layers))
        for head, numbers in found.items()
        if all(numbers.get(number) for number in range(layers))
    }
    if not whole:
        raise BitpressError(
            "cannot-cut",
            f"The tensors of the {layers} decoder layers cannot be told from the others by their names.",
            "The model cannot be rehearsed in part; the job itself may still run.",
        )
    return max(whole, key=lambda head: (whole[head], head == module_list))


def kept_tensors(tensors: Mapping[str, TensorEntry], prefix: str, kept: Sequence[int]) -> dict[str, TensorEntry]:
    """New name to tensor: the kept layers, numbered anew, and everything that belongs to no layer."""
    numbers = {old: new for new, old in enumerate(kept)}
    found: dict[str, TensorEntry] = {}
    for name, entry in tensors.items():
        number, dot, rest = name.removeprefix(f"{prefix}.").partition(".")
        if not name.startswith(f"{prefix}.") or not number.isdecimal():
            found[name] = entry
        elif int(number) in numbers:
            found[f"{prefix}.{numbers[int(number)]}{dot}{rest}"] = entry
    return found


def write_weights(tensors: Mapping[str, TensorEntry], folder: Path, progress: Callable[[int, int], None]) -> int:
    """Write one safetensors file; gives its bytes. `progress` hears bytes done and in all, and may raise."""
    total = sum(entry.bytes for entry in tensors.values())
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, entry in tensors.items():
        header[name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [place, place + entry.bytes],
        }
        place += entry.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    path = folder / SINGLE_FILE
    done = 0
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for entry in tensors.values():
            with entry.file.open("rb") as source:
                source.seek(entry.start)
                left = entry.bytes
                while left:
                    chunk = source.read(min(left, _CHUNK))
                    if not chunk:
                        raise BitpressError(
                            "truncated-weights", f"{entry.file} ended while it was read.", "Fetch the model again."
                        )
                    out.write(chunk)
                    left -= len(chunk)
                    done += len(chunk)
                    progress(done, total)
    return path.stat().st_size
