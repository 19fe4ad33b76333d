"""bitpress tasks, and what `bitpress evaluate --tasks` says about them before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from core.measure.task_results import TaskResult

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        help="Tasks of `bitpress tasks`, lm-evaluation-harness YAML files or folders of them, with commas or given "
        "often. They are asked as well as the texts; --text none leaves the texts out.",
    ),
]
Items = Annotated[
    int | None, typer.Option("--items", min=1, help="Ask the first N items of each task; left out, all of them.")
]


def list_tasks(
    *,
    tasks: Annotated[list[str] | None, typer.Argument(help="YAML files or folders to look at instead.")] = None,
    as_json: Json = False,
) -> int:
    """List the built-in tasks with their items, the accuracy of guessing, and what so many items can say."""
    output = Output(as_json)

    async def command(_: Engine) -> int:
        from core.measure.task_files import built_in_tasks, find_tasks
        from core.measure.task_statistics import power_sentence, smallest_margin

        for task in find_tasks(split_names(tasks)) if tasks else built_in_tasks():
            output.line(
                "task",
                name=task.name,
                title=task.title,
                kind=task.kind,
                metric=task.metric,
                items=task.items,
                chance=task.chance,
                chat_template=task.chat,
                sha256=task.sha256,
                version=task.version,
                built_in=task.built_in,
                smallest_margin=smallest_margin(task.items),
            )
            output.say(
                f"{task.name:<24} {task.kind:<16} {task.metric:<12} {task.items:>6,} items, chance "
                f"{100 * task.chance:.0f} %, sha256 {task.sha256[:12]}"
            )
            output.say(f"  {power_sentence(task.items)}")
        return DONE

    return serve(output, command)


def split_names(given: Sequence[str] | None) -> tuple[str, ...]:
    """Names and paths as typed, with commas or given often; a path becomes absolute, and may hold a comma itself."""
    names: list[str] = []
    for text in given or ():
        parts = [text] if Path(text).expanduser().exists() else text.split(",")
        for part in (part.strip() for part in parts):
            path = Path(part).expanduser()
            if part:
                names.append(str(path.absolute()) if path.exists() else part)
    return tuple(dict.fromkeys(names))


def say_power(output: Output, names: Sequence[str], items: int | None) -> None:
    """What the tasks can say, before they are asked. Raises BitpressError for a task that cannot be asked."""
    from core.measure.task_files import find_tasks
    from core.measure.task_statistics import items_needed, power_sentence, smallest_margin

    for task in find_tasks(names):
        asked = min(task.items, items or task.items)
        output.say(f"{task.name}: {power_sentence(asked)}")
        output.line(
            "power",
            task=task.name,
            items=asked,
            flips=0.05,
            smallest_margin=smallest_margin(asked),
            items_for_one_point=items_needed(0.01),
        )


def tell_tasks(output: Output, result: dict[str, Any]) -> None:
    """Say every task's figures, and put each other's under its own `tasks`, as scripts read them."""
    found = [TaskResult.model_validate(task) for task in result["tasks"]]
    others: list[dict[str, Any]] = result["others"]
    for task in found:
        output.say(
            f"{task.name}: original {percent(task.accuracy.value)} of {task.items} right "
            f"({percent(task.accuracy.low)} to {percent(task.accuracy.high)}, guessing gives {percent(task.chance)})"
        )
        for other in task.others:
            entry = next((one for one in others if one["path"] == other.path), None)
            if entry is None:
                entry = {"path": other.path, "name": other.name}
                others.append(entry)
            entry.setdefault("tasks", {})[task.name] = {
                **other.model_dump(mode="json", exclude={"path", "name"}),
                "items": task.items,
                "metric": task.metric,
                "original_accuracy": task.accuracy.model_dump(mode="json"),
                "smallest_margin": task.smallest_margin,
            }
            difference = other.difference
            output.say(
                f"  {other.name}: {percent(other.accuracy.value)} right, {100 * difference.value:+.1f} points "
                f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f}); {other.lost} lost, {other.gained} "
                f"gained, {other.changed} answers changed; McNemar p {other.p_adjusted:.3g} (Holm)"
                + (f"; recovery {percent(other.recovery)}" if other.recovery is not None else "")
            )
        output.say(f"  A loss of {100 * task.smallest_margin:.1f} points or more could be ruled out at these flips.")


def percent(share: float) -> str:
    """A share from 0 to 1 as a person reads it."""
    return f"{100 * share:.1f} %"
