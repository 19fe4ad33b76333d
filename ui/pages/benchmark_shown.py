"""All that the Benchmarks page shows, as one value that each of its sections reads."""

from __future__ import annotations

from dataclasses import dataclass

from core.measure.gates import BUILT_IN, Gate
from core.measure.sensitivity_values import SensitivityResult
from core.measure.sweep_values import SweepResult
from ui.pages.benchmark_row import BenchmarkRow


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows begin with the original; what was not measured is None."""

    rows: tuple[BenchmarkRow, ...] = ()
    gate: Gate = BUILT_IN[1]
    sweep: SweepResult | None = None
    sensitivity: SensitivityResult | None = None
