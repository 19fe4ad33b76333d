"""How fast a method's result is expected to be in a serving engine, by what was published or measured elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from core.plan.advice import Hardware
from core.plan.published import SMALL, load_sentence, speed


@dataclass(frozen=True, slots=True)
class Expected:
    """Tokens per second over the original's, and who measured it on what."""

    ratio: float
    source: str


_PROCESSOR = {
    "W8A8": Expected(
        1.33, "Ours: 32.3 tokens per second against BF16's 24.3, one request at a time (135M model, two cores, vLLM)."
    ),
    "W4A16": Expected(
        1.07, "Ours: 25.9 tokens per second against BF16's 24.3, one request at a time (135M model, two cores, vLLM)."
    ),
}


def expected_speed(scheme: str, parameters: int | None, hardware: Hardware) -> Expected | None:
    """The figure nearest to the model and machine; None where nobody measured, or only models far larger than this."""
    if hardware.processor:
        return _PROCESSOR.get(scheme)
    row = speed(scheme, parameters, hardware.capability)
    if row is None or (parameters is not None and parameters < SMALL):
        return None
    return Expected(row.asynchronous, load_sentence(scheme, parameters, hardware.capability))
