"""Binds the Compress page: plans every method for the choice, and starts what the user asks for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.ask_worker import ask_worker
from app.compression import Inside, answers_folder, look_inside, plan_compression, start_compression
from app.engine import free_name
from app.mending import mended_compression
from app.shell import Shell
from app.starter import ensure_starter
from core.calibration.spec import SELF_CHAT
from core.jobs.protocol import PreviewCalibration
from core.jobs.run import Run, RunKind
from core.methods.catalogue import METHODS
from core.methods.not_offered import NOT_OFFERED
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel, Origin, Weights
from core.models.survey_store import weights_identity
from core.plan.mend import Asked, together
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
        page.mend_requested.connect(lambda choice: shell.tasks.replace("mend", self._mended(choice)))
        self._refused: tuple[str, Inside] | None = None
        page.preview_requested.connect(lambda choice: shell.tasks.replace("preview", self._previewed(choice)))
        page.show_methods(METHODS, NOT_OFFERED)
        shell.on_models.append(self._show_models)
        shell.going["compress"] = self._receive
        self._show_models(shell.models)

    def _receive(self, thing: object) -> None:
        if isinstance(thing, LocalModel):
            self._page.select_model(thing.path)
        elif isinstance(thing, Run) and thing.kind is RunKind.COMPRESS:
            self._page.show_recipe(Path(thing.models[0]), Recipe.model_validate(thing.settings["recipe"]))

    def _show_models(self, models: tuple[LocalModel, ...]) -> None:
        self._page.show_models(
            tuple(
                model
                for model in models
                if model.origin is not Origin.ARTIFACT and model.weights in (Weights.SAFETENSORS, Weights.NONE)
            )
        )

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
        output = choice.output or free_name(engine.artifacts, f"{model.name}-{choice.current}")
        machine = await asyncio.to_thread(read_machine, output)
        history = await asyncio.to_thread(engine.store.runs, RunKind.COMPRESS)
        self._page.show_machine(machine)
        plans = await asyncio.to_thread(
            plan_methods,
            model,
            inside.survey,
            choice.goal,
            machine,
            history,
            choice.overrides,
            choice.calibration,
            choice.output,
            seed=choice.seed,
            problem=inside.problem,
            device=engine.settings.device,
        )
        self._page.show_plans(plans)

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
        asked = Asked(
            method=choice.current,
            overrides=dict(choice.overrides.get(choice.current, {})),
            calibration=choice.calibration,
            output=choice.output,
        )
        _, done = await mended_compression(self._shell.engine, model=model, asked=asked, seed=choice.seed)
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
            )
            run = await start_compression(self._shell.engine, planned)
            first = first or run
        await self._shell.read_runs()
        if first is not None and show:
            self._shell.go("runs", first.id)

    async def _previewed(self, choice: CompressChoice) -> None:
        model = await self._model(choice)
        if model is None:
            return
        engine = self._shell.engine
        answers = None
        if choice.calibration.source == SELF_CHAT:
            answers = str(answers_folder(engine, model))
        self._page.show_busy("Reading the first samples")
        try:
            result = await ask_worker(
                engine.launch,
                engine.home,
                PreviewCalibration(
                    job="preview", model=str(model.path), calibration=choice.calibration, answers=answers
                ),
            )
        finally:
            self._page.show_busy(None)
        self._page.show_preview(result["samples"])
