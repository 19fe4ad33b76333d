"""Who stands in the charts: each compared model with its name, ink and marker, and the words that its hovers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.results import Fidelity, NoiseFloor, TextFidelity
from core.measure.task_results import TaskResult
from core.value import Estimate, Range
from ui.pages.benchmark_row import BenchmarkRow, series_of
from ui.pages.run_words import part_of_name, significant
from ui.widgets.chart_drawing import ORIGINAL_SHAPE, Ink, Key, series_ink, series_shape

NO_DIVERGENCE = "Divergence from the original is not measured yet. Measure… scores all models on the same tokens."
NO_DIFFERENCE = "no measurable difference"


@dataclass(frozen=True, slots=True)
class Subject:
    """One model in the charts; `name` is what tells it from its original."""

    row: BenchmarkRow
    name: str
    series: int | None

    @property
    def ink(self) -> Ink:
        return series_ink(self.series)

    @property
    def shape(self) -> str:
        return series_shape(self.series)

    @property
    def key(self) -> Key:
        """Its entry in a legend."""
        return Key(self.name, self.ink, self.shape)


def subjects_of(rows: tuple[BenchmarkRow, ...]) -> tuple[Subject, ...]:
    """Every model, the original included."""
    original = next((row.name for row in rows if row.is_original), "")
    return tuple(
        Subject(row, "original" if row.is_original else part_of_name(row.name, original), series)
        for row, series in zip(rows, series_of(rows), strict=True)
    )


def measured_subjects(rows: tuple[BenchmarkRow, ...]) -> tuple[tuple[Subject, Fidelity], ...]:
    """Every compressed model whose divergence is known."""
    return tuple((one, one.row.fidelity) for one in subjects_of(rows) if one.row.fidelity is not None)


def noise_of(rows: tuple[BenchmarkRow, ...]) -> tuple[NoiseFloor, ...]:
    """The original against itself, over all texts; empty where it was not measured."""
    found = (row.evaluation.noise for row in rows if row.evaluation is not None and row.evaluation.noise)
    return next(found, ())


def text_of(row: BenchmarkRow, text: str) -> tuple[TextFidelity, Fidelity] | None:
    """A model's figures on one text."""
    for one in row.evaluation.texts if row.evaluation is not None else ():
        if one.text == text:
            fidelity = next((other for other in one.others if other.path == row.path), None)
            return None if fidelity is None else (one, fidelity)
    return None


def texts_of(rows: tuple[BenchmarkRow, ...]) -> tuple[str, ...]:
    """Names of all texts that were scored, in their order."""
    return tuple(dict.fromkeys(text.text for row in rows if row.evaluation for text in row.evaluation.texts))


def tasks_of(rows: tuple[BenchmarkRow, ...]) -> tuple[TaskResult, ...]:
    """Every task that was asked, once."""
    found: dict[str, TaskResult] = {}
    for row in rows:
        for task in row.evaluation.tasks if row.evaluation is not None else ():
            found.setdefault(task.name, task)
    return tuple(found.values())


def several_texts(rows: tuple[BenchmarkRow, ...]) -> bool:
    """Whether some models were scored on other tokens than others: their figures then do not compare exactly."""
    return len({row.evaluation.sha256 for row in rows if row.evaluation is not None and row.fidelity is not None}) > 1


def estimate_lines(
    value: Range, text: Callable[[float], str] = significant, kind: str = "95 % interval"
) -> tuple[str, ...]:
    """The value, and the interval around it where it has one."""
    if value.high <= value.low:
        return (text(value.value),)
    return (f"{text(value.value)}", f"{text(value.low)} to {text(value.high)} ({kind})")


def kl_hint(name: str, kl: Estimate, *, measurable: bool | None, more: tuple[str, ...] = ()) -> str:
    """A model's mean divergence as a hover tells it."""
    first, *rest = estimate_lines(kl)
    lines = [name, f"mean KL {first} nats per token", *rest, *more]
    if measurable is False:
        lines.append(NO_DIFFERENCE)
    return "\n".join(lines)


def interval_text(value: Range | None, text: Callable[[float], str] = significant) -> str:
    """Value with its interval in one cell: `0.0214 (0.0201–0.0227)`, `93.8 % (93.0–94.6)`, `-1.2 % (-3.2 to +0.8)`."""
    if value is None:
        return "–"
    if value.high <= value.low:
        return text(value.value)
    ends = [text(value.low), text(value.high)]
    if all(end.endswith(" %") for end in ends):
        ends = [end.removesuffix(" %") for end in ends]
    return f"{text(value.value)} ({(' to ' if value.low < 0 else '–').join(ends)})"


def dodge(index: int, count: int, step: float = 0.13) -> float:
    """How far the marks of one of several models stand from the middle of their row, so that none covers another."""
    step = min(step, 0.72 / max(1, count))
    return (index - (count - 1) / 2) * step


def original_key() -> Key:
    """The original's entry in a legend."""
    return Key("original", "original", ORIGINAL_SHAPE)


def noise_limit(noise: tuple[NoiseFloor, ...]) -> float | None:
    """Mean KL below which nothing can be told from the original, nats; None where it was not measured."""
    return max((one.kl_interval.at_most for one in noise), default=None)
