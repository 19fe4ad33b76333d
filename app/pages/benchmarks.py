"""Binds the Benchmarks page: measures what is asked, and shows the newest figures of the models that are chosen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from app.compression import survey_of
from app.engines import engine_state, install_engine
from app.measurement import start_benchmark, start_evaluation, start_sensitivity
from app.pages.sweeps import sweeps_of
from app.shell import Shell
from app.starter import completed
from core.durable import write_whole
from core.engines.environment import State
from core.engines.offered import OFFERS, VLLM
from core.errors import BitpressError
from core.jobs.protocol import AnyEvent
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import JobSnapshot
from core.measure.gate_store import gates
from core.measure.gates import USUAL
from core.measure.mix_recipe import mix_document
from core.measure.results import BenchmarkSuite, EvaluationResult, EvaluationSuite, ModelBenchmark
from core.measure.sensitivity_values import SensitivityResult
from core.measure.sweep_values import SweepResult
from core.measure.task_files import TaskFile, built_in_tasks, find_tasks
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel
from core.system_errors import system_problem
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmarks import BenchmarksPage

PICTURES = {".svg": "Vector picture (*.svg)", ".png": "Picture (*.png)"}


class BenchmarksBinding:
    """Acts for the Benchmarks page."""

    def __init__(self, page: BenchmarksPage, shell: Shell) -> None:
        self._page = page
        self._shell = shell
        self._chosen: tuple[str, tuple[str, ...]] | None = None
        self._runs: frozenset[int] = frozenset()
        page.measure_requested.connect(
            lambda original, others, evaluation, speed: shell.tasks.start(
                "measure", self._measured(original, others, evaluation, speed)
            )
        )
        page.engine_requested.connect(lambda: shell.tasks.start("engine", self._installed()))
        page.sensitivity_requested.connect(
            lambda original: shell.tasks.start("measure", self._measured_by_part(original))
        )
        page.mix_requested.connect(lambda result: shell.tasks.start("use-mix", self._mix_used(result)))
        page.models_chosen.connect(self._choose)
        page.export_requested.connect(lambda: shell.go("reports"))
        page.picture_exported.connect(self._export_picture)
        page.gate_chosen.connect(self._choose_gate)
        sweeps_of(shell).listeners.append(self._show_sweep)
        shell.on_models.append(self._show_models)
        shell.on_event.append(self._heard)
        shell.going["benchmarks"] = self._receive
        self._tasks: tuple[TaskFile, ...] = ()
        page.task_file_chosen.connect(lambda path: shell.tasks.replace("task-file", self._add_task(path)))
        shell.tasks.start("built-in-tasks", self._read_tasks())
        self._show_models(shell.models)
        self._show_engine()

    def _show_models(self, models: tuple[LocalModel, ...]) -> None:
        self._page.show_models(tuple(model for model in models if model.usable and model.weights == "safetensors"))
        # The models may come after the page: what it offers by itself then is shown like a person's choice.
        original = self._page.original()
        if original is not None and (original, self._page.others()) != self._chosen:
            self._choose(original, self._page.others())

    def _show_engine(self) -> None:
        found = engine_state(VLLM, self._shell.engine.home)
        said = (
            found.said if found.state is State.READY else f"Not installed: about {_room()} GB from the package index."
        )
        self._page.show_vllm(ready=found.state is State.READY, said=said)

    async def _installed(self) -> None:
        """Install vLLM, and say in the dialog and on the page how far it is."""

        def told(step: str, line: str) -> None:
            self._page.show_vllm(ready=False, said=f"{step}… {line[:60]}", busy=True)
            self._page.show_busy(f"vLLM: {step}", None)

        try:
            await install_engine(self._shell.engine.home, VLLM, told=told)
        finally:
            self._page.show_busy("", None)
            self._show_engine()

    async def _read_tasks(self) -> None:
        self._tasks = await asyncio.to_thread(built_in_tasks)
        self._page.show_tasks(self._tasks)

    async def _add_task(self, path: str) -> None:
        try:
            # All together, so that two of one name are noticed here and not when the run starts.
            self._tasks = await asyncio.to_thread(find_tasks, [*(task.source for task in self._tasks), path])
        except BitpressError as error:
            self._page.show_task_problem(error.problem)
            return
        self._page.show_tasks(self._tasks)

    def _receive(self, thing: object) -> None:
        if isinstance(thing, tuple) and thing:
            self._page.choose(thing[0], thing[1:])
            self._choose(thing[0], thing[1:])

    def _choose(self, original: str, others: tuple[str, ...]) -> None:
        self._chosen = (original, tuple(others))
        self._shell.tasks.replace("benchmark-rows", self._shown())

    async def _measured(
        self, original: str, others: tuple[str, ...], evaluation: EvaluationSuite | None, speed: BenchmarkSuite | None
    ) -> None:
        engine = self._shell.engine
        models = [model for path in (original, *others) if (model := self._shell.model_at(path)) is not None]
        started: list[Run] = []
        try:
            if evaluation is not None and len(models) > 1:
                started.append(await start_evaluation(engine, original=models[0], others=models[1:], suite=evaluation))
            if speed is not None:
                served = () if speed.engine == "endpoint" else models
                started.append(await start_benchmark(engine, models=served, suite=speed))
            self._runs = frozenset(run.id for run in started)
            await self._shell.read_runs()
            for run in started:
                completed(await engine.queue.wait(run.id))
                self._choose(original, others)
        finally:
            self._runs = frozenset()
            self._page.show_busy("", None)
            await self._shell.read_runs()

    async def _measured_by_part(self, original: str) -> None:
        model = self._shell.model_at(original)
        if model is None:
            return
        self._page.show_busy("Looking inside the model")
        try:
            run = await start_sensitivity(self._shell.engine, model=model)
            self._runs = frozenset({run.id})
            await self._shell.read_runs()
            completed(await self._shell.engine.queue.wait(run.id))
            if self._chosen is not None and self._chosen[0] == original:
                self._choose(*self._chosen)
        finally:
            self._runs = frozenset()
            self._page.show_busy("", None)
            await self._shell.read_runs()

    async def _mix_used(self, result: SensitivityResult) -> None:
        """Compress begins with the chosen schemes as the rules of the method `mixed`."""
        model = self._shell.model_at(result.model)
        survey = await survey_of(self._shell.engine, model) if model is not None else None
        document = mix_document(result, survey) if survey is not None else None
        if document is None:
            raise BitpressError(
                "no-mix", "The model of this map is not here any more.", "Add its folder on Models, and measure again."
            )
        recipe = Recipe(method=document.method, parameters=document.parameters)
        self._shell.go("compress", (Path(result.model), recipe))

    def _heard(self, run_id: int, snapshot: JobSnapshot, _event: AnyEvent | None) -> None:
        if run_id in self._runs and (current := snapshot.current) is not None:
            self._page.show_busy(f"{snapshot.title}: {current.stage.title}", current.fraction)

    async def _shown(self) -> None:
        if self._chosen is None:
            return
        original, others = self._chosen
        store, home = self._shell.engine.store, self._shell.engine.home
        kept = await asyncio.to_thread(store.about, original)
        known = await asyncio.to_thread(gates, home)
        sensitivity = await asyncio.to_thread(store.runs, RunKind.SENSITIVITY)
        rows = tuple(self._row(path, original, kept) for path in (original, *others))
        self._page.show_gates(
            [one.gate for one in known if one.gate is not None], self._shell.engine.settings.gate or USUAL
        )
        self._page.show_rows(tuple(row for row in rows if row is not None))
        self._page.show_sweep(await sweeps_of(self._shell).newest(original))
        self._page.show_sensitivity(newest_sensitivity(sensitivity, original))

    def _show_sweep(self, sweep: SweepResult | None) -> None:
        """Rows of the chosen original fill while the sweep runs."""
        if sweep is not None and self._chosen is not None and sweep.original == self._chosen[0]:
            self._page.show_sweep(sweep)

    def _choose_gate(self, name: str) -> None:
        settings = self._shell.engine.settings
        if name != settings.gate:
            self._shell.change_settings(settings.model_copy(update={"gate": name}))

    def _export_picture(self, name: str, picture: bytes) -> None:
        suffix = Path(name).suffix
        chosen, _ = QFileDialog.getSaveFileName(
            self._page, "Export the chart", str(Path.home() / name), PICTURES[suffix]
        )
        if chosen:
            path = Path(chosen) if Path(chosen).suffix == suffix else Path(chosen + suffix)
            self._shell.tasks.start(f"export-{path.name}", self._written(path, picture))

    async def _written(self, path: Path, picture: bytes) -> None:
        await asyncio.to_thread(write_picture, path, picture)
        self._shell.window.strip.show_idle(f"Written: {path}")

    def _row(self, path: str, original: str, kept: tuple[Run, ...]) -> BenchmarkRow | None:
        model = self._shell.model_at(path)
        if model is None:
            return None
        evaluation = newest_evaluation(kept, original, None if path == original else path)
        benchmarks = newest_benchmarks(kept, path)
        fidelity = None
        if evaluation is not None and path != original:
            fidelity = next((one for one in evaluation.others if one.path == path), None)
        perplexity = evaluation.original_perplexity if evaluation and path == original else None
        return BenchmarkRow(
            path=path,
            name=model.label,
            is_original=path == original,
            bytes=model.bytes,
            benchmark=next(iter(benchmarks), None),
            benchmarks=benchmarks,
            fidelity=fidelity,
            perplexity=fidelity.perplexity if fidelity else perplexity,
            evaluation_conditions=evaluation.conditions if evaluation else None,
            evaluation_tokens=evaluation.tokens if evaluation else None,
            evaluation_documents=evaluation.documents if evaluation else None,
            evaluation_window=evaluation.window if evaluation else None,
            evaluation_texts=tuple(text.text for text in evaluation.texts) if evaluation else (),
            evaluation=evaluation,
        )


def _room() -> str:
    """Gigabytes that vLLM takes, smallest and largest build."""
    sizes = sorted(offer.disk_bytes // 10**9 for offer in OFFERS if offer.engine == VLLM)
    return f"{sizes[0]} to {sizes[-1]} GB"


def newest_evaluation(kept: tuple[Run, ...], original: str, other: str | None) -> EvaluationResult | None:
    """The last completed evaluation of the original, with the other model in it where one is named."""
    for run in sorted(kept, key=lambda one: one.id, reverse=True):
        if run.kind is RunKind.EVALUATE and run.reason == "completed" and run.models[0] == original:
            result = EvaluationResult.model_validate(run.result)
            # A run of tasks alone scored no tokens.
            if (other is None and result.tokens) or any(one.path == other for one in result.others):
                return result
    return None


def newest_benchmarks(kept: tuple[Run, ...], path: str) -> tuple[ModelBenchmark, ...]:
    """The last completed benchmark of a model in each engine, the newest first."""
    found: dict[str, ModelBenchmark] = {}
    for run in sorted(kept, key=lambda one: one.id, reverse=True):
        if run.kind is RunKind.BENCHMARK and run.reason == "completed":
            for model in run.result["models"]:
                if model["path"] == path:
                    benchmark = ModelBenchmark.model_validate(model)
                    found.setdefault(benchmark.conditions.engine, benchmark)
    return tuple(found.values())


def newest_sensitivity(kept: tuple[Run, ...], original: str) -> SensitivityResult | None:
    """The last completed map of the original's sensitivity."""
    for run in sorted(kept, key=lambda one: one.id, reverse=True):
        if run.reason == "completed" and run.models and run.models[0] == original:
            return SensitivityResult.model_validate(run.result)
    return None


def write_picture(path: Path, picture: bytes) -> None:
    """Raises BitpressError `not-writable`."""
    try:
        write_whole(path, picture, make_folder=False)
    except OSError as error:
        if (refused := system_problem(error)) is not None:
            raise BitpressError.of(refused) from error
        raise BitpressError(
            "not-writable", f"The chart could not be written: {error.strerror or error}.", "Choose another folder."
        ) from error
