"""Which decoder layers stand for all: the first of every kind, by what a layer is made of and what is done to it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from core.methods.method import ModifierSpec
from core.methods.modifier_modules import DROPPING
from core.value import Json

MOST_KINDS = 8
"""Where more kinds than this are found, a figure that differs in every layer is at work, and only shapes count."""

_NUMBERED = re.compile(r"(layer|block)_(idx|id|index|number)")
"""Attributes that say which layer it is, and nothing of what it is like."""


def decoder_list(model: Any) -> tuple[str, Any] | None:
    """Name and ModuleList of the decoder layers: the longest list that lies in no other; None where there is none."""
    import torch

    decoder = (model.get_decoder() if hasattr(model, "get_decoder") else None) or model
    inside = {id(module) for module in decoder.modules()}
    lists: list[tuple[str, Any]] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or id(module) not in inside or not len(module):
            continue
        # Experts of a layer are a list too, and may be more than the layers.
        if not any(name.startswith(f"{outer}.") for outer, _ in lists):
            lists.append((name, module))
    return max(lists, key=lambda found: len(found[1]), default=None)


def structure(layer: Any, *, attributes: bool = True) -> Hashable:
    """What a layer is made of: the names, classes and shapes of its parts and, as asked, their plain settings."""
    return tuple(
        (
            name,
            type(module).__name__,
            tuple((key, tuple(value.shape)) for key, value in module.named_parameters(recurse=False)),
            _settings(module) if attributes else (),
        )
        for name, module in layer.named_modules()
    )


def structures(layers: Sequence[Any]) -> list[Hashable]:
    """Of every layer; settings count unless they make almost every layer a kind of its own."""
    found = [structure(layer) for layer in layers]
    if len(set(found)) > MOST_KINDS:
        found = [structure(layer, attributes=False) for layer in layers]
    return found


def first_of_each(kinds: Iterable[Hashable]) -> tuple[int, ...]:
    """The first place of every kind, in order."""
    seen: dict[Hashable, int] = {}
    for place, kind in enumerate(kinds):
        seen.setdefault(kind, place)
    return tuple(seen.values())


def treatments(modifiers: Sequence[ModifierSpec], module_list: str, layers: Sequence[Any]) -> list[Hashable]:
    """For every layer, which of the recipe's patterns name which of its modules."""
    from compressed_tensors.utils.match import match_name

    patterns = tuple(dict.fromkeys(pattern for spec in modifiers for pattern in _patterns(spec.arguments)))
    return [
        tuple(
            (pattern, inner)
            for pattern in patterns
            for inner, _ in layer.named_modules()
            if match_name(_full(module_list, number, inner), pattern)
        )
        for number, layer in enumerate(layers)
    ]


def renumbered(
    modifiers: Sequence[ModifierSpec], module_list: str, layers: Sequence[Any], kept: Sequence[int]
) -> tuple[ModifierSpec, ...]:
    """The recipe for the cut: a pattern that would name other modules there becomes the list of the right ones."""
    from compressed_tensors.utils.match import match_name

    def rewritten(pattern: str) -> list[str]:
        before, after = [], []
        for new, old in enumerate(kept):
            for inner, _ in layers[old].named_modules():
                name = _full(module_list, new, inner)
                if match_name(_full(module_list, old, inner), pattern):
                    before.append(name)
                if match_name(name, pattern):
                    after.append(name)
        return [pattern] if before == after else before

    def walk(value: Json) -> Json:
        if isinstance(value, dict):
            return {key: walk(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            found: list[Json] = []
            for item in value:
                found += rewritten(item) if isinstance(item, str) and _is_pattern(item) else [walk(item)]
            return found
        return value

    return tuple(spec.model_copy(update={"arguments": walk(spec.arguments)}) for spec in modifiers)


_SPARE = 3
"""Blocks of a cut out of which one is to be taken, the first and the last of them being kept."""


def with_spare_blocks(wanted: Sequence[int], layers: int, modifiers: Sequence[ModifierSpec]) -> tuple[int, ...]:
    """The layers of the cut, and beside them the first ones where the recipe takes whole blocks out."""
    if not any(spec.name == DROPPING for spec in modifiers):
        return tuple(wanted)
    return tuple(sorted({*wanted, *range(min(_SPARE, layers))}))


def of_few_blocks(modifiers: Sequence[ModifierSpec]) -> tuple[ModifierSpec, ...]:
    """The recipe for so few blocks: one of them goes where several would."""
    return tuple(
        spec.model_copy(
            update={
                "arguments": {
                    **spec.arguments,
                    "blocks": 1,
                    "keep_first": min(spec.arguments.get("keep_first", 1), 1),
                    "keep_last": min(spec.arguments.get("keep_last", 1), 1),
                }
            }
        )
        if spec.name == DROPPING
        else spec
        for spec in modifiers
    )


def _settings(module: Any) -> tuple[tuple[str, Hashable], ...]:
    return tuple(
        (name, value)
        for name, value in sorted(vars(module).items())
        if isinstance(value, int | float | str) and not name.startswith("_") and not _NUMBERED.search(name)
    )


def _full(module_list: str, number: int, inner: str) -> str:
    return f"{module_list}.{number}.{inner}" if inner else f"{module_list}.{number}"


def _is_pattern(text: str) -> bool:
    """A class name is the same in every layer; a full name or an expression may not be."""
    return text.startswith("re:") or "." in text


def _patterns(value: Json) -> Iterable[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _patterns(inner)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, str):
                if _is_pattern(item):
                    yield item
            else:
                yield from _patterns(item)
