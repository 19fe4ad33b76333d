"""Figures that others published, each with who measured it and on what. None of them is ours.

Kurtic et al. 2025: recovery from its table of Open LLM Leaderboard scores; cost and speed from its tables of serving
with vLLM. The hardware of the asynchronous column was out of order in the text that was read and was assigned by the
prices per hour that its figures imply.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

KURTIC = '"Give Me BF16 or Give Me Death"?, Kurtic et al. 2025, arXiv 2411.02355'
KURTIC_URL = "https://arxiv.org/abs/2411.02355"
SHORT = "Kurtic et al. 2025, arXiv 2411.02355"
RED_HAT = "Red Hat Developer, 9 May 2025"
VLLM_KV_CACHE = "vLLM documentation, quantized KV cache, vLLM 0.25.1"

SMALL = 4_000_000_000
"""Below this many parameters the nearest published size, 8B, says too little."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Percent of the BF16 model's Open LLM Leaderboard score that stays; version 2 is normalised for chance."""

    size: str
    parameters: int
    scheme: str
    v1: float
    v2: float
    source: str = SHORT


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Percent of a DeepSeek-R1 distillation's reasoning score that stays."""

    model: str
    parameters: int
    scheme: str
    percent: float
    source: str = SHORT


@dataclass(frozen=True, slots=True)
class Speed:
    """Against BF16 in vLLM: how many times cheaper one request at a time is, how many times faster a full load."""

    size: str
    parameters: int
    gpu: str
    scheme: str
    cost_reduction: float
    gpus_before: int
    gpus_after: int
    asynchronous: float
    source: str = SHORT


@dataclass(frozen=True, slots=True)
class Footprint:
    """GPUs of 80 GB that a model's weights alone take; `gigabytes` None where only the count was published."""

    model: str
    parameters: int
    scheme: str
    gpus: int
    gigabytes: int | None
    source: str = RED_HAT


ALGORITHM = {
    "FP8_DYNAMIC": "rounding, a scale a row, dynamic activations",
    "W8A8": "GPTQ, a scale a row, dynamic activations, with SmoothQuant at 70B",
    "W4A16": "GPTQ with MSE clipping, groups of 128",
}
"""How the artifacts of Kurtic et al. were made."""

RECOVERY: tuple[Recovery, ...] = (
    Recovery("8B", 8_000_000_000, "FP8_DYNAMIC", 99.31, 101.2),
    Recovery("8B", 8_000_000_000, "W8A8", 100.31, 101.5),
    Recovery("8B", 8_000_000_000, "W4A16", 98.72, 96.1),
    Recovery("70B", 70_000_000_000, "FP8_DYNAMIC", 99.72, 100.0),
    Recovery("70B", 70_000_000_000, "W8A8", 99.87, 97.3),
    Recovery("70B", 70_000_000_000, "W4A16", 99.53, 97.4),
    Recovery("405B", 405_000_000_000, "FP8_DYNAMIC", 100.12, 99.9),
    Recovery("405B", 405_000_000_000, "W8A8", 99.32, 98.3),
    Recovery("405B", 405_000_000_000, "W4A16", 99.98, 98.9),
)

REASONING: tuple[Reasoning, ...] = (
    Reasoning("R1-Distill-Llama-8B", 8_000_000_000, "FP8_DYNAMIC", 100.6),
    Reasoning("R1-Distill-Llama-8B", 8_000_000_000, "W8A8", 99.6),
    Reasoning("R1-Distill-Llama-8B", 8_000_000_000, "W4A16", 97.2),
    Reasoning("R1-Distill-Qwen-7B", 7_000_000_000, "FP8_DYNAMIC", 99.9),
    Reasoning("R1-Distill-Qwen-7B", 7_000_000_000, "W8A8", 100.7),
    Reasoning("R1-Distill-Qwen-7B", 7_000_000_000, "W4A16", 98.3),
    Reasoning("R1-Distill-Qwen-1.5B", 1_500_000_000, "FP8_DYNAMIC", 100.3),
    Reasoning("R1-Distill-Qwen-1.5B", 1_500_000_000, "W8A8", 96.9),
    Reasoning("R1-Distill-Qwen-1.5B", 1_500_000_000, "W4A16", 93.5),
)

SPEEDS: tuple[Speed, ...] = (
    Speed("8B", 8_000_000_000, "A6000", "W8A8", 1.54, 1, 1, 1.38),
    Speed("8B", 8_000_000_000, "A6000", "W4A16", 2.39, 1, 1, 1.08),
    Speed("70B", 70_000_000_000, "A6000", "W8A8", 1.94, 4, 2, 1.91),
    Speed("70B", 70_000_000_000, "A6000", "W4A16", 2.96, 4, 2, 1.92),
    Speed("70B", 70_000_000_000, "A100", "W8A8", 1.81, 2, 1, 1.87),
    Speed("70B", 70_000_000_000, "A100", "W4A16", 2.67, 2, 1, 1.64),
    Speed("70B", 70_000_000_000, "H100", "FP8_DYNAMIC", 1.84, 2, 1, 1.77),
    Speed("70B", 70_000_000_000, "H100", "W4A16", 2.11, 2, 1, 1.55),
    Speed("405B", 405_000_000_000, "A100", "W8A8", 3.27, 16, 8, 2.53),
    Speed("405B", 405_000_000_000, "A100", "W4A16", 6.38, 16, 4, 2.21),
    Speed("405B", 405_000_000_000, "H100", "FP8_DYNAMIC", 3.17, 16, 8, 3.04),
    Speed("405B", 405_000_000_000, "H100", "W4A16", 5.15, 16, 4, 3.09),
)

FOOTPRINTS: tuple[Footprint, ...] = (
    Footprint("Llama 4 Scout", 109_000_000_000, "BF16", 3, 220),
    Footprint("Llama 4 Scout", 109_000_000_000, "W8A8", 2, 109),
    Footprint("Llama 4 Scout", 109_000_000_000, "FP8_DYNAMIC", 2, 109),
    Footprint("Llama 4 Scout", 109_000_000_000, "W4A16", 1, 55),
    Footprint("Llama 4 Maverick", 400_000_000_000, "BF16", 10, None),
    Footprint("Llama 4 Maverick", 400_000_000_000, "W8A8", 5, None),
    Footprint("Llama 4 Maverick", 400_000_000_000, "FP8_DYNAMIC", 5, None),
    Footprint("Llama 4 Maverick", 400_000_000_000, "W4A16", 3, None),
)

RETRIEVAL_70B = (
    f"Published: retrieval with a 70B model on A100, one request at a time, took 6.8 s on two GPUs in BF16, 7.2 s on "
    f"one in INT8 and 5.2 s on one in INT4 ({SHORT})."
)
KV_CACHE_ON_L4 = (
    "Published: twice the tokens in the cache, and 6 % faster decoding at 8,192 tokens of context and 21 % at 32,768, "
    f"one request at a time, Qwen3-4B on an L4 ({VLLM_KV_CACHE})."
)
GPTQ_AGAINST_AWQ = (
    "Published: GPTQ against AWQ at 4 bits, 8B and 70B: 0.23 and 0.35 points behind on academic benchmarks, 2.9 and "
    f"0.8 points ahead on real-world ones ({SHORT})."
)


def recovery(scheme: str, parameters: int | None) -> Recovery | None:
    """The published recovery of the size nearest to the model's (8B where it is not known); None for other schemes."""
    rows = [row for row in RECOVERY if row.scheme == scheme]
    return min(rows, key=lambda row: _distance(row.parameters, parameters)) if rows else None


def reasoning(scheme: str, parameters: int | None) -> Reasoning | None:
    """The published recovery of the reasoning model nearest in size."""
    rows = [row for row in REASONING if row.scheme == scheme]
    return min(rows, key=lambda row: _distance(row.parameters, parameters)) if rows else None


def speed(scheme: str, parameters: int | None, capability: tuple[int, int] | None) -> Speed | None:
    """The published speed on the hardware nearest in kind, then of the nearest size; None where there is none."""
    rows = [row for row in SPEEDS if row.scheme == scheme]
    if not rows:
        return None
    wanted = _gpu_like(capability)
    return min(rows, key=lambda row: (_distance(row.parameters, parameters), row.gpu != wanted))


def footprint(parameters: int, scheme: str) -> Footprint | None:
    """How many GPUs of 80 GB were published for the weights of a model of this size, to one percent."""
    rows = (row for row in FOOTPRINTS if row.scheme == scheme)
    return next((row for row in rows if abs(row.parameters - parameters) <= row.parameters / 100), None)


def recovery_sentence(scheme: str, parameters: int | None) -> str:
    """What was published of how much stays, for the size nearest to the model's; empty where nothing was."""
    row = recovery(scheme, parameters)
    if row is None:
        return ""
    figures = f"{row.v1:g} % (leaderboard version 1) and {row.v2:g} % (version 2) of BF16's score"
    how = f"{ALGORITHM[row.scheme]}; {row.source}"
    if parameters is None or parameters >= SMALL:
        return f"Published for {row.size}: {figures} ({how})."
    return f"Published for 8B and larger only: {figures} at {row.size} ({how}).{_small_words(row.scheme, parameters)}"


def cost_sentence(scheme: str, parameters: int | None, capability: tuple[int, int] | None) -> str:
    """What was published of the cost of one request at a time; empty where nothing was."""
    row = speed(scheme, parameters, capability)
    if row is None:
        return ""
    return (
        f"Published: {row.cost_reduction:g} times lower cost than BF16 with one request at a time, "
        f"{_setup(row)} ({row.source})."
    )


def load_sentence(scheme: str, parameters: int | None, capability: tuple[int, int] | None) -> str:
    """What was published of the speed at full load; empty where nothing was."""
    row = speed(scheme, parameters, capability)
    if row is None:
        return ""
    return (
        f"Published: a speed-up of {row.asynchronous:g} over BF16 at full load (asynchronous), {row.size} on {row.gpu} "
        f"({row.source})."
    )


def _small_words(scheme: str, parameters: int) -> str:
    """What the reasoning figures say of a model that is smaller than all whose leaderboard scores were published."""
    small, large = reasoning(scheme, parameters), reasoning(scheme, 8_000_000_000)
    if small is None or large is None:
        return ""
    # Less than a point either way is within what such scores scatter.
    lead = "Small models lose more: on" if small.percent < large.percent - 1 else "On"
    return f" {lead} reasoning {small.percent:g} % for {small.model}, {large.percent:g} % for {large.model}."


def _setup(row: Speed) -> str:
    fewer = f", {row.gpus_after} of them instead of {row.gpus_before}" if row.gpus_before != row.gpus_after else ""
    return f"{row.size} on {row.gpu}{fewer}"


def _gpu_like(capability: tuple[int, int] | None) -> str:
    if capability is None or capability >= (8, 9):
        return "H100"
    return "A100" if capability == (8, 0) else "A6000"


def _distance(published: int, parameters: int | None) -> float:
    return abs(log(published / (parameters or 8_000_000_000)))
