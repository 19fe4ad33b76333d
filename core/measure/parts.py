"""The parts of a model that get a scheme each, from its survey, and what they weigh in each scheme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from core.errors import BitpressError
from core.measure.sensitivity_values import Part
from core.methods.fused import EXPERTS, Fused, fused
from core.methods.scheme import Scheme
from core.methods.schemes import NAMES, named
from core.methods.storage import stored_linear
from core.methods.targets import ignored
from core.models.experts import expert_linears
from core.models.survey import Survey, SurveyedModule

_ITEM = {"F64": 8, "F32": 4}
"""Bytes of an element; two where a dtype is not named."""

_USUAL = "BF16"


def parts_of(survey: Survey, ignore: Iterable[str]) -> tuple[Part, ...]:
    """What is compressed together, in the model's order: what an engine merges is one part, every other Linear its own.

    Fused experts are one part whose module is the one that holds them. Layers that share another's weights, and what
    `ignore` names, belong to none.
    """
    patterns = tuple(ignore)
    found: dict[str, SurveyedModule] = {}
    for module in survey.modules:
        if module.tied_to is None and _compressed(module, patterns):
            found[module.name] = module
    groups = fused(found)
    named = [_column(group, found[group.modules[0]]) for group in groups]
    return tuple(
        Part(
            key=group.key,
            layer=layer_of(group.modules[0]),
            kind=kind,
            modules=group.modules,
            parameters=sum(prod(shape) for shape in _shapes(found, group.modules)),
            bytes=sum(prod(shape) * _ITEM.get(_dtype(found[name]), 2) for name, shape in _named(found, group.modules)),
        )
        for group, kind in zip(groups, _distinct(groups, named), strict=True)
    )


def part_bytes(part: Part, survey: Survey, scheme: Scheme) -> int | None:
    """Bytes of the part's weights on disk in that scheme, scales included, biases apart.

    None where the scheme's groups do not divide a module's columns, so that llmcompressor would refuse.
    """
    modules = {module.name: module for module in survey.modules}
    total = 0
    for name, (rows, columns) in _named(modules, part.modules):
        if scheme.divisor is not None and columns % scheme.divisor:
            return None
        total += sum(tensor.bytes for tensor in stored_linear("", rows, columns, scheme, _dtype(modules[name])))
    return total


def trial_scheme(name: str, group_size: int | str) -> Scheme:
    """The scheme of this name as it can be tried without calibration data. Raises BitpressError `unknown-scheme`."""
    tried = [each for each in NAMES if not named(each, group_size).needs_data]
    if name not in tried:
        why = "has scales that only calibration can find" if name in NAMES else "is no scheme"
        raise BitpressError("unknown-scheme", f"{name} {why}.", f"The schemes are {', '.join(tried)}.")
    return named(name, group_size)


def sizes_of(parts: Sequence[Part], survey: Survey, schemes: Iterable[Scheme]) -> dict[tuple[str, str], int]:
    """Bytes by (part key, scheme name), of the schemes that each part can take.

    A scheme that rounds inputs cannot be tried on fused experts, whose inner inputs are not seen from outside.
    Raises BitpressError `nothing-to-compress` where no part can take any.
    """
    linear = {module.name for module in survey.modules if module.kind == "Linear"}
    sizes = {
        (part.key, scheme.name): size
        for scheme in schemes
        for part in parts
        if (scheme.activations is None or linear.issuperset(part.modules))
        and (size := part_bytes(part, survey, scheme)) is not None
    }
    if not sizes:
        raise BitpressError(
            "nothing-to-compress",
            "No layer of this model can take any of these schemes.",
            "Choose another group size, or other schemes.",
        )
    return sizes


def layer_of(name: str) -> int:
    """The number of the decoder layer in a module's name: its first number; -1 where there is none."""
    return next((int(piece) for piece in name.split(".") if piece.isdecimal()), -1)


def _compressed(module: SurveyedModule, ignore: Sequence[str]) -> bool:
    if ignored(module, ignore):
        return False
    if module.kind == "Linear":
        return True
    linears = expert_linears(module)
    return bool(linears) and not any(ignored(linear, ignore) for linear, _ in linears)


def _column(group: Fused, first: SurveyedModule) -> str:
    return group.kind if first.kind == "Linear" else EXPERTS


def _distinct(groups: Sequence[Fused], kinds: Sequence[str]) -> Iterator[str]:
    """The kinds, those that a layer has twice with the block that they are in: `shared_expert.gate_up`."""
    places = [(layer_of(group.modules[0]), kind) for group, kind in zip(groups, kinds, strict=True)]
    often = {kind for (_, kind), count in Counter(places).items() if count > 1}
    for group, kind in zip(groups, kinds, strict=True):
        blocks = group.modules[0].split(".")[:-1]
        yield f"{blocks[-1]}.{kind}" if kind in often and blocks else kind


def _named(modules: dict[str, SurveyedModule], names: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """(module name, (rows, columns)) of every Linear that is compressed, each expert's own."""
    for name in names:
        module = modules[name]
        if module.kind == "Linear":
            yield name, (module.shape[0], module.shape[1])
            continue
        for linear, times in expert_linears(module):
            for _ in range(times):
                yield name, (linear.shape[0], linear.shape[1])


def _shapes(modules: dict[str, SurveyedModule], names: Sequence[str]) -> Iterator[tuple[int, int]]:
    return (shape for _, shape in _named(modules, names))


def _dtype(module: SurveyedModule) -> str:
    weights = ("weight", "down_proj")
    return next((tensor.dtype for tensor in module.tensors if tensor.name in weights), _USUAL)
