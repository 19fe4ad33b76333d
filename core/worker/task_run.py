"""Lets one model answer tasks through lm-evaluation-harness, without the network and without anybody's code."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.durable import write_whole
from core.errors import BitpressError
from core.jobs.protocol import RunTasks, Stage
from core.measure.results import Conditions
from core.measure.task_answers import Answered, AskedTask, ModelAnswers
from core.measure.task_templates import sandbox
from core.value import Json
from core.worker import loading
from core.worker.keeper import Keeper, keeping
from core.worker.kept_answers import Found, KeptAnswers
from core.worker.loading import Loaded
from core.worker.reference_answers import fingerprint
from core.worker.reporter import Reporter

LOAD = Stage(id="load", title="Load the model", unit="")

RESUMED_NOTE = "{name}: an earlier try was interrupted, and this one went on {where}; its seconds are of the last try."

KEPT_VERSION = 1
"""Raised when the meaning of kept answers changes."""


def run(command: RunTasks, report: Reporter) -> Json:
    """The ModelAnswers as JSON; the answers themselves go to `command.output`.

    Raises BitpressError `task-failed`, `not-a-number`, `context-too-short` and what loading raises.
    """
    with keeping(command.keeping) as keeper:
        return _run(command, report, keeper)


def _run(command: RunTasks, report: Reporter, keeper: Keeper) -> Json:
    began = time.perf_counter()
    output = Path(command.output)
    output.mkdir(parents=True, exist_ok=True)
    stages = {task.name: Stage(id=f"task-{task.name}", title=f"Ask {task.name}", unit="item") for task in command.tasks}
    going = {task.name: _going(command, task, keeper) for task in command.tasks}
    cached = {task.name: _read_kept(command, task) for task in command.tasks}
    kept = {name: found or going[name].whole for name, found in cached.items()}
    missing = [task for task in command.tasks if kept[task.name] is None]
    report.plan((*((LOAD,) if missing else ()), *stages.values()))
    loaded: Loaded | None = None
    if missing:
        with report.stage(LOAD.id):
            loaded = loading.load(command.model, command.device, plain=True)
    load_seconds = loaded.seconds if loaded else 0.0
    right: dict[str, int] = {}
    notes: list[str] = []
    conditions: Conditions | None = None
    for task in command.tasks:
        with report.stage(stages[task.name].id):
            found = kept[task.name]
            if found is None:
                assert loaded is not None  # noqa: S101
                found = _ask(command, task, loaded, report, going[task.name])
                _keep(command, task, found)
                going[task.name].finish(found)
                keeper.resumed = keeper.resumed or (f"inside {task.name}" if going[task.name].used else "")
            answers, conditions = found
            report.progress(stages[task.name].id, len(answers), len(answers))
        right[task.name] = sum(one.right for one in answers)
        notes += [note for note in conditions.notes if note not in notes]
        text = "".join(one.model_dump_json() + "\n" for one in answers)
        (output / f"{task.name}.jsonl").write_text(text, encoding="utf-8")
    if conditions is None:
        raise BitpressError("nothing-to-ask", "No task is named.", "Name at least one.")
    if keeper.resumed:
        notes.append(RESUMED_NOTE.format(name=Path(command.model).name, where=keeper.resumed))
    result = ModelAnswers(
        model=command.model,
        right=right,
        reused=tuple(task.name for task in command.tasks if cached[task.name] is not None),
        conditions=conditions.model_copy(update={"notes": tuple(notes)}),
        seconds=time.perf_counter() - began - load_seconds,
        load_seconds=load_seconds,
    )
    return result.model_dump(mode="json")


def _going(command: RunTasks, task: AskedTask, keeper: Keeper) -> KeptAnswers:
    """What an earlier try has left of the task."""
    name = Path(command.model).name

    def stands(done: int, total: int) -> None:
        keeper.stands(f"at request {min(done + 1, total)} of {total} of {task.name} by {name}")

    pieces = keeper.pieces(["tasks", *_facts(command, task)]) if keeper.wanted is not None else None
    found = KeptAnswers(pieces, stands)
    if found.whole is not None and len(found.whole[0]) == _asked(command, task):
        keeper.took_up(f"after {task.name}")
    else:
        found.whole = None
    return found


def _ask(command: RunTasks, task: AskedTask, loaded: Loaded, report: Reporter, kept: KeptAnswers) -> Found:
    """One task's answers, and how they were got."""
    # Imported here: it takes seconds, which kept answers do not need.
    import lm_eval.utils
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    from core.worker.foreign_bars import bars_heard
    from core.worker.task_model import TaskModel, checked_layers, greedy

    lm_eval.utils.env = sandbox()
    items, stage = _asked(command, task), f"task-{task.name}"
    chat = task.chat and getattr(loaded.tokenizer, "chat_template", None) is not None

    def stepped(_name: str, _done: int, _total: int | None) -> None:
        report.check()

    kept.begin(loaded.conditions)
    _seed(command.seed)
    try:
        with bars_heard(stepped), checked_layers(loaded.model, report.check), greedy(loaded):
            manager = TaskManager(include_path=command.folder, include_defaults=False)
            asked = manager.load([task.name])
            for one in asked["tasks"].values():
                one.set_fewshot_seed(seed=command.seed)
            model = TaskModel(loaded, kept, lambda done, total: report.progress(stage, items * done / total, items))
            # `evaluate` and not `simple_evaluate`: that one describes the machine too, with pip, git and the hub.
            found = evaluate(
                lm=model,
                task_dict=asked,
                limit=items,
                bootstrap_iters=0,
                log_samples=True,
                apply_chat_template=chat,
            )
    except BitpressError:
        raise
    except Exception as error:
        raise BitpressError(
            "task-failed",
            f"lm-evaluation-harness could not run {task.name}: {type(error).__name__}: {str(error)[:300]}",
            "Look at the details; the task's templates and items may not fit together.",
        ) from error
    if model.truncated:
        report.warn(
            "task-truncated",
            f"{task.name}: {model.truncated} requests are longer than the context; their beginning was cut off.",
        )
    samples = sorted(
        (one for one in found["samples"][task.name] if one["filter"] == task.filtered), key=lambda one: one["doc_id"]
    )
    definition = asked["tasks"][task.name]
    return tuple(_answered(task, definition, one) for one in samples), _conditions(loaded, task, chat)


def _answered(task: AskedTask, definition: Any, sample: dict[str, Any]) -> Answered:
    return Answered(
        doc_id=int(sample["doc_id"]),
        doc_hash=str(sample["doc_hash"]),
        answer=_answer(task, definition, sample),
        right=float(sample[task.metric]) == 1.0,
        target=str(sample["target"]),
    )


def _answer(task: AskedTask, definition: Any, sample: dict[str, Any]) -> str:
    """What was written, or the likeliest choice by the task's metric: the first of equals, as in lm-eval."""
    if task.kind != "multiple_choice":
        return str(sample["filtered_resps"][0])
    choices = definition.doc_to_choice(sample["doc"])
    scores = [float(likelihood) for likelihood, _ in sample["filtered_resps"]]
    if not all(math.isfinite(score) for score in scores):
        raise BitpressError(
            "not-a-number",
            f"The model's log-likelihoods for item {sample['doc_id']} of {task.name} are not all numbers.",
            "The model is broken: its weights hold values that are not numbers, or overflow. Prove it.",
        )
    if task.metric != "acc":
        lengths = [len(choice.encode() if task.metric == "acc_bytes" else choice) for choice in choices]
        scores = [score / length for score, length in zip(scores, lengths, strict=True)]
    return str(choices[scores.index(max(scores))])


def _conditions(loaded: Loaded, task: AskedTask, chat: bool) -> Conditions:
    how = "the likeliest of the choices" if task.kind == "multiple_choice" else "greedy decoding"
    how += ", in the model's chat template" if chat else ", without a chat template"
    note = f"{task.name}: lm-evaluation-harness {version('lm-eval')}, {how}, metric {task.metric}."
    return loaded.conditions.model_copy(update={"notes": (*loaded.conditions.notes, note)})


def _seed(seed: int) -> None:
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _asked(command: RunTasks, task: AskedTask) -> int:
    """How many items the model is asked."""
    return min(task.items, command.items or task.items)


def _kept_file(command: RunTasks, task: AskedTask) -> Path | None:
    """Where answers of this model to this task are kept: everything that can change one is in the name."""
    if command.cache is None:
        return None
    return Path(command.cache) / f"tasks-{hashlib.sha256(json.dumps(_facts(command, task)).encode()).hexdigest()}.json"


def _facts(command: RunTasks, task: AskedTask) -> Sequence[Json]:
    """Everything that can change an answer of this model to this task."""
    import torch

    device = loading.pick_device(command.device)
    return (
        KEPT_VERSION,
        fingerprint(command.model),
        _tokenizer_digest(Path(command.model)),
        task.model_dump(mode="json"),
        _asked(command, task),
        command.seed,
        [version(name) for name in ("lm-eval", "transformers", "torch", "compressed-tensors")],
        loading.device_name(device),
        torch.get_num_threads() if device.type == "cpu" else 0,
    )


def _tokenizer_digest(folder: Path) -> str:
    found = hashlib.sha256()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        if (folder / name).is_file():
            found.update(name.encode() + (folder / name).read_bytes())
    return found.hexdigest()


def _read_kept(command: RunTasks, task: AskedTask) -> Found | None:
    """Kept answers, or None where there are none or they cannot be read."""
    path = _kept_file(command, task)
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path else None
        if kept is None:
            return None
        answers = tuple(Answered.model_validate(one) for one in kept["answers"])
        conditions = Conditions.model_validate(kept["conditions"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (answers, conditions) if len(answers) == _asked(command, task) else None


def _keep(command: RunTasks, task: AskedTask, found: Found) -> None:
    """Beside and renamed, so that a kept file is a whole one."""
    path = _kept_file(command, task)
    if path is None:
        return
    answers, conditions = found
    kept = {
        "answers": [one.model_dump(mode="json") for one in answers],
        "conditions": conditions.model_dump(mode="json"),
    }
    write_whole(path, json.dumps(kept).encode())
