"""A recipe: one method with every parameter resolved, and the data it is calibrated with."""

from __future__ import annotations

from core.calibration.spec import CalibrationSpec
from core.methods.recovery import RecoverySpec
from core.value import Json, Value


class Recipe(Value):
    """What a job does to a model. `parameters` is complete: nothing is defaulted later."""

    method: str
    parameters: dict[str, Json]
    calibration: CalibrationSpec | None = None
    seed: int = 0
    recovery: RecoverySpec | None = None
    """Training towards the original after compressing, on the calibration data; None where there is none."""
