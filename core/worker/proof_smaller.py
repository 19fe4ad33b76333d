"""Whether an artifact is the original without the blocks, channels and heads that were to go, and nothing else.

What is compared with the original: the sizes that its config names and those of every tensor; the blocks that are
left, tensor by tensor, with those that they were; the rows of narrowed layers, each of which must be one of the
original's, in order. What cannot be: the layers that were fitted anew, and, row by row, what was rounded afterwards.
Those are held to the divergence of the whole model, as everything is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BitpressError
from core.measure.results import ProofCheck
from core.methods.smaller import ATTENTION, FUSED, MLP_LAYOUTS, Smaller, kept_width
from core.value import Json
from core.worker.proof_tensors import StoredTensor, read_config, stored_tensors
from core.worker.reporter import Reporter

if TYPE_CHECKING:
    from torch import Tensor

SIZE, BLOCKS, ROWS = "smaller", "blocks that are left", "channels that are left"

_CHANNELS = ("intermediate_size", "ffn_dim")
_SHOWN = 3
_NORM_ERROR = 0.01
"""Relative: norms that compute with 1 + weight are rounded once more on their way through llmcompressor."""

_GIVES = frozenset({*(name for ins, _ in MLP_LAYOUTS for name in ins), *ATTENTION[0]})
"""Layers whose rows go."""


def check_smaller(
    tensors: Sequence[StoredTensor],
    artifact: Path,
    original: Path | None,
    *,
    smaller: Smaller,
    dropped: Sequence[int],
    recovered: bool,
    report: Reporter,
    stage: str,
) -> Iterator[ProofCheck]:
    """The checks that there are for this artifact; `dropped` are the blocks' old numbers, as far as they are known.

    Where it was `recovered`, its numbers are not the original's any more, and its sizes alone are looked at.
    """
    config = read_config(artifact)
    before = read_config(original) if original is not None else None
    yield _sizes(config, before, tensors, smaller, dropped)
    if original is None or recovered or (smaller.blocks and len(dropped) != smaller.blocks):
        return
    try:
        originals = {each.name: each for each in stored_tensors(original)}
    except BitpressError as error:
        yield ProofCheck(name=BLOCKS, passed=False, detail=error.problem.message)
        return
    renamed = old_names([each.name for each in tensors], originals, dropped)
    yield _same(tensors, originals, renamed, report, stage)
    if smaller.channels or smaller.kv_heads:
        yield from _rows(tensors, originals, renamed)


def old_names(names: Sequence[str], originals: Mapping[str, object], dropped: Sequence[int]) -> dict[str, str]:
    """Each tensor's name in the original's files, where it has one there."""
    found = {}
    for name in names:
        old = _renumbered(name, dropped)
        for tried in (old, f"model.{old}", old.partition(".")[2]):
            if tried in originals:
                found[name] = tried
                break
    return found


def old_number(new: int, dropped: Sequence[int]) -> int:
    """The number that a block had among those of the original."""
    number = new
    for gone in sorted(dropped):
        number += gone <= number
    return number


def _renumbered(name: str, dropped: Sequence[int]) -> str:
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdecimal() and place), None)
    if place is not None:
        parts[place] = str(old_number(int(parts[place]), dropped))
    return ".".join(parts)


def _sizes(
    config: Mapping[str, Json],
    before: Mapping[str, Json] | None,
    tensors: Sequence[StoredTensor],
    smaller: Smaller,
    dropped: Sequence[int],
) -> ProofCheck:
    """What the config names, against what was to be left of the original's, and against the tensors."""
    layers = _number(config, "num_hidden_layers")
    numbers = {number for each in tensors if (number := _block(each.name)) is not None}
    if layers is None or numbers != set(range(layers)):
        return _no(SIZE, f"config.json says {layers} blocks, the files hold {len(numbers)}.")
    said = [f"{layers} blocks"]
    if before is not None:
        wanted = (_number(before, "num_hidden_layers") or 0) - smaller.blocks
        if layers != wanted:
            return _no(SIZE, f"{wanted} blocks were to be left, config.json says {layers}.")
        if dropped:
            said[0] += f" ({', '.join(map(str, sorted(dropped)))} of {wanted + smaller.blocks} are gone)"
    for name, kept in (
        *((name, smaller.channels) for name in _CHANNELS if smaller.channels),
        *((("num_key_value_heads", smaller.kv_heads),) if smaller.kv_heads else ()),
    ):
        now, was = _number(config, name), _number(before, name) if before is not None else None
        if now is None or was is None:
            continue
        wanted = kept_width(was, kept, smaller.multiple) if name in _CHANNELS else was - smaller.kv_heads
        if now != wanted:
            return _no(SIZE, f"{name} was to be {wanted:,} of {was:,}, config.json says {now:,}.")
        said.append(f"{name} {now:,} of {was:,}")
    return ProofCheck(name=SIZE, passed=True, detail=f"{'; '.join(said)}.")


def _same(
    tensors: Sequence[StoredTensor],
    originals: Mapping[str, StoredTensor],
    renamed: Mapping[str, str],
    report: Reporter,
    stage: str,
) -> ProofCheck:
    """Every tensor of the original's dtype and size has its numbers; what is of another size is left out."""
    import torch

    wrong, compared = [], 0
    for done, each in enumerate(tensors, start=1):
        report.progress(stage, done, len(tensors), each.name)
        old = originals.get(renamed.get(each.name, ""))
        if old is None or old.dtype != each.dtype or old.shape != each.shape:
            continue
        was, now = old.read(), each.read()
        close = torch.equal(was, now)
        if not close and now.dim() == 1:
            error = (now.float() - was.float()).norm() / was.float().norm().clamp_min(1e-12)
            close = bool(error <= _NORM_ERROR)
        compared += 1
        if not close:
            wrong.append(each.name)
    if wrong:
        listed = ", ".join(wrong[:_SHOWN]) + (" …" if len(wrong) > _SHOWN else "")
        return _no(BLOCKS, f"{len(wrong)} of {compared} tensors are not what they were: {listed}")
    return ProofCheck(
        name=BLOCKS, passed=True, detail=f"{compared} of {len(tensors)} tensors are the original's, each in its place."
    )


def _rows(
    tensors: Sequence[StoredTensor], originals: Mapping[str, StoredTensor], renamed: Mapping[str, str]
) -> Iterator[ProofCheck]:
    """Whether the rows of narrowed layers are rows of the original's, in order, and the same in layers side by side."""
    chosen: dict[str, tuple[int, ...]] = {}
    count = 0
    for each in tensors:
        old = originals.get(renamed.get(each.name, ""))
        narrowed = _last(each.name) in _GIVES and each.name.endswith(".weight")
        if old is None or not narrowed or old.dtype != each.dtype or old.shape == each.shape:
            continue
        places = _places(old.read(), each.read())
        count += 1
        if places is None:
            yield _no(ROWS, f"{each.name} holds rows that the original has not, or in another order.")
            return
        last = _last(each.name)
        if last == FUSED:
            half, was = len(places) // 2, old.shape[0] // 2
            if tuple(place - was for place in places[half:]) != places[:half]:
                yield _no(ROWS, f"The halves of {each.name} hold different channels.")
                return
        if last in ("gate_proj", "up_proj"):
            layer = each.name.rpartition(f".{last}.")[0]
            if chosen.setdefault(layer, places) != places:
                yield _no(ROWS, f"gate_proj and up_proj of {layer} hold different channels.")
                return
    if count:
        yield ProofCheck(
            name=ROWS, passed=True, detail=f"Every row of {count} narrowed layers is one of the original's, in order."
        )


def _places(old: Tensor, new: Tensor) -> tuple[int, ...] | None:
    """Where the rows of `new` stand in `old`, ascending; None where one is not there or they are out of order."""
    import torch

    def rows(matrix: Tensor) -> list[bytes]:
        flat = matrix.contiguous().view(torch.uint8).reshape(matrix.shape[0], -1).numpy()
        return [row.tobytes() for row in flat]

    found: list[int] = []
    before = rows(old)
    place = 0
    for row in rows(new):
        while place < len(before) and before[place] != row:
            place += 1
        if place == len(before):
            return None
        found.append(place)
        place += 1
    return tuple(found)


def _number(config: Mapping[str, Json], name: str) -> int | None:
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        if isinstance(part.get(name), int):
            return int(part[name])
    return None


def _block(name: str) -> int | None:
    return next((int(part) for part in name.split(".")[1:] if part.isdecimal()), None)


def _last(tensor: str) -> str:
    """The last name of the module that a tensor belongs to."""
    return tensor.rpartition(".")[0].rpartition(".")[2]


def _no(name: str, detail: str) -> ProofCheck:
    return ProofCheck(name=name, passed=False, detail=detail)
