"""A model with fewer blocks or narrower layers, as arithmetic over its survey: what pruning leaves of each tensor."""

from __future__ import annotations

from collections import Counter
from math import prod

from core.models.survey import Survey, SurveyedModule, SurveyedTensor
from core.value import Value

MLP_LAYOUTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("gate_up_proj",), "down_proj"),
    (("fc1",), "fc2"),
    (("dense_h_to_4h",), "dense_4h_to_h"),
)
"""The layers of an MLP whose rows are its channels, and the one whose columns are; a fused one has both halves."""

FUSED = "gate_up_proj"

ATTENTION = (("q_proj", "k_proj", "v_proj"), "o_proj")
"""The layers of an attention whose rows belong to heads, and the one whose columns do."""


class Smaller(Value):
    """What pruning takes out of a model; nothing by default."""

    blocks: int = 0
    """Decoder blocks."""
    channels: float = 0.0
    """Share of every MLP's intermediate channels, 0 to 1; see `kept_width`."""
    multiple: int = 128
    """What the channels that are left are rounded to, in channels."""
    kv_heads: int = 0
    """Key-value heads of every attention, each with the query heads that read it."""

    def __bool__(self) -> bool:
        """Whether anything is taken out."""
        return bool(self.blocks or self.channels or self.kv_heads)


WHOLE = Smaller()
"""Nothing is taken out."""


def kept_width(width: int, share: float, multiple: int) -> int:
    """How many of `width` channels are left when the share is taken away: the nearest multiple, at least one of it.

    All of them where there are no more than one multiple.
    """
    if width <= multiple or not share:
        return width
    return min(max(round(width * (1 - share) / multiple), 1) * multiple, width)


def block_prefix(survey: Survey) -> str:
    """What stands before a decoder block's number in modules' names, `model.layers` for one; empty where unknown."""
    numbers: dict[str, set[int]] = {}
    for module in survey.modules:
        place = _place(module.name)
        if place is not None:
            numbers.setdefault(place[0], set()).add(place[1])
    fitting = [prefix for prefix, found in numbers.items() if len(found) == survey.layers and survey.layers]
    return fitting[0] if len(fitting) == 1 else ""


def intermediate(survey: Survey) -> tuple[tuple[str, ...], str, int] | None:
    """The MLPs' layers as in MLP_LAYOUTS and their channels; None where blocks differ, or are built otherwise."""
    for ins, out in MLP_LAYOUTS:
        widths = {module.shape[1] for module in _named(survey, out)}
        rows = {(_last(module), module.shape[0]) for name in ins for module in _named(survey, name)}
        count = len(_named(survey, out))
        whole = all(len(_named(survey, name)) == count for name in ins)
        if len(widths) == 1 and count == survey.layers and whole:
            width = widths.pop()
            if rows == {(name, 2 * width if name == FUSED else width) for name in ins}:
                return ins, out, width
    return None


def head_rows(survey: Survey) -> tuple[int, int] | None:
    """Rows of the query and of the key layer that belong to one key-value head; None where heads are not apart."""
    ins, out = ATTENTION
    modules = {name: _named(survey, name) for name in (*ins, out)}
    if not survey.kv_heads or any(len(found) != survey.layers for found in modules.values()):
        return None
    if any(len({module.shape for module in found}) != 1 for found in modules.values()):
        return None
    query, key, value = (modules[name][0].shape[0] for name in ins)
    if key != value or modules[out][0].shape[1] != query or query % key or key % survey.kv_heads:
        return None
    return query // survey.kv_heads, key // survey.kv_heads


def shrunk(survey: Survey, smaller: Smaller) -> Survey:
    """The survey of the model that is left. Which blocks go shows only when the model is measured.

    Here they are the last of the commonest size; where blocks differ, so may the sizes. What cannot be taken out (see
    `intermediate`, `head_rows`) stays.
    """
    found = _shallower(survey, smaller.blocks) if smaller.blocks else survey
    mlp = intermediate(found) if smaller.channels else None
    if mlp is not None:
        ins, last, width = mlp
        kept = kept_width(width, smaller.channels, smaller.multiple)
        sizes = {name: kept * (2 if name == FUSED else 1) for name in ins}
        found = _narrower(found, sizes, {last: kept})
    heads = head_rows(found) if smaller.kv_heads else None
    if heads is not None and survey.kv_heads:
        left = survey.kv_heads - smaller.kv_heads
        query, key = heads
        rows = {"q_proj": query * left, "k_proj": key * left, "v_proj": key * left}
        found = _narrower(found, rows, {"o_proj": query * left}).model_copy(update={"kv_heads": left})
    return found


def _shallower(survey: Survey, count: int) -> Survey:
    prefix = block_prefix(survey)
    if not prefix or count >= survey.layers:
        return survey
    sizes = [0] * survey.layers
    for module in survey.modules:
        place = _place(module.name)
        if place is not None and place[0] == prefix and place[1] < survey.layers:
            sizes[place[1]] += module.elements
    usual = Counter(sizes).most_common(1)[0][0]
    order = sorted(range(survey.layers), key=lambda number: (sizes[number] == usual, number))
    gone = set(order[-count:])
    kept = {old: new for new, old in enumerate(number for number in range(survey.layers) if number not in gone)}

    def renamed(name: str) -> str | None:
        place = _place(name)
        # In the file the blocks may be called otherwise, `layers` for `model.layers`.
        if place is None or place[0].rpartition(".")[2] != prefix.rpartition(".")[2] or place[1] >= survey.layers:
            return name
        return None if place[1] in gone else f"{place[0]}.{kept[place[1]]}{place[2]}"

    modules = []
    for module in survey.modules:
        name = renamed(module.name)
        if name is not None:
            parts = tuple((part, renamed(stored) or stored) for part, stored in module.parts_saved_as)
            stored = renamed(module.saved_as) or ""
            modules.append(module.model_copy(update={"name": name, "saved_as": stored, "parts_saved_as": parts}))
    attentions = tuple(name for name in map(renamed, survey.attentions) if name is not None)
    return survey.model_copy(
        update={"modules": tuple(modules), "layers": survey.layers - count, "attentions": attentions}
    )


def _narrower(survey: Survey, rows: dict[str, int], columns: dict[str, int]) -> Survey:
    """The survey with so many rows or columns in the blocks' layers of these last names."""
    modules = tuple(
        _resized(module, rows.get(_last(module)), columns.get(_last(module))) if _in_block(module) else module
        for module in survey.modules
    )
    return survey.model_copy(update={"modules": modules})


def _resized(module: SurveyedModule, rows: int | None, columns: int | None) -> SurveyedModule:
    if rows is None and columns is None:
        return module
    before = module.shape
    shape = (rows or before[0], columns or before[1])

    def tensor(each: SurveyedTensor) -> SurveyedTensor:
        if each.shape == before:
            return each.model_copy(update={"shape": shape})
        return each.model_copy(update={"shape": (shape[0],)}) if each.shape == before[:1] else each

    bias = module.elements - prod(before)
    elements = prod(shape) + (shape[0] if bias else 0)
    tensors = tuple(map(tensor, module.tensors))
    return module.model_copy(update={"shape": shape, "elements": elements, "tensors": tensors})


def _named(survey: Survey, name: str) -> tuple[SurveyedModule, ...]:
    return tuple(module for module in survey.linears if _last(module) == name and _in_block(module))


def _last(module: SurveyedModule) -> str:
    return module.name.rpartition(".")[2]


def _in_block(module: SurveyedModule) -> bool:
    """Whether it is a Linear of a decoder block, and not of an expert in it."""
    return module.kind == "Linear" and sum(part.isdecimal() for part in module.name.split(".")) == 1


def _place(name: str) -> tuple[str, int, str] | None:
    """A module's name as what stands before the first number in it, the number, and what comes after."""
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdecimal() and place), None)
    if place is None:
        return None
    return ".".join(parts[:place]), int(parts[place]), "".join(f".{part}" for part in parts[place + 1 :])
