"""Seconds from arithmetic: how much a job computes, reads and writes, at which speed.

The speeds are round figures from measured runs (SmolLM2-135M on two processor cores: FP8 2 s, GPTQ 37 s and
SmoothQuant with GPTQ 54 s for 7,680 calibration tokens, 128 self-made answers 90 s) and, for GPUs, from published
ones (Llama-3-8B GPTQ 745 s on one GPU, llm-compressor's distributed_oneshot.md). They are a first guess with a wide
range; this machine's own runs correct it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from core.calibration.spec import BUILT_IN, SELF_CHAT, CalibrationSpec
from core.methods.method import Method, Parameters
from core.plan.sizes import Shape

ANSWER_TOKENS = 170
"""Tokens that a prompt and its answer have in the middle (measured over 128 samples); answers end at 128."""

PROMPT_TOKENS = 62
"""Tokens that a built-in prompt has alone (measured over all of them with the starter model's tokenizer)."""

ANSWER_BATCH = 32

_PROOF_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a device does each kind of work; `per_*` in seconds, rates per second."""

    forward: float
    """Floating point operations of a forward pass over calibration batches."""
    hessian: float
    """Floating point operations in 32 bits: Hessians and GPTQ's corrections."""
    per_column: float
    """Set-up of one column in GPTQ's loop."""
    per_call: float
    """Set-up of one layer's forward pass of one sample."""
    rounding: float
    """Elements rounded and packed."""
    load: float
    """Bytes of weights read and placed."""
    save: float
    """Bytes of artifact written."""
    bandwidth: float
    """Bytes of weights read to generate one token."""
    per_token: float
    """Least time for one generated token."""
    per_answer: float
    """One self-made answer, times the model's elements; 0 where the bandwidth decides."""
    start: float
    """Process and imports."""


def processor_speed(cores: int) -> Speed:
    """Two cores measured; more help less than in proportion, and hardly beyond 64."""
    factor = (min(max(cores, 1), 64) / 2) ** 0.8
    return Speed(
        forward=0.27e12 * factor,
        hessian=0.15e12 * factor,
        per_column=80e-6,
        per_call=0.5e-3,
        rounding=1.8e8 * factor**0.5,
        load=400e6,
        save=160e6,
        bandwidth=7e9 * factor,
        per_token=5e-3,
        per_answer=5.2e-9 / factor,
        start=6.0,
    )


def gpu_speed() -> Speed:
    """A data centre GPU of the A100's and H100's class; others lie in the range around it."""
    return Speed(
        forward=120e12,
        hessian=50e12,
        per_column=10e-6,
        per_call=1.5e-3,
        rounding=4e8,
        load=800e6,
        save=400e6,
        bandwidth=1e12,
        per_token=25e-3,
        per_answer=0.0,
        start=10.0,
    )


def expected_tokens(calibration: CalibrationSpec | None) -> int:
    """Calibration tokens to expect: chat samples are short, documents mostly fill their length."""
    if calibration is None:
        return 0
    lengths = {SELF_CHAT: ANSWER_TOKENS, BUILT_IN: PROMPT_TOKENS}
    return ceil(
        sum(
            count * min(calibration.max_length, lengths.get(part.source, calibration.max_length * 0.7))
            for part, count in zip(calibration.parts, calibration.part_samples, strict=True)
        )
    )


def compress_seconds(
    method: Method, parameters: Parameters, shape: Shape, *, tokens: int, samples: int, speed: Speed
) -> float:
    """Seconds that the method's modifiers take, load and save apart."""
    seconds = 0.0
    for modifier in method.modifiers(parameters):
        cost = _COSTS.get(modifier.name, _gptq)
        seconds += cost(shape, tokens, samples, speed)
    if parameters.get("observer") == "mse":
        # Up to 20 narrower ranges are tried for every weight.
        seconds += 15 * shape.compressed_elements / speed.rounding
    return seconds


def answer_seconds(calibration: CalibrationSpec | None, shape: Shape, weights: int, speed: Speed) -> float:
    """Seconds to let the model answer the built-in prompts; 0 for other data."""
    if calibration is None or not calibration.chat_samples:
        return 0.0
    if speed.per_answer:
        return calibration.chat_samples * shape.elements * speed.per_answer
    steps = ceil(calibration.chat_samples / ANSWER_BATCH) * ANSWER_TOKENS
    return steps * max(speed.per_token, weights / speed.bandwidth)


def fixed_seconds(weights: int, artifact: int, speed: Speed) -> float:
    """Seconds for what every job does: start, load, save, and the proof in a second process."""
    token = max(speed.per_token, weights / speed.bandwidth)
    proof = speed.start + (weights + artifact) / speed.load + 3 * _PROOF_TOKENS * token
    return speed.start + weights / speed.load + artifact / speed.save + proof


def _two_passes(shape: Shape, tokens: int, samples: int, speed: Speed) -> float:
    """The sequential pipeline runs every layer twice: to calibrate, then to pass on what the changed layer gives."""
    operations = 2 * 2 * shape.compressed_elements * tokens
    return operations / speed.forward + 2 * samples * shape.layers * speed.per_call


def _gptq(shape: Shape, tokens: int, samples: int, speed: Speed) -> float:
    hessian = sum(2 * columns**2 * tokens for _, columns in shape.compressed)
    update = sum(2 * rows * columns**2 + columns**3 for rows, columns in shape.compressed)
    columns = sum(columns for _, columns in shape.compressed)
    return (
        _two_passes(shape, tokens, samples, speed)
        + (hessian + update) / speed.hessian
        + columns * speed.per_column
        + shape.compressed_elements / speed.rounding
    )


def _rounding(shape: Shape, tokens: int, samples: int, speed: Speed) -> float:
    return shape.compressed_elements / speed.rounding


_COSTS: Mapping[str, Callable[[Shape, int, int, Speed], float]] = {
    "QuantizationModifier": _rounding,
    "SmoothQuantModifier": _two_passes,
    "GPTQModifier": _gptq,
}
"""By modifier; what is not listed is taken to cost what GPTQ costs."""
