"""A sweep as the cells of a table and as sentences, without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.value import Range
from ui.humanize import UNKNOWN, bytes_text, duration_text, memory_text, percent_text
from ui.pages.run_words import significant
from ui.tone import Tone

RECOMMENDED = "recommended"
KNEE = "knee"
_GATES = {
    "pass": ("passes", Tone.DONE),
    "fail": ("fails", Tone.FAILED),
    "inconclusive": ("cannot tell", Tone.ATTENTION),
}
_LEVELS = {
    "near-lossless": Tone.DONE,
    "production": Tone.DONE,
    "aggressive": Tone.ATTENTION,
    "inconclusive": Tone.ATTENTION,
    "damaged": Tone.FAILED,
}
_NOT_MEASURED = "Not measured"


@dataclass(frozen=True, slots=True)
class SweepCell:
    """A figure as text, what the mouse is told about it, and its tone where it is a tag."""

    text: str
    hint: str = ""
    tone: Tone | None = None


@dataclass(frozen=True, slots=True)
class SweepColumn:
    """A column: its head, what it means, and its cell for a row."""

    title: str
    hint: str
    cell: Callable[[SweepRow, SweepResult], SweepCell]
    left: bool = False


MISSING = SweepCell(UNKNOWN, _NOT_MEASURED)


def sweep_columns(result: SweepResult) -> tuple[SweepColumn, ...]:
    """The columns after the method's name; tasks and speed only where some row has them."""
    tasks = sorted({name for row in result.rows for name in row.tasks})
    gate = result.gate_title or "the gate"
    columns = [
        SweepColumn("State", "How far this row is", lambda row, _: state_cell(row), left=True),
        SweepColumn("Gate", f"Whether it passes {gate}", _gate, left=True),
        SweepColumn("Level", "The closest of the built-in gates that it passes", _level, left=True),
        SweepColumn("Size", "Weight files on disk, and their share of the original's", _size),
        SweepColumn("KL mean", "Mean KL divergence from the original, nats per token", _kl),
        SweepColumn("99 %", "KL divergence that 99 % of the tokens stay below, nats", _kl99),
        SweepColumn("Ratio", "Perplexity over the original's", _ratio),
        SweepColumn("Top-1", "Share of tokens whose most likely next token is the original's", _top1),
        *(_task_column(name) for name in tasks),
    ]
    if any(row.tokens_per_second for row in result.rows):
        columns.append(SweepColumn("Tokens/s", "Measured, at the smallest batch", _speed))
    if any(row.expected_speed for row in result.rows):
        columns.append(SweepColumn("Expected", "Speed over the original's in a serving engine, by others", _expected))
    columns += [
        SweepColumn("Memory", "Expected memory to serve it: weights and 8,192 tokens of cache", _memory),
        SweepColumn("Made in", "Time to press and prove", _made),
    ]
    return tuple(columns)


def heading(result: SweepResult) -> str:
    """Sweep 3: SmolLM2-135M-Instruct."""
    return f"Sweep {result.id}: {result.original_name or result.original}"


def progress_words(result: SweepResult) -> str:
    """4 of 6 measured, 1 failed."""
    states = [row.state for row in result.rows]
    measured, failed = states.count(RowState.MEASURED), states.count(RowState.FAILED)
    pressed = states.count(RowState.COMPRESSED)
    parts = [f"{measured} of {len(states)} measured"]
    if pressed:
        parts.append(f"{pressed} pressed")
    if failed:
        parts.append(f"{failed} failed")
    return ", ".join(parts)


def state_tag(result: SweepResult, *, running: bool) -> tuple[str, Tone]:
    """The whole sweep's tag."""
    if running:
        return "running", Tone.ACCENT
    return ("finished", Tone.DONE) if result.finished else ("stopped", Tone.ATTENTION)


def state_cell(row: SweepRow) -> SweepCell:
    """A row's state as a tag."""
    match row.state:
        case RowState.MEASURED:
            return SweepCell("measured", tone=Tone.DONE)
        case RowState.COMPRESSED:
            return SweepCell("pressed", "Pressed and proved; its divergence is measured at the end", Tone.ACCENT)
        case RowState.FAILED:
            return SweepCell("failed", row.problem.message if row.problem else "", Tone.FAILED)
        case _ if row.run is not None:
            return SweepCell("running", f"Run {row.run}", Tone.ACCENT)
        case _:
            return SweepCell("waiting", tone=Tone.NEUTRAL)


def row_sentences(row: SweepRow) -> tuple[str, ...]:
    """What there is to read about one row."""
    if row.state is RowState.FAILED and row.problem is not None:
        return (f"{row.problem.message} {row.problem.hint}".strip(), *row.notes)
    return tuple(sentence for sentence in (row.gate_sentence, row.expected_speed_source, *row.notes) if sentence)


def marks(row: SweepRow, result: SweepResult) -> tuple[tuple[str, Tone], ...]:
    """Tags behind a row's name."""
    found = []
    if result.recommendation is not None and result.recommendation.key == row.key:
        found.append((RECOMMENDED, Tone.DONE))
    if result.knee == row.key:
        found.append((KNEE, Tone.NEUTRAL))
    return tuple(found)


def _size(row: SweepRow, result: SweepResult) -> SweepCell:
    if row.bytes is None:
        return MISSING
    share = percent_text(row.bytes / result.original_bytes) if result.original_bytes else ""
    return SweepCell(f"{bytes_text(row.bytes)} ({share})" if share else bytes_text(row.bytes))


def _kl(row: SweepRow, _: SweepResult) -> SweepCell:
    if row.fidelity is None:
        return MISSING
    found = row.fidelity.kl_interval
    return SweepCell(significant(found.value), f"{significant(found.low)} to {significant(found.high)} (95 % interval)")


def _kl99(row: SweepRow, _: SweepResult) -> SweepCell:
    if row.fidelity is None:
        return MISSING
    kl = row.fidelity.kl
    return SweepCell(significant(kl.p99), f"median {significant(kl.median)}, most {significant(kl.max)}")


def _ratio(row: SweepRow, _: SweepResult) -> SweepCell:
    return MISSING if row.fidelity is None else _with_interval(row.fidelity.perplexity_ratio, lambda one: f"{one:.3f}")


def _top1(row: SweepRow, _: SweepResult) -> SweepCell:
    return MISSING if row.fidelity is None else _with_interval(row.fidelity.same_top1, lambda one: f"{one * 100:.1f} %")


def _task_column(name: str) -> SweepColumn:
    def cell(row: SweepRow, _: SweepResult) -> SweepCell:
        found = row.tasks.get(name)
        if found is None:
            return MISSING
        flips = f"{found.lost} answers lost, {found.gained} gained, p = {found.p_adjusted:.2g}"
        return SweepCell(f"{found.accuracy.value * 100:.1f} %", flips)

    return SweepColumn(name, f"Accuracy in {name}", cell)


def _memory(row: SweepRow, _: SweepResult) -> SweepCell:
    return MISSING if row.device_bytes is None else SweepCell(memory_text(row.device_bytes))


def _speed(row: SweepRow, result: SweepResult) -> SweepCell:
    if row.tokens_per_second is None or row.speed is None:
        return MISSING
    conditions = row.speed.conditions
    beside = result.original_speed.cases if result.original_speed else ()
    batch = min((case.batch for case in row.speed.cases), default=None)
    same = next((case for case in beside if case.batch == batch), None)
    hint = f"{conditions.engine} on {conditions.device}, batch {batch}"
    if same is not None:
        hint += f"; the original {same.tokens_per_second.value:.1f}"
    return SweepCell(f"{row.tokens_per_second.value:.1f}", "\n".join((hint, *conditions.notes)))


def _expected(row: SweepRow, _: SweepResult) -> SweepCell:
    if row.expected_speed is None:
        return SweepCell(UNKNOWN, "Nobody has published a figure for it")
    return SweepCell(f"{row.expected_speed:.2f} ×", row.expected_speed_source)


def _made(row: SweepRow, _: SweepResult) -> SweepCell:
    if row.seconds is None:
        return MISSING
    return SweepCell(duration_text(row.seconds), f"Peak memory {memory_text(row.peak_bytes)}" if row.peak_bytes else "")


def _level(row: SweepRow, _: SweepResult) -> SweepCell:
    return SweepCell(row.level, row.sentence, _LEVELS.get(row.level)) if row.level else MISSING


def _gate(row: SweepRow, _: SweepResult) -> SweepCell:
    if row.gate not in _GATES:
        return MISSING
    word, tone = _GATES[row.gate]
    return SweepCell(word, row.gate_sentence, tone)


def _with_interval(value: Range, text: Callable[[float], str]) -> SweepCell:
    return SweepCell(text(value.value), f"{text(value.low)} to {text(value.high)} (95 % interval)")
