"""Calibration data for window and command line: sets looked up, data inspected, samples kept under a name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from app.ask_worker import ask_worker
from app.engine import Engine
from core.calibration.builtin import prompts
from core.calibration.inspection import CalibrationInspection
from core.calibration.kept_answers import MAX_TOKENS, missing_answers, ready_answers, samples_of
from core.calibration.mix_text import read_sources
from core.calibration.sets import CalibrationSet, SetStore
from core.calibration.sources import chosen_samples
from core.calibration.spec import CalibrationSample, CalibrationSpec, MixPart
from core.errors import BitpressError
from core.jobs.protocol import AnswerPrompts, InspectCalibration
from core.models.local_model import LocalModel
from core.models.survey_store import weights_identity


def sets_of(engine: Engine) -> SetStore:
    """The named sets of this home."""
    return SetStore(engine.home.calibration_sets)


def typed_sources(texts: Sequence[str]) -> tuple[MixPart, ...]:
    """The sources that were typed on a command line. Raises BitpressError `bad-calibration`."""

    def absolute(path: str) -> str:
        return str(Path(path).expanduser().absolute())

    def exists(path: str) -> bool:
        try:
            return bool(path) and os.path.lexists(Path(path).expanduser())
        except (OSError, ValueError):
            return False

    return read_sources(texts, absolute, exists)


def pinned(engine: Engine, spec: CalibrationSpec) -> CalibrationSpec:
    """The choice with its sets looked up. Raises BitpressError where there is no such set."""
    return sets_of(engine).pinned(spec)


def pinned_where_known(engine: Engine, spec: CalibrationSpec) -> CalibrationSpec:
    """As `pinned`, but a set that is not there stays as it is, for the findings to say so."""
    try:
        return pinned(engine, spec)
    except BitpressError:
        return spec


def answers_folder(engine: Engine, model: LocalModel) -> Path:
    """Where the model's self-made calibration chat is kept: one folder per model, by its very weights."""
    return engine.home.answers / weights_identity(model.path)[:24]


async def inspect_calibration(
    engine: Engine, model: LocalModel, spec: CalibrationSpec, shown: int = 8
) -> CalibrationInspection:
    """Look at the samples that a job would take; a worker reads them with the model's tokenizer."""
    answers = str(answers_folder(engine, model)) if spec.has_self_chat else None
    command = InspectCalibration(
        job="inspect",
        model=str(model.path),
        calibration=await asyncio.to_thread(pinned, engine, spec),
        answers=answers,
        shown=shown,
    )
    return CalibrationInspection.model_validate(
        await ask_worker(await engine.launch_for(model.path), engine.home, command)
    )


async def keep_set(
    engine: Engine,
    name: str,
    spec: CalibrationSpec,
    *,
    description: str = "",
    model: LocalModel | None = None,
    answer: Callable[[int], None] | None = None,
) -> CalibrationSet:
    """Choose samples by weight and seed, and keep them under a name.

    Chat that a model makes itself is taken from the answers that it has given already. Where some are missing, the
    model gives them now if `answer` is there to hear how many. Raises BitpressError `calibration-not-answered` where
    it is not, `calibration-no-model` where no model is named, and what reading and keeping raise.
    """
    store = sets_of(engine)
    await asyncio.to_thread(store.refuse_taken, name)
    spec = await asyncio.to_thread(pinned, engine, spec)
    chats: tuple[CalibrationSample, ...] = ()
    if spec.has_self_chat:
        if model is None:
            raise BitpressError(
                "calibration-no-model",
                "Chat that a model makes itself is among the sources, and no model is named.",
                "Name the model with --model, or leave self-chat out: it can be mixed in when a model is compressed.",
            )
        chats = await _own_chat(engine, spec, model, answer)
    parts = await asyncio.to_thread(chosen_samples, spec, chats)
    return await asyncio.to_thread(
        store.create,
        name,
        spec,
        tuple(sample for part in parts for sample in part),
        description=description,
        model=str(model.path) if model is not None and spec.has_self_chat else "",
    )


async def _own_chat(
    engine: Engine, spec: CalibrationSpec, model: LocalModel, answer: Callable[[int], None] | None
) -> tuple[CalibrationSample, ...]:
    """The model's answers in the seed's order, as many as there are."""
    folder = await asyncio.to_thread(answers_folder, engine, model)
    missing = missing_answers(prompts(), folder, spec.chat_samples, spec.seed)
    if missing and answer is None:
        raise BitpressError(
            "calibration-not-answered",
            f"{model.name} has not answered {missing} of the {spec.chat_samples} prompts with seed {spec.seed} yet.",
            "Compress it once with chat of its own and as many samples, which keeps the answers, or use "
            "`bitpress calibration add`, which lets it answer.",
        )
    if missing and answer is not None:
        answer(missing)
        command = AnswerPrompts(
            job="answer",
            model=str(model.path),
            answers=str(folder),
            samples=spec.chat_samples,
            max_tokens=MAX_TOKENS,
            seed=spec.seed,
            device=engine.settings.device,
        )
        await ask_worker(await engine.launch_for(model.path), engine.home, command)
    return samples_of(ready_answers(prompts(), folder, len(prompts()), spec.seed))
