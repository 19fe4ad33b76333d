"""Facts about what a sweep says before it starts: the sum of its rows, recovered ones with their training."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

from llama_shapes import llama_model, llama_survey

from app.compression import Inside
from app.engine import Engine
from app.sweep_cost import SweepCost, sweep_cost
from core.jobs.sweep_plan import SweepEntry, SweepPlan, also_recovered, entries_of
from core.measure.gates import BUILT_IN
from core.methods.recovery import RecoverySpec
from core.paths import Home


def cost(home: Home, folder: Path, entries: tuple[SweepEntry, ...]) -> SweepCost:
    model = llama_model(folder / "model")
    plan = SweepPlan(model=str(folder), model_name="m", entries=entries, gate=BUILT_IN[1])

    async def go() -> SweepCost:
        engine = Engine.open(home, nice=0)
        try:
            with patch("app.sweep_cost.look_inside", return_value=Inside(llama_survey())):
                return await sweep_cost(engine, model, plan)
        finally:
            await engine.close()

    return asyncio.run(go())


def test_that_rows_with_recovery_count_with_their_training_and_their_own_artifact(home: Home, tmp_path: Path) -> None:
    entries = entries_of(["rtn-w4a16"], [])
    without = cost(home, tmp_path, entries)
    both = cost(home, tmp_path, also_recovered(entries, RecoverySpec(minutes=10)))
    assert (without.rows, both.rows, both.blocked) == (1, 2, 0)
    assert both.bytes == 2 * without.bytes
    assert both.seconds > 2 * without.seconds + 60
    assert "2 rows" in both.words


def test_that_a_row_that_cannot_be_recovered_is_counted_apart(home: Home, tmp_path: Path) -> None:
    named = also_recovered(entries_of(["fp8-dynamic"], []), RecoverySpec(), ["fp8-dynamic"])
    found = cost(home, tmp_path, named)
    assert (found.rows, found.blocked) == (1, 1)
    assert "1 cannot run as it is" in found.words
