"""Layers that engines run as one, so that all of them must have one scheme."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.value import Value

_TOGETHER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("qkv", ("q_proj", "k_proj", "v_proj")),
    ("gate_up", ("gate_proj", "up_proj")),
    ("gate_up", ("w1", "w3")),
    ("qkv_a", ("q_a_proj", "kv_a_proj_with_mqa")),
    ("in_proj_qkvz", ("in_proj_qkv", "in_proj_z")),
    ("in_proj_ba", ("in_proj_b", "in_proj_a")),
)
"""What vLLM merges (`packed_modules_mapping` of its models), by the names that transformers has."""

_EXPERT = re.compile(r"(?P<block>.+\.experts)\.\d+\..+")

EXPERTS = "experts"
"""The kind of the group that all experts of a layer are."""

_SHORT = {"o_proj": "o", "down_proj": "down"}


class Fused(Value):
    """Modules of one scheme. `kind` is the column of a heat map: qkv, o, gate_up, down, or the module's own name."""

    key: str
    kind: str
    modules: tuple[str, ...]


def fused(names: Iterable[str]) -> tuple[Fused, ...]:
    """The modules of a model grouped as engines run them, in the order of each group's first module.

    All experts of a layer are one group, as one kernel runs them. A module that nothing is merged with is a group of
    its own, whose key is its name.
    """
    wanted = tuple(dict.fromkeys(names))
    present = frozenset(wanted)
    groups: dict[tuple[str, str], list[str]] = {}
    for name in wanted:
        groups.setdefault(_group(name, present), []).append(name)
    return tuple(Fused(key=key, kind=kind, modules=tuple(modules)) for (key, kind), modules in groups.items())


def _group(name: str, present: frozenset[str]) -> tuple[str, str]:
    if expert := _EXPERT.fullmatch(name):
        return expert["block"], EXPERTS
    parent, _, last = name.rpartition(".")
    for kind, together in _TOGETHER:
        if last in together and sum(f"{parent}.{each}" in present for each in together) > 1:
            return f"{parent}.{kind}", kind
    return name, _SHORT.get(last, last)
