"""What a person has chosen on the Compress page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from core.calibration.spec import CalibrationSpec
from core.methods.recovery import RecoverySpec
from core.plan.method_plan import Goal
from core.value import Json

_NOTHING: Mapping[str, Mapping[str, Json]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CompressChoice:
    """A model, what it is for, and the methods with the parameters that differ from their defaults.

    `methods` are ticked; where none is, the `current` one runs. `output` is None for the folder of artifacts, and
    always where several methods run.
    """

    model: Path
    goal: Goal
    methods: tuple[str, ...]
    current: str
    overrides: Mapping[str, Mapping[str, Json]] = field(default_factory=lambda: _NOTHING)
    calibration: CalibrationSpec = field(default_factory=CalibrationSpec)
    output: Path | None = None
    seed: int = 0
    recovery: RecoverySpec | None = None

    @property
    def to_run(self) -> tuple[str, ...]:
        """The methods that Run starts, in the order of their cards."""
        return self.methods or (self.current,)
