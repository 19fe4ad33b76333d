"""Plans a compression, takes over what mends it, and plans again until nothing that blocks can be mended."""

from __future__ import annotations

from app.compression import Inside, Planned, look_inside, plan_compression
from app.engine import Engine
from core.models.local_model import LocalModel
from core.plan.finding import Finding
from core.plan.mend import Draft, applied, next_mend


async def mended_compression(
    engine: Engine, *, model: LocalModel, draft: Draft, seed: int = 0, inside: Inside | None = None
) -> tuple[Planned, tuple[Finding, ...]]:
    """The last plan, and the findings whose fixes were applied on the way, in order.

    Raises what `plan_compression` raises.
    """
    inside = inside or await look_inside(engine, model)
    done: list[Finding] = []
    while True:
        planned = await plan_compression(
            engine,
            model=model,
            method=draft.method,
            overrides=draft.overrides,
            calibration=draft.calibration,
            output=draft.output,
            seed=seed,
            recovery=draft.recovery,
            inside=inside,
        )
        mend = next_mend(planned.findings, done)
        if mend is None:
            return planned, tuple(done)
        done.append(mend)
        draft = applied(draft, mend.fix or {})
