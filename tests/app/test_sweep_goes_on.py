"""Facts about a sweep whose worker is killed inside a method: it goes on there, and not at the method's beginning."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_llama import write_tiny_llama

from app.engine import Engine
from app.sweep import SweepWatch, plan_sweep, run_sweep
from core.jobs.protocol import AnyEvent, FinishReason, Progress
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import JobSnapshot
from core.jobs.sweep_plan import SweepPlan, entries_of
from core.jobs.sweep_store import SweepStore
from core.measure.gates import BUILT_IN
from core.measure.results import EvaluationResult, EvaluationSuite
from core.measure.sweep_values import RowState
from core.models.inspect import inspect
from core.paths import Home

pytestmark = pytest.mark.model

SMALL_BATCHES = "from core.worker import evaluate\nevaluate.CPU_LOGITS = 2**23\n"
WORKER = (sys.executable, "-P", "-c", f"{SMALL_BATCHES}from core.worker.__main__ import main\nmain()")


def test_that_a_sweep_killed_while_it_measures_goes_on_at_the_window_where_it_was(
    starter: Path, tmp_path: Path, home: Home
) -> None:
    model = inspect(write_tiny_llama(tmp_path / "tiny", starter))
    plan = SweepPlan(
        model=str(model.path),
        model_name=model.name,
        entries=entries_of(["rtn-w8a16"], ["group_size=32"]),
        evaluation=EvaluationSuite(texts=("prose",), window=48, tokens=250, noise_floor=False),
        gate=BUILT_IN[0],
    )
    began: list[float] = []
    runs: list[Run] = []

    async def play() -> None:
        engine = Engine.open(home, nice=0)
        engine.settings = engine.settings.model_copy(update={"checkpoint_seconds": 0.001, "device": "cpu"})
        # A test's own way to have several batches of a short text.
        engine.launch = replace(engine.launch, command=WORKER)
        engine.queue.use(engine.launch)

        async def struck(run: Run) -> JobSnapshot:
            def heard(number: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
                if number == run.id and isinstance(event, Progress) and event.stage == "score" and event.done:
                    began.append(event.done)
                    if event.done >= 2 and snapshot.pid and len(runs) == 2:
                        deaf()
                        os.kill(snapshot.pid, signal.SIGKILL)

            runs.append(run)
            deaf = engine.queue.subscribe(heard)
            snapshot = await engine.queue.wait(run.id)
            deaf()
            return snapshot

        watch = SweepWatch(rows=lambda _result, _sentence: None, run=struck)
        try:
            kept = SweepStore(home).create(await plan_sweep(engine, model, plan), model.bytes)
            first = await run_sweep(engine, kept.id, watch)
            assert [row.state for row in first.rows] == [RowState.FAILED]
            point = await engine.queue.resumable(runs[1].id)
            assert point is not None
            assert point.words.startswith("at window ")
            began.clear()
            second = await run_sweep(engine, kept.id, watch, retry=True)
            assert [row.state for row in second.rows] == [RowState.MEASURED]
            assert [run.kind for run in runs] == [RunKind.COMPRESS, RunKind.EVALUATE, RunKind.EVALUATE]
            ended = engine.store.get(runs[2].id)
            assert ended.reason is FinishReason.COMPLETED
            result = EvaluationResult.model_validate(ended.result)
            assert result.reference_reused
            assert any("went on at window" in note for note in result.conditions.notes)
            assert await engine.queue.resumable(runs[1].id) is None, "what it had is gone with the run that took it up"
        finally:
            await engine.close()

    asyncio.run(play())
    assert began[0] >= 2
    assert list(home.kept.iterdir()) == []
