"""Less calibration data for machines where the data that was chosen does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.calibration.spec import CalibrationSpec
from core.value import Json

FEWEST, SHORTEST = 32, 256
"""Samples, and tokens a sample, below which calibration is not worth its time."""

Refit = Callable[[CalibrationSpec], bool]
"""Whether a job with this data would do."""


def lighter(spec: CalibrationSpec | None, fits: Refit) -> dict[str, Json] | None:
    """The least reduction with which it fits, as a fix: shorter samples first, then fewer; None where none helps."""
    steps = tuple(_steps(spec))
    if not steps or not fits(steps[-1]):
        return None
    for less in steps:
        if fits(less):
            changed = {"samples": less.samples, "max_length": less.max_length}
            return {name: value for name, value in changed.items() if value != getattr(spec, name)}
    return None


def _steps(spec: CalibrationSpec | None) -> Iterator[CalibrationSpec]:
    while spec is not None:
        if spec.max_length > SHORTEST:
            spec = spec.model_copy(update={"max_length": max(spec.max_length // 2, SHORTEST)})
        elif spec.samples > FEWEST:
            spec = spec.model_copy(update={"samples": max(spec.samples // 2, FEWEST)})
        else:
            return
        yield spec
