"""Which method suits a goal on this hardware, and why; published figures are named as such.

The order follows Kurtic et al. 2025 (W4A16 for one request at a time, 8-bit weights and activations for full load)
and what the GPU has kernels for (`core.plan.hardware`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.methods.method import Method
from core.plan.hardware import Capability, runs_at_all, runs_natively
from core.plan.machine import Machine
from core.plan.method_plan import Goal

_KURTIC = "Kurtic et al. 2025, arXiv 2411.02355"


class Hardware(StrEnum):
    """What the order depends on."""

    PROCESSOR = "processor"
    OLD = "old"
    INT8 = "int8"
    """7.5 to 8.8: INT8 and INT4 kernels."""
    FP8 = "fp8"
    """8.9 to 9.x: FP8 as well."""
    BLACKWELL = "blackwell"
    """10.0 and newer: no INT8 activations."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A method's place for a goal, 0 the best, with the reason in sentences and a short tag, mostly empty."""

    place: int
    reason: str
    tag: str


_ORDER: Mapping[Goal, Mapping[Hardware, tuple[str, ...]]] = {
    Goal.CHAT: {
        Hardware.PROCESSOR: ("W8A8", "W4A16", "FP8_DYNAMIC"),
        Hardware.OLD: ("W4A16", "W8A8", "FP8_DYNAMIC"),
        Hardware.INT8: ("W4A16", "W8A8", "FP8_DYNAMIC"),
        Hardware.FP8: ("W4A16", "FP8_DYNAMIC", "W8A8"),
        Hardware.BLACKWELL: ("W4A16", "FP8_DYNAMIC", "W8A8"),
    },
    Goal.BATCH: {
        Hardware.PROCESSOR: ("W8A8", "W4A16", "FP8_DYNAMIC"),
        Hardware.OLD: ("W4A16", "W8A8", "FP8_DYNAMIC"),
        Hardware.INT8: ("W8A8", "W4A16", "FP8_DYNAMIC"),
        Hardware.FP8: ("FP8_DYNAMIC", "W8A8", "W4A16"),
        Hardware.BLACKWELL: ("FP8_DYNAMIC", "W4A16", "W8A8"),
    },
    Goal.FAITHFUL: {
        Hardware.PROCESSOR: ("W8A8", "FP8_DYNAMIC", "W4A16"),
        Hardware.OLD: ("FP8_DYNAMIC", "W8A8", "W4A16"),
        Hardware.INT8: ("W8A8", "FP8_DYNAMIC", "W4A16"),
        Hardware.FP8: ("FP8_DYNAMIC", "W8A8", "W4A16"),
        Hardware.BLACKWELL: ("FP8_DYNAMIC", "W8A8", "W4A16"),
    },
}

_REASONS: Mapping[tuple[Goal, str], str] = {
    (Goal.CHAT, "W4A16"): "Alone on the GPU, a chat waits for weights to be read, and these are the smallest. "
    f"Published: 2.4 times lower cost per request than BF16 for an 8B model on an A6000 ({_KURTIC}).",
    (Goal.CHAT, "FP8_DYNAMIC"): "Half the weights to read for each token, with almost nothing lost. "
    f"Published: 99.3 % of an 8B model's benchmark score kept ({_KURTIC}).",
    (Goal.CHAT, "W8A8"): "Half the weights to read for each token. "
    f"Published: 1.5 times lower cost per request than BF16 for an 8B model on an A6000 ({_KURTIC}).",
    (Goal.BATCH, "FP8_DYNAMIC"): "At full load the GPU's arithmetic is the limit, and FP8 halves it. "
    f"Published: 8-bit weights and activations lead in asynchronous serving at capacity ({_KURTIC}).",
    (Goal.BATCH, "W8A8"): "At full load the GPU's arithmetic is the limit, and INT8 halves it. "
    f"Published: 8-bit weights and activations lead in asynchronous serving at capacity ({_KURTIC}).",
    (Goal.BATCH, "W4A16"): "It leaves the most memory for requests, but the arithmetic stays in 16 bits. "
    f"Published: behind 8-bit weights and activations at capacity, ahead at low load ({_KURTIC}).",
    (Goal.SMALLEST, "W4A16"): "Four bits a weight: the smallest here. "
    f"Published: 98.7 % of an 8B model's benchmark score kept, 93.5 % for a 1.5B reasoning model ({_KURTIC}).",
    (Goal.SMALLEST, "FP8_DYNAMIC"): "Eight bits a weight: about half the original.",
    (Goal.SMALLEST, "W8A8"): "Eight bits a weight: about half the original.",
    (Goal.FAITHFUL, "FP8_DYNAMIC"): "Eight bits with a wide range lose almost nothing, and no calibration data can "
    f"pull the model to one side. Published: 99.3 to 100.1 % of benchmark scores kept, 8B to 405B ({_KURTIC}).",
    (Goal.FAITHFUL, "W8A8"): "Eight bits, with outliers smoothed away and errors corrected by calibration. "
    f"Published, for INT8 with GPTQ: 99.3 to 100.3 % of benchmark scores kept, 8B to 405B ({_KURTIC}).",
    (Goal.FAITHFUL, "W4A16"): "Four bits lose more than eight. "
    f"Published: 98.7 to 100.0 % of benchmark scores kept, 8B to 405B, the small models least ({_KURTIC}).",
}

_ON_PROCESSOR: Mapping[str, str] = {
    "W8A8": "vLLM runs INT8 on processors: 1.3 times the tokens per second of BF16 with one request at a time "
    "(135M model, two cores, one run of ours).",
    "W4A16": "vLLM runs INT4 weights on processors, at about the speed of BF16 (135M model, two cores, one run of "
    "ours); the gain is memory.",
    "FP8_DYNAMIC": "Processors have no FP8 arithmetic: make it here for a GPU elsewhere.",
}


def hardware_of(machine: Machine) -> Hardware:
    """The kind of hardware that the first GPU is; a GPU that does not tell its capability counts as FP8's kind."""
    if not machine.gpus:
        return Hardware.PROCESSOR
    capability = machine.gpus[0].capability
    if capability is None:
        return Hardware.FP8
    if capability >= (10, 0):
        return Hardware.BLACKWELL
    if capability >= (8, 9):
        return Hardware.FP8
    return Hardware.INT8 if capability >= (7, 5) else Hardware.OLD


def advise(goal: Goal, methods: Sequence[tuple[Method, int]], machine: Machine) -> dict[str, Advice]:
    """Advice by method id. `methods` come with the bytes of their artifact, which decide what is smallest."""
    hardware = hardware_of(machine)
    capability = machine.gpus[0].capability if machine.gpus else None
    faithful = _ORDER[Goal.FAITHFUL][hardware]
    if goal is Goal.SMALLEST:
        # FP8 and INT8 differ by nothing but rounding of the estimate: then the more faithful goes first.
        ordered = sorted(methods, key=lambda pair: (round(pair[1], -6), _index(faithful, pair[0].scheme)))
    else:
        order = _ORDER[goal][hardware]
        ordered = sorted(methods, key=lambda pair: (_index(order, pair[0].scheme), pair[1]))
    return {
        method.id: Advice(place, _reason(goal, method, hardware, capability), _tag(method, capability))
        for place, (method, _) in enumerate(ordered)
    }


def _index(order: tuple[str, ...], scheme: str) -> int:
    return order.index(scheme) if scheme in order else len(order)


def _reason(goal: Goal, method: Method, hardware: Hardware, capability: Capability | None) -> str:
    if hardware is Hardware.PROCESSOR and goal in (Goal.CHAT, Goal.BATCH):
        return _ON_PROCESSOR.get(method.scheme, method.explanation)
    reason = _REASONS.get((goal, method.scheme), method.explanation)
    if capability is None:
        return reason
    native, sentence = runs_natively(method.scheme, capability)
    return reason if native else f"{sentence} {reason}"


def _tag(method: Method, capability: Capability | None) -> str:
    if capability is None or runs_natively(method.scheme, capability)[0]:
        return ""
    return "weight-only here" if runs_at_all(method.scheme, capability) else "not on this GPU"
