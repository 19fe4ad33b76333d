"""What a sweep will take before it starts: the sum of its compressions, by arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from app.compression import look_inside, plan_compression
from app.engine import Engine
from app.mending import mended_compression
from core.errors import BitpressError
from core.jobs.sweep_plan import SweepPlan
from core.models.local_model import LocalModel
from core.plan.estimates import Estimates
from core.plan.mend import Draft
from core.plan.words import duration, size


@dataclass(frozen=True, slots=True)
class SweepCost:
    """Of the rows that can run; measuring them comes on top. `blocked` rows cannot."""

    seconds: float
    bytes: int
    rows: int
    blocked: int

    @property
    def words(self) -> str:
        """As sentences."""
        if not self.rows:
            return "None of these can run as it is."
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        said = f"Pressing {rows} takes about {duration(self.seconds)} and {size(self.bytes)} of disk; measuring comes "
        said += "on top."
        if self.blocked:
            said += f" {self.blocked} cannot run as {'it is' if self.blocked == 1 else 'they are'}."
        return said


async def sweep_cost(engine: Engine, model: LocalModel, plan: SweepPlan) -> SweepCost:
    """Plan every row; nothing runs but the survey of a model that was never seen."""
    inside = await look_inside(engine, model)
    found: list[Estimates] = []
    for entry in plan.entries:
        draft = Draft(
            method=entry.method, overrides=entry.parameters, calibration=plan.calibration, recovery=entry.recovery
        )
        try:
            if plan.fix:
                planned, _ = await mended_compression(engine, model=model, draft=draft, seed=plan.seed, inside=inside)
            else:
                planned = await plan_compression(
                    engine,
                    model=model,
                    method=draft.method,
                    overrides=draft.overrides,
                    calibration=draft.calibration,
                    seed=plan.seed,
                    recovery=draft.recovery,
                    inside=inside,
                )
        except BitpressError:
            continue
        if planned.runnable and planned.estimates is not None:
            found.append(planned.estimates)
    return SweepCost(
        seconds=sum(one.seconds.value for one in found),
        bytes=sum(one.artifact_bytes for one in found),
        rows=len(found),
        blocked=len(plan.entries) - len(found),
    )
