"""Measurements as the cells of a table and as sentences, without Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.measure.judgement import Outcome
from core.measure.results import BenchCase, Conditions
from core.value import Range
from ui.humanize import UNKNOWN, bytes_text, duration_text, number_text
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.run_words import significant
from ui.tone import Tone

NOT_MEASURED = "Not measured. Measure… fills it."
INTERVAL = "95 % interval"
SPREAD = "smallest and largest of the repeats"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as text, and what the mouse is told about it."""

    text: str
    hint: str = ""
    measured: bool = True
    tone: Tone | None = None
    """Drawn as a tag of this meaning."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its head, what it means, and its cell for a row."""

    title: str
    hint: str
    cell: Callable[[BenchmarkRow], Cell]


MISSING = Cell(UNKNOWN, NOT_MEASURED, measured=False)


def table_columns(
    rows: tuple[BenchmarkRow, ...], outcomes: Mapping[str, Outcome] | None = None, gate: str = ""
) -> tuple[Column, ...]:
    """The columns after the model's name. `outcomes` are the gate's answers by path.

    Speed is shown at the smallest and at the largest batch; the section Speed has all of them.
    """
    batches = sorted({case.batch for row in rows if row.benchmark for case in row.benchmark.cases}) or [1]
    ends = batches if len(batches) < 3 else [batches[0], batches[-1]]
    tasks = any(recovered(row) is not None for row in rows)
    fixed = (
        Column("Size", "Weight files on disk", lambda row: Cell(bytes_text(row.bytes))),
        Column("KL mean", "Mean KL divergence from the original, nats per token", _kl_mean),
        Column("99.9 %", "KL divergence that 99.9 % of the tokens stay below, nats", _kl_tail),
        Column("Top-1", "Share of tokens whose most likely next token is the original's", _top1),
        Column("Ppl ratio", "Perplexity over the original's, on the same held-out tokens", _ratio),
        *(
            (Column("Tasks", "Task accuracy above chance over the original's, mean of all tasks", _tasks),)
            if tasks
            else ()
        ),
        Column("TTFT", "Time to first token, smallest batch", lambda row: _case_cell(row, None, _ttft)),
        Column("ITL", "Inter-token latency, smallest batch", lambda row: _case_cell(row, None, _itl)),
        *(_speed_column(batch, first=batch == ends[0]) for batch in ends),
    )
    if not outcomes:
        return fixed
    known = outcomes
    return (*fixed, Column("Gate", f"Whether the model passes the gate {gate}", lambda row: _gate(row, known)))


def _gate(row: BenchmarkRow, outcomes: Mapping[str, Outcome]) -> Cell:
    outcome = outcomes.get(row.path)
    if outcome is None:
        return Cell("", "The original is the reference" if row.is_original else NOT_MEASURED, measured=row.is_original)
    tones = {Outcome.PASS: Tone.DONE, Outcome.FAIL: Tone.FAILED, Outcome.INCONCLUSIVE: Tone.ATTENTION}
    return Cell(str(outcome), "The tab Gate shows every threshold", tone=tones[outcome])


def _tasks(row: BenchmarkRow) -> Cell:
    if row.is_original:
        return _reference(row, "100 %")
    found = recovered(row)
    if found is None:
        return MISSING
    return Cell(share_text(found[0]), f"accuracy above chance over the original's, mean of {found[1]} tasks")


def recovered(row: BenchmarkRow) -> tuple[float, int] | None:
    """Mean recovery above chance over the tasks of a row, and how many tasks there are."""
    found = [
        other.recovery
        for task in (row.evaluation.tasks if row.evaluation is not None else ())
        for other in task.others
        if other.path == row.path and other.recovery is not None
    ]
    return (sum(found) / len(found), len(found)) if found else None


def _speed_column(batch: int, *, first: bool) -> Column:
    return Column(
        f"Tok/s ×{batch}" if first else f"×{batch}",
        f"Output tokens per second at batch {batch}, prompt processing included",
        lambda row: _case_cell(row, batch, _speed),
    )


def _kl_mean(row: BenchmarkRow) -> Cell:
    if row.fidelity is None:
        return _reference(row, "0")
    kl, interval = row.fidelity.kl, row.fidelity.kl_interval
    words = interval_words(interval, significant, INTERVAL)
    if row.fidelity.measurable is False:
        words += "\nno measurable difference: it lies within the noise floor"
    return Cell(significant(kl.mean), words)


def _kl_tail(row: BenchmarkRow) -> Cell:
    if row.fidelity is None:
        return _reference(row, "0")
    kl = row.fidelity.kl
    return Cell(
        significant(kl.p999), f"median {significant(kl.median)}, 99 % {significant(kl.p99)}, most {significant(kl.max)}"
    )


def _top1(row: BenchmarkRow) -> Cell:
    if row.fidelity is None:
        return _reference(row, "100 %")
    same = row.fidelity.same_top1
    return Cell(share_text(same.value), interval_words(same, share_text, INTERVAL))


def _ratio(row: BenchmarkRow) -> Cell:
    if row.fidelity is None:
        return _reference(row, "1.000")
    ratio = row.fidelity.perplexity_ratio
    words = interval_words(ratio, ratio_text, INTERVAL)
    return Cell(ratio_text(ratio.value), f"{words}\nperplexity {row.fidelity.perplexity:.2f}")


def _reference(row: BenchmarkRow, text: str) -> Cell:
    if row.is_original and row.perplexity is not None:
        return Cell(text, "The original is the reference")
    return MISSING


def _case_cell(row: BenchmarkRow, batch: int | None, cell: Callable[[BenchCase], Cell]) -> Cell:
    case = case_of(row, batch)
    return MISSING if case is None else cell(case)


def case_of(row: BenchmarkRow, batch: int | None) -> BenchCase | None:
    """The measurement at a batch size, or at the smallest one for None."""
    cases = row.benchmark.cases if row.benchmark is not None else ()
    if batch is None:
        return min(cases, key=lambda case: case.batch, default=None)
    return next((case for case in cases if case.batch == batch), None)


def _ttft(case: BenchCase) -> Cell:
    return Cell(milliseconds_text(case.ttft_ms.value), _spread(case, case.ttft_ms, milliseconds_text))


def _itl(case: BenchCase) -> Cell:
    return Cell(milliseconds_text(case.itl_ms.value), _spread(case, case.itl_ms, milliseconds_text))


def _speed(case: BenchCase) -> Cell:
    return Cell(speed_text(case.tokens_per_second.value), _spread(case, case.tokens_per_second, speed_text))


def _spread(case: BenchCase, value: Range, text: Callable[[float], str]) -> str:
    words = f"batch {case.batch}, {case.prompt_tokens} tokens in, {case.output_tokens} out"
    return f"{interval_words(value, text, f'of {case.repeats} repeats')}\n{words}"


def interval_words(value: Range, text: Callable[[float], str], kind: str) -> str:
    """0.019 to 0.023 (95 % interval)."""
    return f"{text(value.low)} to {text(value.high)} ({kind})"


def milliseconds_text(value: float) -> str:
    """108 ms, 8.4 ms, 2.31 s: three digits."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def seconds_text(value: float) -> str:
    """1.5 s, 12 s, 2 min 5 s."""
    return f"{value:.1f} s" if value < 10 else duration_text(value)


def speed_text(value: float) -> str:
    """Tokens per second with three digits."""
    return number_text(value) if value >= 100 else f"{value:.1f}"


def share_text(value: float) -> str:
    """A share of one with one decimal."""
    return f"{value * 100:.1f} %"


def ratio_text(value: float) -> str:
    """A ratio with three decimals."""
    return f"{value:.3f}"


def conditions_lines(rows: tuple[BenchmarkRow, ...]) -> tuple[str, ...]:
    """How the figures were measured: speed, quality, then every sentence that must stand beside them.

    Rows measured in the same way share a line; where they differ, each line names its models.
    """
    speeds = [(row.name, _speed_conditions(row)) for row in rows if row.benchmark is not None]
    qualities = [(row.name, _quality_conditions(row)) for row in rows if row.evaluation_conditions is not None]
    notes: dict[str, None] = {}
    for row in rows:
        for conditions in (row.benchmark.conditions if row.benchmark else None, row.evaluation_conditions):
            if conditions is not None:
                notes.update(dict.fromkeys(conditions.notes))
    return (*_grouped("Speed and memory", speeds), *_grouped("Quality", qualities), *notes)


def _grouped(title: str, entries: list[tuple[str, str]]) -> tuple[str, ...]:
    kinds = dict.fromkeys(words for _, words in entries)
    if len(kinds) <= 1:
        return tuple(f"{title}: {words}." for words in kinds)
    return tuple(
        f"{title} of {', '.join(name for name, found in entries if found == words)}: {words}." for words in kinds
    )


def _speed_conditions(row: BenchmarkRow) -> str:
    if row.benchmark is None:
        return ""
    cases = row.benchmark.cases
    parts = [engine_words(row.benchmark.conditions)]
    if cases:
        lengths = dict.fromkeys(f"{case.prompt_tokens} tokens in, {case.output_tokens} out" for case in cases)
        repeats = sorted({case.repeats for case in cases})
        parts.extend((" or ".join(lengths), f"median of {' or '.join(map(str, repeats))}"))
    return " · ".join(parts)


def _quality_conditions(row: BenchmarkRow) -> str:
    if row.evaluation_conditions is None:
        return ""
    parts = [engine_words(row.evaluation_conditions)]
    if row.evaluation_tokens is not None:
        words = f"{number_text(row.evaluation_tokens)} tokens"
        if row.evaluation_texts:
            words += f" of {' and '.join(row.evaluation_texts)}"
        if row.evaluation_documents is not None:
            words += f" in {number_text(row.evaluation_documents)} documents"
        parts.append(words)
    if row.evaluation_window is not None:
        parts.append(f"window {row.evaluation_window}")
    parts.append(f"{INTERVAL}s over documents")
    return " · ".join(parts)


def engine_words(conditions: Conditions) -> str:
    """transformers 5.17 · cpu, 2 threads · bfloat16."""
    device = f"{conditions.device}, {conditions.threads} threads" if conditions.threads else conditions.device
    engine = f"{conditions.engine} {conditions.engine_version}".strip()
    return " · ".join(part for part in (engine, device, conditions.dtype) if part)
