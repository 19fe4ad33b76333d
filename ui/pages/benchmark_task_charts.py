"""Tasks as charts: accuracy with its interval beside the chance of guessing, and the answers that flipped."""

from __future__ import annotations

from core.measure.task_results import TaskOther, TaskResult
from core.value import Estimate, Range
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import Subject, dodge, estimate_lines, interval_text, subjects_of, tasks_of
from ui.pages.benchmark_words import share_text
from ui.widgets.chart_drawing import (
    Axis,
    Block,
    Dot,
    Drawing,
    Figures,
    Key,
    Mark,
    Rule,
    Stroke,
    Words,
    nothing,
)

NO_TASKS = "No tasks were asked yet. Choose some under Measure…; they run offline, on this machine."


def task_answers(rows: tuple[BenchmarkRow, ...], task: str) -> tuple[tuple[Subject, TaskResult, TaskOther], ...]:
    """What each compressed model answered to one task, with the original's answers beside which it stands."""
    found = []
    for one in subjects_of(rows):
        evaluation = one.row.evaluation
        result = next((each for each in evaluation.tasks if each.name == task), None) if evaluation else None
        other = next((each for each in result.others if each.path == one.row.path), None) if result else None
        if result is not None and other is not None:
            found.append((one, result, other))
    return tuple(found)


def accuracy_drawing(rows: tuple[BenchmarkRow, ...]) -> Drawing:
    """A row a task: the original and the others as dots with intervals, and a stroke at chance."""
    title = "Accuracy by task"
    tasks = tasks_of(rows)
    if not tasks:
        return nothing(title, NO_TASKS)
    subjects = subjects_of(rows)
    marks: list[Mark] = []
    lines: list[tuple[str, ...]] = []
    ends = [task.chance for task in tasks if task.chance > 0]
    for line, task in enumerate(tasks):
        dots: list[tuple[Subject, Estimate, str]] = [
            (one, task.accuracy, "the original") for one in subjects if one.row.is_original
        ]
        dots += [(one, other.accuracy, "") for one, _, other in task_answers(rows, task.name)]
        for one, accuracy, _ in dots:
            index = subjects.index(one)
            ends += [accuracy.low, accuracy.high]
            hint = "\n".join((f"{one.name} on {task.title}", *estimate_lines(accuracy, share_text), _asked(task)))
            place = line + dodge(index, len(subjects))
            marks.append(
                Dot(accuracy.value, place, one.ink, one.shape, hint, x_interval=(accuracy.low, accuracy.high), size=9)
            )
            lines.append((task.title, one.name, interval_text(accuracy, share_text), share_text(task.chance)))
        if task.chance > 0:
            marks.append(Stroke((task.chance, line - 0.42), (task.chance, line + 0.42), "quiet", "dash"))
            marks.append(Words(task.chance, line - 0.36, "chance ", to_left=True))
    room = (max(ends) - min(ends)) * 0.05 or 0.05
    return Drawing(
        title,
        Axis("right answers", max(0.0, min(ends) - 2 * room), min(1.0, max(ends) + room), text=_percent),
        Axis("", 0, 1, names=tuple(task.title for task in tasks)),
        tuple(marks),
        keys=(*(one.key for one in subjects), Key("chance", "quiet", "dash")),
        figures=Figures(("Task", "Model", "Accuracy (95 %)", "Chance"), tuple(lines)),
        note="right is better · bars: 95 % intervals of each by itself; differences are paired and much narrower",
    )


def flips_drawing(rows: tuple[BenchmarkRow, ...], name: str = "") -> Drawing:
    """Answers to one task (the first without a name): lost to the left, gained to the right.

    Equal accuracy can hide many changed answers.
    """
    title = "Answers that flipped"
    tasks = tasks_of(rows)
    task = next((task for task in tasks if task.name == name), tasks[0] if tasks else None)
    if task is None:
        return nothing(title, NO_TASKS)
    marks: list[Mark] = [Rule("x", 0.0, "quiet", dash="solid")]
    answers = task_answers(rows, task.name)
    for line, (one, _, other) in enumerate(answers):
        counts = f"{other.lost} lost, {other.gained} gained of {task.items}"
        hint = f"{one.name} on {task.title}\n{counts}\n{_test_words(other)}"
        band = (line - 0.3, line + 0.3)
        marks += [
            Block((-float(other.lost), 0.0), band, "series:5", hint, f"{other.lost} lost", "start"),
            Block((0.0, float(other.gained)), band, "series:0", hint, f"{other.gained} gained"),
        ]
    reach = max((max(other.lost, other.gained) for _, _, other in answers), default=1) * 1.45 or 1.0
    return Drawing(
        f"{title}: {task.title}",
        Axis("answers", -reach, reach, text=lambda value: f"{abs(value):g}"),
        Axis("", 0, 1, names=tuple(one.name for one, _, _ in answers)),
        tuple(marks),
        keys=(Key("lost: the original had it right", "series:5", "s"), Key("gained", "series:0", "s")),
        figures=task_table(rows),
        note="as many to the left as to the right may be chance; mostly left is damage",
    )


def task_table(rows: tuple[BenchmarkRow, ...]) -> Figures:
    """Every task and model with the paired test and what is recovered above chance."""
    found = []
    for task in tasks_of(rows):
        for one, _, other in task_answers(rows, task.name):
            recovery = "–"
            if other.recovery is not None:
                low, high = other.recovery_low, other.recovery_high
                known = low is not None and high is not None
                recovery = interval_text(
                    Range(
                        value=other.recovery,
                        low=low if known and low is not None else other.recovery,
                        high=high if known and high is not None else other.recovery,
                    ),
                    share_text,
                )
            found.append(
                (
                    task.name,
                    one.name,
                    share_text(other.accuracy.value),
                    interval_text(other.difference, _points),
                    str(other.lost),
                    str(other.gained),
                    f"{other.p_adjusted:.2g}",
                    recovery,
                    f"{task.smallest_margin * 100:.1f} %",
                )
            )
    return Figures(
        (
            "Task",
            "Model",
            "Accuracy",
            "Difference (95 %)",
            "Lost",
            "Gained",
            "p",
            "Recovered (95 %)",
            "Sees",
        ),
        tuple(found),
    )


def task_sentences(rows: tuple[BenchmarkRow, ...]) -> tuple[str, ...]:
    """What the flips mean, in words: one sentence a task."""
    sentences = []
    for task in tasks_of(rows):
        answers = task_answers(rows, task.name)
        worse = [one.name for one, _, other in answers if other.p_adjusted < 0.05 and other.difference.value < 0]
        words = f"worse than the original: {', '.join(worse)}" if worse else "no model is shown to be worse"
        sentences.append(
            f"{task.title} ({task.items} items): {words}; losses under {task.smallest_margin * 100:.1f} % cannot be "
            "ruled out with this many items."
        )
    return tuple(sentences)


def _asked(task: TaskResult) -> str:
    chance = f", chance {share_text(task.chance)}" if task.chance > 0 else ""
    return f"{task.items} items, {task.metric}{chance}"


def _test_words(other: TaskOther) -> str:
    words = f"exact McNemar p = {other.p_value:.2g}, after Holm's correction {other.p_adjusted:.2g}"
    return words if other.recovery is None else f"{words}\n{share_text(other.recovery)} recovered above chance"


def _percent(value: float) -> str:
    return f"{value * 100:g} %"


def _points(value: float) -> str:
    return f"{value * 100:+.1f} %"
