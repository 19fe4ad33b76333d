"""Carries out a sweep: presses, measures and sums up, keeps every step on the disk, and goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.compression import Inside, Planned, look_inside, plan_compression, start_compression
from app.engine import Engine, free_name
from app.measurement import start_benchmark, start_evaluation
from app.mending import mended_compression
from core.errors import BitpressError, Problem
from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot
from core.jobs.sweep_plan import SweepPlan
from core.jobs.sweep_store import SweepStore, released
from core.measure.results import BenchFailure, EvaluationResult, ModelBenchmark
from core.measure.sweep_summary import summarised, with_speeds
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.models.artifact import read_manifest
from core.models.inspect import inspect
from core.models.local_model import LocalModel, Origin
from core.plan.advice import hardware_of
from core.plan.device import job_machine
from core.plan.expected_speed import expected_speed
from core.plan.finding import Finding
from core.plan.mend import Draft
from core.plan.read_machine import read_machine
from core.value import Json

WITHOUT_GAIN = "Recovery did not help here: what is measured is as it was without."


@dataclass(frozen=True, slots=True)
class SweepWatch:
    """Whoever looks on. `rows` hears every change with a sentence; `run` follows a job to its end.

    What `run` raises ends the sweep, which can be resumed; a snapshot that failed or was cancelled is the row's alone.
    """

    rows: Callable[[SweepResult, str], None]
    run: Callable[[Run], Awaitable[JobSnapshot]]


async def plan_sweep(engine: Engine, model: LocalModel, plan: SweepPlan) -> SweepPlan:
    """The plan with the model's name and fingerprint. Raises BitpressError for a model that cannot be pressed."""
    # Code that nobody agreed to would fail every row for the same reason.
    await engine.launch_for(model.path)
    inside = await look_inside(engine, model)
    return plan.model_copy(
        update={
            "model": str(model.path),
            "model_name": model.name,
            "fingerprint": inside.survey.fingerprint if inside.survey else None,
        }
    )


async def run_sweep(engine: Engine, identity: str, watch: SweepWatch, *, retry: bool = False) -> SweepResult:
    """Do what a kept sweep still lacks, and give its result; `retry` takes up rows that failed as well.

    Raises BitpressError `unknown-sweep`, `sweep-running`, `sweep-model-changed`, `no-room`, and what `watch.run`
    raises. Whatever ends it, the record stays and can be resumed.
    """
    sweep = await asyncio.to_thread(_Sweep, engine, identity, watch)
    try:
        return await sweep.carry_out(retry=retry)
    finally:
        await asyncio.to_thread(sweep.release)


async def to_the_end(engine: Engine, run: Run) -> JobSnapshot:
    """Wait for a run; being cancelled cancels the run first. For a `SweepWatch` that has nothing to print."""
    try:
        return await engine.queue.wait(run.id)
    except asyncio.CancelledError:
        await engine.queue.cancel(run.id)
        await engine.queue.wait(run.id)
        raise


class _Sweep:
    def __init__(self, engine: Engine, identity: str, watch: SweepWatch) -> None:
        self._engine = engine
        self._store = SweepStore(engine.home)
        self._watch = watch
        self._record = self._store.claim(identity)
        self._original = inspect(Path(self._record.plan.model), Origin.FOLDER)

    async def carry_out(self, *, retry: bool) -> SweepResult:
        inside = await look_inside(self._engine, self._original)
        self._require_same(inside)
        await self._adopt(retry=retry)
        if any(row.state in (RowState.WAITING, RowState.COMPRESSED) for row in self._record.result.rows):
            await self._keep(result=self._record.result.model_copy(update={"finished": False}))
        await self._take_measurements()
        planned = await self._planned(inside)
        await self._require_room(planned)
        # A row is measured as soon as it is pressed: whoever looks on sees it fill, and a kill costs one row at most.
        # The original is not run again for that, as what it computed is kept.
        for row in self._record.result.rows:
            if row.key in planned:
                await self._press(row.key, inside)
            if self._row(row.key).state is RowState.COMPRESSED:
                await self._score(self._row(row.key))
        await self._benchmark()
        await self._sum_up("Done.", finished=True)
        return self._record.result

    def release(self) -> None:
        self._store.save(released(self._record))

    # What there is -----------------------------------------------------------------------------------------------

    def _require_same(self, inside: Inside) -> None:
        found = inside.survey.fingerprint if inside.survey else None
        if found != self._record.plan.fingerprint:
            raise BitpressError(
                "sweep-model-changed",
                f"{self._original.path} holds another model than when sweep {self._record.id} was started.",
                "Start a new sweep: rows of two models cannot be compared.",
            )

    async def _adopt(self, *, retry: bool) -> None:
        """Take every artifact that this sweep made and proved, and set back what was interrupted or lost."""
        for row in self._record.result.rows:
            if row.state is RowState.FAILED and not retry:
                continue
            if self._made(row):
                measured = row.fidelity is not None
                state = RowState.MEASURED if measured else RowState.COMPRESSED
                figures = await asyncio.to_thread(self._figures, row)
                await self._change(row.key, "", state=state, problem=None, **figures)
            elif row.state is not RowState.MEASURED:
                # A run that can be resumed goes on where it was, when the row's turn comes.
                kept = {} if await self._resumable(row) else {"run": None, "output": None}
                await self._change(row.key, "", state=RowState.WAITING, problem=None, **kept)

    async def _resumable(self, row: SweepRow) -> bool:
        try:
            return row.run is not None and await self._engine.queue.resumable(row.run) is not None
        except BitpressError:
            return False  # The list of runs was moved away.

    def _made(self, row: SweepRow) -> bool:
        if row.run is None or row.output is None:
            return False
        manifest = read_manifest(Path(row.output))
        return manifest is not None and manifest.proved is True and manifest.run == row.run

    def _figures(self, row: SweepRow) -> dict[str, object]:
        """Size and cost of what was pressed: by its run, or by its files where the run was not written to its end."""
        assert row.run is not None, "only pressed rows are asked"  # noqa: S101
        assert row.output is not None, "only pressed rows are asked"  # noqa: S101
        try:
            result = self._engine.store.get(row.run).result
        except BitpressError:
            result = None
        if isinstance(result, dict) and "bytes" in result:
            return {
                "bytes": result["bytes"],
                "seconds": result.get("seconds"),
                "peak_bytes": result.get("peak_bytes") or None,
            }
        return {"bytes": inspect(Path(row.output), Origin.ARTIFACT).bytes}

    # Before it starts --------------------------------------------------------------------------------------------

    async def _planned(self, inside: Inside) -> dict[str, Planned]:
        """The rows that are to be pressed, planned; what cannot run fails now, and stops nothing."""
        planned: dict[str, Planned] = {}
        recipes: dict[str, Recipe] = {}
        for row in self._record.result.rows:
            if row.state is not RowState.WAITING:
                continue
            try:
                found, mended = await self._plan(row, inside)
            except BitpressError as error:
                await self._fail(row.key, error.problem)
                continue
            expected = await asyncio.to_thread(self._expectations, found)
            await self._change(row.key, "", **expected, notes=tuple(_mend_words(one) for one in mended))
            blocking = [one for one in found.findings if one.severity == "blocks"]
            twin = next((key for key, recipe in recipes.items() if recipe == found.recipe), None)
            if blocking:
                hint = "`--fix` takes over what mends it." if blocking[0].fix else ""
                await self._fail(row.key, Problem(code="blocked", message=blocking[0].message, hint=hint))
            elif twin is not None:
                other = self._row(twin).label
                await self._fail(row.key, Problem(code="same-recipe", message=f"Mended, it is the same as {other}."))
            else:
                planned[row.key], recipes[row.key] = found, found.recipe
        return planned

    async def _plan(
        self, row: SweepRow, inside: Inside, output: Path | None = None
    ) -> tuple[Planned, tuple[Finding, ...]]:
        plan = self._record.plan
        draft = Draft(
            method=row.method,
            overrides=row.parameters,
            calibration=plan.calibration,
            output=output,
            recovery=row.recovery,
        )
        if plan.fix:
            return await mended_compression(
                self._engine, model=self._original, draft=draft, seed=plan.seed, inside=inside
            )
        planned = await plan_compression(
            self._engine,
            model=self._original,
            method=draft.method,
            overrides=draft.overrides,
            calibration=draft.calibration,
            output=draft.output,
            seed=plan.seed,
            recovery=draft.recovery,
            inside=inside,
        )
        return planned, ()

    def _expectations(self, planned: Planned) -> dict[str, object]:
        machine = job_machine(read_machine(self._engine.artifacts), self._engine.settings.device)
        scheme = find(planned.recipe.method).scheme
        speed = expected_speed(scheme, self._original.parameters, hardware_of(machine))
        return {
            "device_bytes": planned.estimates.run_bytes if planned.estimates else None,
            "expected_speed": speed.ratio if speed else None,
            "expected_speed_source": speed.source if speed else "",
        }

    async def _require_room(self, planned: dict[str, Planned]) -> None:
        """All artifacts stay on the disk; the largest needs its room for staging on top."""
        needs = [one.estimates for one in planned.values() if one.estimates is not None]
        if not needs:
            return
        wanted = sum(one.artifact_bytes for one in needs) + max(one.disk_bytes - one.artifact_bytes for one in needs)
        free = (await asyncio.to_thread(read_machine, self._engine.artifacts)).disk_free
        if wanted > free:
            raise BitpressError(
                "no-room",
                f"{len(needs)} artifacts need about {wanted / 1e9:.1f} GB in {self._engine.artifacts}, and "
                f"{free / 1e9:.1f} GB are free there.",
                f"Free some space, choose another folder for artifacts in Settings, or name fewer methods. "
                f"`bitpress sweep --resume {self._record.id}` goes on.",
            )

    # Pressing and measuring --------------------------------------------------------------------------------------

    async def _press(self, key: str, inside: Inside) -> None:
        row = self._row(key)
        name = f"{self._original.name}-{key.replace(':', '-').replace('=', '-')}"
        place = await asyncio.to_thread(free_name, self._engine.artifacts, name)
        try:
            # Planned again: the disk and the memory are not what they were before the rows above it.
            planned, _ = await self._plan(row, inside, place)
            run = await self._resumed(row, planned)
            if run is None:
                run = await start_compression(self._engine, planned, attended=True)
        except BitpressError as error:
            await self._fail(key, error.problem)
            return
        total = len(self._record.result.rows)
        number = 1 + [one.key for one in self._record.result.rows].index(key)
        await self._change(key, f"{number} of {total}: {row.label}", run=run.id, output=run.output)
        snapshot = await self._watch.run(run)
        if (problem := _problem_of(snapshot)) is not None:
            await self._fail(key, problem)
            return
        figures = await asyncio.to_thread(self._figures, self._row(key))
        if row.recovery is not None and not _helped(snapshot.result):
            figures["notes"] = (*row.notes, WITHOUT_GAIN)
        await self._change(key, f"{row.label} is pressed and proved.", state=RowState.COMPRESSED, **figures)

    async def _resumed(self, row: SweepRow, planned: Planned) -> Run | None:
        """The row's interrupted run, queued again, if it was asked just what is planned now."""
        if row.run is None or not await self._resumable(row):
            return None
        kept = await asyncio.to_thread(self._engine.store.get, row.run)
        if kept.settings.get("recipe") != planned.recipe.model_dump(mode="json"):
            return None
        return await self._engine.queue.resume(row.run, attended=True)

    async def _score(self, row: SweepRow) -> None:
        """Measure a row's divergence, and the tasks where some are asked; what fails is this row's alone."""
        suite = self._record.plan.evaluation
        try:
            pressed = await asyncio.to_thread(inspect, Path(row.output or ""), Origin.ARTIFACT)
        except BitpressError as error:
            # Somebody removed or changed it in the meantime.
            await self._fail(row.key, error.problem)
            return
        run = await start_evaluation(
            self._engine, original=self._original, others=[pressed], suite=suite, attended=True
        )
        await self._keep(evaluations=(*self._record.evaluations, run.id))
        self._tell(f"Measuring {row.label}")
        snapshot = await self._watch.run(run)
        if (problem := _problem_of(snapshot)) is not None:
            await self._fail(row.key, problem)
            return
        await self._sum_up(f"{row.label} is measured.")

    async def _benchmark(self) -> None:
        """Speed of the original and of every row that has none; a model that fails is left out."""
        suite = self._record.plan.benchmark
        if suite is None:
            return
        rows = [row for row in self._record.result.rows if row.state is RowState.MEASURED and row.speed is None]
        todo = [inspect(Path(row.output), Origin.ARTIFACT) for row in rows if row.output and Path(row.output).is_dir()]
        if self._record.result.original_speed is None and todo:
            todo.insert(0, self._original)
        while todo:
            try:
                run = await start_benchmark(self._engine, models=todo, suite=suite, attended=True)
            except BitpressError as error:
                # An engine that is not there: what was pressed and measured is worth having all the same.
                await self._note(self._original, error.problem)
                return
            await self._keep(benchmarks=(*self._record.benchmarks, run.id))
            self._tell(f"Measuring the speed of {len(todo)} models")
            snapshot = await self._watch.run(run)
            if snapshot.reason is FinishReason.CANCELLED:
                raise stopped(self._record.id)
            await self._take_measurements()
            todo = await self._unmeasured(todo, snapshot)

    async def _unmeasured(self, asked: list[LocalModel], snapshot: JobSnapshot) -> list[LocalModel]:
        """Note what could not be measured; the models that are still to be asked.

        A server's run goes on by itself and names what failed; transformers' ends with the first that fails.
        """
        result = snapshot.result if isinstance(snapshot.result, dict) else {}
        if "failed" in result:
            for one in (BenchFailure.model_validate(failure) for failure in result["failed"]):
                model = next((model for model in asked if str(model.path) == one.path), self._original)
                await self._note(model, one.problem)
            return []
        if snapshot.problem is None:
            return []
        place = len(result.get("models", ()))
        await self._note(asked[place], snapshot.problem)
        return asked[place + 1 :]

    async def _take_measurements(self) -> None:
        """What this sweep's evaluations and benchmarks have found, also one whose end nobody wrote down."""
        speeds = {
            run: tuple(ModelBenchmark.model_validate(model) for model in result.get("models", ()))
            for run, result in (await self._results(self._record.benchmarks)).items()
        }
        await self._keep(result=with_speeds(self._record.result, speeds))
        await self._sum_up("")

    async def _results(self, runs: Sequence[int]) -> dict[int, dict[str, Json]]:
        found = {}
        for run in runs:
            try:
                result = (await asyncio.to_thread(self._engine.store.get, run)).result
            except BitpressError:
                # The list of runs was moved away; the rows hold what they need.
                continue
            if isinstance(result, dict):
                found[run] = result
        return found

    async def _sum_up(self, sentence: str, *, finished: bool | None = None) -> None:
        """Judge all rows again by what is known now, off the loop's thread."""
        evaluations = {
            run: EvaluationResult.model_validate(result)
            for run, result in (await self._results(self._record.evaluations)).items()
            if "others" in result
        }
        result = await asyncio.to_thread(summarised, self._record.result, self._record.plan.gate, evaluations)
        update: dict[str, object] = {
            "evaluation": max(evaluations, default=None),
            "benchmark": max(self._record.benchmarks, default=None),
        }
        if finished is not None:
            update["finished"] = finished
        await self._keep(result=result.model_copy(update=update))
        if sentence:
            self._tell(sentence)

    # Keeping and telling -----------------------------------------------------------------------------------------

    def _row(self, key: str) -> SweepRow:
        return next(row for row in self._record.result.rows if row.key == key)

    async def _change(self, key: str, sentence: str, **changes: object) -> None:
        rows = tuple(row.model_copy(update=changes) if row.key == key else row for row in self._record.result.rows)
        await self._keep(result=self._record.result.model_copy(update={"rows": rows}))
        if sentence:
            self._tell(sentence)

    async def _fail(self, key: str, problem: Problem) -> None:
        brief = problem.model_copy(update={"details": ""})
        await self._change(key, f"{self._row(key).label}: {problem.message}", state=RowState.FAILED, problem=brief)

    async def _note(self, model: LocalModel, problem: Problem) -> None:
        row = next((one for one in self._record.result.rows if one.output == str(model.path)), None)
        if row is None:
            problems = (*self._record.result.problems, problem.model_copy(update={"details": ""}))
            await self._keep(result=self._record.result.model_copy(update={"problems": problems}))
            return
        notes = (*row.notes, f"Its speed was not measured: {problem.message}")
        await self._change(row.key, f"{row.label}: {problem.message}", notes=notes)

    async def _keep(self, **changes: object) -> None:
        self._record = self._record.model_copy(update=changes)
        await asyncio.to_thread(self._store.save, self._record)

    def _tell(self, sentence: str) -> None:
        self._watch.rows(self._record.result, sentence)


def _helped(result: Json) -> bool:
    """Whether a compression's result holds a recovery that helped."""
    found = result.get("recovery") if isinstance(result, dict) else None
    return isinstance(found, dict) and found.get("helped") is True


def _problem_of(snapshot: JobSnapshot) -> Problem | None:
    if snapshot.reason is FinishReason.CANCELLED:
        return Problem(code="cancelled", message="It was cancelled.", hint="Resume with --retry to try it again.")
    return snapshot.problem


def stopped(identity: str) -> BitpressError:
    """What ends a sweep that somebody stopped."""
    return BitpressError(
        "cancelled",
        "The sweep was stopped; what is done is kept.",
        f"`bitpress sweep --resume {identity}` goes on where it was.",
    )


def _mend_words(finding: Finding) -> str:
    changed = ", ".join(f"{name} {value}" for name, value in (finding.fix or {}).items())
    return f"Mended ({changed}): {finding.message}"
