"""An evaluation with tasks: fidelity first, then each model answers alone, then the statistics of their answers."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from core.durable import write_whole
from core.errors import BitpressError
from core.jobs.kept_work import keeping
from core.jobs.protocol import Accepted, AnyEvent, Evaluate, Finished, FinishReason, RunTasks
from core.jobs.work import Work, WorkContext, as_part, completed, one_worker
from core.measure.results import EvaluationResult, EvaluationSuite, plain
from core.measure.task_answers import Answered, ModelAnswers
from core.measure.task_files import TaskFile
from core.measure.task_prepared import write_tasks
from core.measure.task_results import TaskResult
from core.measure.task_statistics import TaskAnswers, compare, corrected, wilson

FOLDER = "tasks"
"""Inside the run's folder: the tasks as they were asked, and every item with every model's answer."""


def task_evaluation(
    original: str,
    others: Sequence[str],
    suite: EvaluationSuite,
    tasks: Sequence[TaskFile],
    *,
    cache: str | None = None,
    device: str = "auto",
    checkpoint_seconds: float | None = 60.0,
) -> Work:
    """Score the models on the suite's texts, if it has any, and let each answer the tasks.

    The result is an EvaluationResult; without texts it has no tokens, no perplexity and no others, tasks alone. One
    model is in memory at a time, in a process of its own. The original's answers are kept in `cache`. What does not
    complete ends the run. What is scored and answered is kept at most every `checkpoint_seconds`, for a run that breaks
    to go on from; with None it is not.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        prepared = context.folder / FOLDER / "prepared"
        await asyncio.to_thread(_prepare, tasks, prepared)
        found: EvaluationResult | None = None
        if suite.texts:
            command = Evaluate(
                job=context.job,
                original=original,
                others=tuple(others),
                suite=suite,
                cache=cache,
                keeping=keeping(context, checkpoint_seconds),
                device=device,
            )
            async for event in one_worker(context, command):
                if isinstance(event, Finished) and event.reason is FinishReason.COMPLETED:
                    found = EvaluationResult.model_validate(event.result)
                else:
                    yield event
                    if isinstance(event, Finished):
                        return
        said: list[ModelAnswers] = []
        for number, model in enumerate((original, *others)):
            asked = RunTasks(
                job=context.job,
                model=model,
                tasks=tuple(task.asked for task in tasks),
                folder=str(prepared),
                output=str(_answers_folder(context.folder, number)),
                items=suite.task_items,
                cache=cache if number == 0 else None,
                keeping=keeping(context, checkpoint_seconds),
                seed=suite.seed,
                device=device,
            )
            async for event in one_worker(context, asked):
                if isinstance(event, Finished) and event.reason is FinishReason.COMPLETED:
                    said.append(ModelAnswers.model_validate(event.result))
                elif isinstance(event, Finished):
                    yield event
                    return
                else:
                    yield _of_model(event, number, model, first=not suite.texts and number == 0)
        results = await asyncio.to_thread(_results, context.folder, tasks, (original, *others))
        yield completed(context, plain(_merged(found, said, results, suite)))

    return work


def _of_model(event: AnyEvent, number: int, model: str, *, first: bool) -> AnyEvent:
    """The event as a part of the whole run, its stages saying whose they are."""
    part = as_part(event, f"tasks-{number}-")
    if not isinstance(part, Accepted):
        return part
    name = Path(model).name
    stages = tuple(stage.model_copy(update={"title": f"{stage.title}: {name}"}) for stage in part.stages)
    return part.model_copy(update={"stages": stages, "more": not first})


def _prepare(tasks: Sequence[TaskFile], folder: Path) -> None:
    # A run that is started again finds what the first try left.
    shutil.rmtree(folder.parent, ignore_errors=True)
    write_tasks(tasks, folder)


def _answers_folder(folder: Path, number: int) -> Path:
    return folder / FOLDER / f"answers-{number}"


def _results(folder: Path, tasks: Sequence[TaskFile], models: Sequence[str]) -> tuple[TaskResult, ...]:
    """Figures of every task, and its items as JSON lines; what was needed on the way is removed.

    Raises BitpressError `different-items` and `lost-answers`.
    """
    found = []
    for task in tasks:
        answers = [
            TaskAnswers(
                name=Path(model).name, path=model, answers=_read(_answers_folder(folder, number) / f"{task.name}.jsonl")
            )
            for number, model in enumerate(models)
        ]
        items_file = f"{FOLDER}/{task.name}.jsonl"
        empty = TaskResult(
            name=task.name,
            title=task.title,
            kind=task.kind,
            metric=task.metric,
            items=0,
            chance=task.chance,
            accuracy=wilson(0, 1),
            others=(),
            smallest_margin=1.0,
            sha256=task.sha256,
            version=task.version,
            items_file=items_file,
        )
        found.append(compare(empty, answers[0], answers[1:]))
        write_whole(folder / items_file, _item_lines(task.name, answers).encode())
    for number in range(len(models)):
        shutil.rmtree(_answers_folder(folder, number), ignore_errors=True)
    shutil.rmtree(folder / FOLDER / "prepared" / "cache", ignore_errors=True)
    return corrected(found)


def _item_lines(task: str, answers: Sequence[TaskAnswers]) -> str:
    """One item a line: task, doc_id, doc_hash, target, and per model its path, its answer and whether it is right."""
    by_item = [{(one.doc_id, one.doc_hash): one for one in model.answers} for model in answers]
    lines = []
    for item in answers[0].answers:
        models = [
            {"path": model.path, "answer": its.answer, "right": its.right}
            for model, found in zip(answers, by_item, strict=True)
            if (its := found.get((item.doc_id, item.doc_hash))) is not None
        ]
        facts = {"task": task, "doc_id": item.doc_id, "doc_hash": item.doc_hash, "target": item.target}
        lines.append(json.dumps({**facts, "models": models}, ensure_ascii=False) + "\n")
    return "".join(lines)


def _read(path: Path) -> tuple[Answered, ...]:
    try:
        with path.open(encoding="utf-8") as lines:
            return tuple(Answered.model_validate_json(line) for line in lines)
    except (OSError, ValueError) as error:
        raise BitpressError(
            "lost-answers", f"The answers in {path} cannot be read.", "Run it again; the disk may be full."
        ) from error


def _merged(
    found: EvaluationResult | None,
    said: Sequence[ModelAnswers],
    results: tuple[TaskResult, ...],
    suite: EvaluationSuite,
) -> EvaluationResult:
    seconds, load_seconds = sum(one.seconds for one in said), sum(one.load_seconds for one in said)
    notes = dict.fromkeys(note for one in said for note in one.conditions.notes)
    if found is None:
        return EvaluationResult(
            original=said[0].model,
            original_perplexity=0.0,
            tokens=0,
            documents=0,
            window=suite.window,
            sha256="",
            others=(),
            texts=(),
            conditions=said[0].conditions.model_copy(update={"notes": tuple(notes)}),
            seconds=seconds,
            load_seconds=load_seconds,
            tasks=results,
        )
    together = tuple(dict.fromkeys((*found.conditions.notes, *notes)))
    return found.model_copy(
        update={
            "tasks": results,
            "conditions": found.conditions.model_copy(update={"notes": together}),
            "seconds": found.seconds + seconds,
            "load_seconds": found.load_seconds + load_seconds,
        }
    )
