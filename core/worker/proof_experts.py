"""Whether an artifact has the experts that were to be kept: its config and tensors against the original's config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from core.measure.results import ProofCheck
from core.value import Json
from core.worker.changes import EXPERT_COUNTS
from core.worker.proof_tensors import StoredTensor

NAME = "experts"

_EXPERT = re.compile(r"^(?P<layer>.*)\.experts\.(?P<number>\d+)\.")
_FUSED = re.compile(r"^(?P<layer>.*)\.experts\.(?:gate_up_proj|down_proj|gate_proj|up_proj|w1|w2|w3)$")
_ROUTER = re.compile(r"^(?P<layer>.*)\.(?:gate|router)(?:\.\w+)?\.weight$")


def check_experts(
    config: Mapping[str, Json], tensors: Sequence[StoredTensor], original: Mapping[str, Json] | None, dropped: float
) -> ProofCheck:
    """Whether a layer has as many experts as were to be left of the original's, in config, experts and router alike.

    `dropped` is the share that was to go; whole experts go, as many as it holds. Where the original is not known, it is
    enough that the artifact agrees with itself.
    """
    count = expert_count(config)
    if count is None:
        return ProofCheck(name=NAME, passed=False, detail="config.json says nothing of experts.")
    before = None if original is None else expert_count(original)
    if original is not None and before is None:
        return ProofCheck(name=NAME, passed=False, detail="The original has no experts.")
    wanted = count if before is None else before - int(before * dropped)
    if count != wanted or (before is not None and count >= before):
        return ProofCheck(
            name=NAME, passed=False, detail=f"{wanted} of {before} experts were to be left, config.json says {count}."
        )
    experts, routers = _stored(tensors)
    if not experts:
        return ProofCheck(name=NAME, passed=False, detail="No experts are in the files.")
    for layer, number in experts.items():
        if number != count:
            detail = f"config.json says {count} experts, {layer} has {number} in the files."
            return ProofCheck(name=NAME, passed=False, detail=detail)
        if routers.get(layer, count) != count:
            detail = f"{layer} has {count} experts, its router knows {routers[layer]}."
            return ProofCheck(name=NAME, passed=False, detail=detail)
    left = f"{count} of {before} experts are left" if before is not None else f"{count} experts"
    return ProofCheck(name=NAME, passed=True, detail=f"{left} in each of {len(experts)} layers.")


def expert_count(config: Mapping[str, Json]) -> int | None:
    """Experts of a layer as the config says."""
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for name in EXPERT_COUNTS:
            if isinstance(part.get(name), int) and part[name] > 0:
                return int(part[name])
    return None


def _stored(tensors: Sequence[StoredTensor]) -> tuple[dict[str, int], dict[str, int]]:
    """Experts of each layer as the tensors have them, and the rows of each layer's router."""
    numbers: dict[str, set[int]] = {}
    experts: dict[str, int] = {}
    routers: dict[str, int] = {}
    for tensor in tensors:
        if match := _EXPERT.match(tensor.name):
            numbers.setdefault(match["layer"], set()).add(int(match["number"]))
        elif (match := _FUSED.match(tensor.name)) and len(tensor.shape) == 3:
            experts[match["layer"]] = tensor.shape[0]
        elif (match := _ROUTER.match(tensor.name)) and len(tensor.shape) == 2:
            routers[match["layer"]] = tensor.shape[0]
    return experts | {layer: len(known) for layer, known in numbers.items()}, routers
