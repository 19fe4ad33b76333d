"""Binds the Compress page: plans every method for the choice, and starts what the user asks for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.calibration import inspect_calibration, keep_set, pinned_where_known, sets_of
from app.compression import Inside, look_inside, plan_compression, start_compression
from app.engine import free_name
from app.mending import mended_compression
from app.pages.own_code import show_code
from app.pages.presets import PresetBinding
from app.pages.sweeps import ask_sweep, show_sweeps, sweeps_of
from app.rehearsal import start_rehearsal
from app.shell import Shell
from app.starter import ensure_starter
from core.care.details import LOG_BYTES
from core.care.log_files import end_of_log
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import JobSnapshot
from core.jobs.work import LOG_FILE
from core.methods.catalogue import METHODS
from core.methods.not_offered import NOT_OFFERED
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel, Origin, Weights
from core.models.survey_store import weights_identity
from core.plan.mend import Draft, together
from core.plan.plan_methods import plan_methods
from core.plan.read_machine import read_machine
from ui.pages.compress import CompressPage
from ui.pages.compress_choice import CompressChoice


class CompressBinding:
    """Acts for the Compress page."""

    def __init__(self, page: CompressPage, shell: Shell) -> None:
        self._page = page
        self._shell = shell
        page.choice_changed.connect(lambda choice: shell.tasks.replace("plan", self._planned(choice)))
        page.run_requested.connect(lambda choice: shell.tasks.start("compress", self._started(choice, show=True)))
        page.queue_requested.connect(lambda choice: shell.tasks.start("compress", self._started(choice, show=False)))
        page.sweep_requested.connect(lambda choice: shell.tasks.start("ask-sweep", self._asked_sweep(choice)))
        page.last_sweep_requested.connect(lambda: show_sweeps(page, shell))
        sweeps_of(shell).listeners.append(lambda result: page.show_swept(result is not None))
        sweeps_of(shell).refresh()
        page.mend_requested.connect(lambda choice: shell.tasks.replace("mend", self._mended(choice)))
        page.code_requested.connect(lambda choice: shell.tasks.replace("own-code", self._showed_code(choice)))
        self._agreed: frozenset[Path] = frozenset()
        self._refused: tuple[str, Inside] | None = None
        self._presets = PresetBinding(page, shell)
        page.inspect_requested.connect(lambda choice: shell.tasks.replace("inspect", self._inspected(choice)))
        page.save_set_requested.connect(lambda *asked: shell.tasks.start("save-set", self._kept(*asked)))
        page.show_methods(METHODS, NOT_OFFERED)
        page.rehearse_requested.connect(lambda choice: shell.tasks.start("rehearse", self._rehearsed(choice)))
        page.rehearsal_cancelled.connect(self._cancel_rehearsal)
        shell.on_event.append(self._heard)
        self._rehearsal: int | None = None
        shell.on_models.append(self._show_models)
        shell.going["compress"] = self._receive
        self._show_models(shell.models)
        shell.tasks.replace("sets", self._show_sets())

    def _receive(self, thing: object) -> None:
        if isinstance(thing, LocalModel):
            self._page.select_model(thing.path)
        elif isinstance(thing, tuple):
            self._page.show_recipe(*thing)
        elif isinstance(thing, Run) and thing.kind in (RunKind.COMPRESS, RunKind.REHEARSE):
            self._page.show_recipe(Path(thing.models[0]), Recipe.model_validate(thing.settings["recipe"]))

    def _show_models(self, models: tuple[LocalModel, ...]) -> None:
        self._page.show_models(
            tuple(
                model
                for model in models
                if model.origin is not Origin.ARTIFACT and model.weights in (Weights.SAFETENSORS, Weights.NONE)
            )
        )
        agreed = frozenset(model.path for model in models if model.consented)
        if agreed != self._agreed:
            # What blocked a model does so no longer, or again.
            self._agreed = agreed
            self._page.plan_again()

    async def _planned(self, choice: CompressChoice) -> None:
        await asyncio.sleep(0.1)  # Typing changes the choice several times; the last one counts.
        model = await self._model(choice)
        if model is None:
            return
        engine = self._shell.engine
        self._page.show_busy("Looking inside the model")
        try:
            inside = await self._look_inside(model)
        finally:
            self._page.show_busy(None)
        self._page.show_survey(inside.survey)
        output = choice.output or free_name(engine.artifacts, f"{model.name}-{choice.current}")
        machine = await asyncio.to_thread(read_machine, output)
        history = await asyncio.to_thread(engine.store.runs, RunKind.COMPRESS)
        self._page.show_machine(machine)
        calibration = await asyncio.to_thread(pinned_where_known, engine, choice.calibration)
        plans = await asyncio.to_thread(
            plan_methods,
            model,
            inside.survey,
            choice.goal,
            machine,
            history,
            choice.overrides,
            calibration,
            choice.output,
            seed=choice.seed,
            recovery=choice.recovery,
            problem=inside.problem,
            device=engine.settings.device,
        )
        self._page.show_plans(plans)

    async def _showed_code(self, choice: CompressChoice) -> None:
        model = await self._model(choice)
        if model is not None:
            await show_code(self._page, self._shell, model)

    async def _look_inside(self, model: LocalModel) -> Inside:
        """As `look_inside`; a worker is not asked a second time about the same model that cannot be built."""
        if model.weights is not Weights.SAFETENSORS or not model.usable:
            return Inside(None)
        mark = await asyncio.to_thread(weights_identity, model.path)
        if self._refused is not None and self._refused[0] == mark:
            return self._refused[1]
        inside = await look_inside(self._shell.engine, model)
        self._refused = (mark, inside) if inside.problem is not None else None
        return inside

    async def _mended(self, choice: CompressChoice) -> None:
        """Take over everything that mends what blocks the current method."""
        model = await self._model(choice)
        if model is None:
            return
        draft = Draft(
            method=choice.current,
            overrides=dict(choice.overrides.get(choice.current, {})),
            calibration=choice.calibration,
            output=choice.output,
            recovery=choice.recovery,
        )
        _, done = await mended_compression(self._shell.engine, model=model, draft=draft, seed=choice.seed)
        self._page.apply_fix(together(done))

    async def _model(self, choice: CompressChoice) -> LocalModel | None:
        model = self._shell.model_at(choice.model)
        if model is None or model.origin is not Origin.STARTER or model.weights is not Weights.NONE:
            return model
        try:
            model = await ensure_starter(self._shell.engine, lambda text, _: self._page.show_busy(text))
        finally:
            self._page.show_busy(None)
        self._shell.refresh_models()
        return model

    async def _started(self, choice: CompressChoice, *, show: bool) -> None:
        model = await self._model(choice)
        if model is None:
            return
        first = None
        for method in choice.to_run:
            planned = await plan_compression(
                self._shell.engine,
                model=model,
                method=method,
                overrides=choice.overrides.get(method, {}),
                calibration=choice.calibration,
                output=choice.output,
                seed=choice.seed,
                recovery=choice.recovery,
            )
            run = await start_compression(self._shell.engine, planned)
            first = first or run
        await self._shell.read_runs()
        if first is not None and show:
            self._shell.go("runs", first.id)

    async def _asked_sweep(self, choice: CompressChoice) -> None:
        model = await self._model(choice)
        if model is not None:
            await ask_sweep(self._page, self._shell, model, choice)

    async def _rehearsed(self, choice: CompressChoice) -> None:
        """Rehearse the current method; it takes its turn in the queue like every job."""
        model = await self._model(choice)
        if model is None:
            return
        planned = await plan_compression(
            self._shell.engine,
            model=model,
            method=choice.current,
            overrides=choice.overrides.get(choice.current, {}),
            calibration=choice.calibration,
            output=choice.output,
            seed=choice.seed,
            recovery=choice.recovery,
        )
        run = await start_rehearsal(self._shell.engine, planned)
        self._rehearsal = run.id
        self._page.show_rehearsal(self._shell.engine.queue.snapshot(run.id))

    def _cancel_rehearsal(self) -> None:
        if self._rehearsal is not None:
            self._shell.tasks.start("cancel-rehearsal", self._shell.engine.queue.cancel(self._rehearsal))

    def _heard(self, run_id: int, snapshot: JobSnapshot, _event: object) -> None:
        if run_id == self._rehearsal:
            self._page.show_rehearsal(snapshot)
            if snapshot.problem is not None:
                self._shell.tasks.replace("rehearsal-log", self._origin_of_problem(run_id, snapshot))

    async def _origin_of_problem(self, run_id: int, snapshot: JobSnapshot) -> None:
        log = self._shell.engine.home.run_folder(run_id) / LOG_FILE
        end = await asyncio.to_thread(end_of_log, log, LOG_BYTES)
        self._page.show_rehearsal_origin(dict(snapshot.libraries), end)

    async def _inspected(self, choice: CompressChoice) -> None:
        model = await self._model(choice)
        if model is None:
            return
        self._page.show_busy("Looking at the calibration data")
        try:
            found = await inspect_calibration(self._shell.engine, model, choice.calibration)
        finally:
            self._page.show_busy(None)
        self._page.show_inspection(found)

    async def _kept(self, choice: CompressChoice, name: str, description: str) -> None:
        self._page.show_busy("Keeping the samples")
        try:
            await keep_set(
                self._shell.engine,
                name,
                choice.calibration,
                description=description,
                model=self._shell.model_at(choice.model),
            )
        finally:
            self._page.show_busy(None)
        await self._show_sets()

    async def _show_sets(self) -> None:
        self._page.show_sets(await asyncio.to_thread(sets_of(self._shell.engine).list))
