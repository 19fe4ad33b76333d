"""The gate's verdict over the page's models: a headline, and every threshold of every model as a table."""

from __future__ import annotations

from core.measure.evidence import evidence_of
from core.measure.figures import FIGURES, written, written_limit
from core.measure.gates import Gate
from core.measure.judgement import GateRow, GateVerdict, Outcome, judge
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import Subject, subjects_of
from ui.tone import Tone
from ui.widgets.chart_drawing import Figures

TONES = {Outcome.PASS: Tone.DONE, Outcome.FAIL: Tone.FAILED, Outcome.INCONCLUSIVE: Tone.ATTENTION}
Judged = tuple[tuple[Subject, GateVerdict], ...]


def judged_rows(rows: tuple[BenchmarkRow, ...], gate: Gate) -> Judged:
    """Every compressed model whose divergence was measured, with the gate's answer."""
    original = next((row for row in rows if row.is_original), None)
    found = []
    for one in subjects_of(rows):
        row = one.row
        if row.is_original or row.fidelity is None:
            continue
        evidence = evidence_of(
            row.path,
            one.name,
            row.evaluation,
            bytes=row.bytes,
            original_bytes=original.bytes if original else None,
            speed=row.benchmark,
            original_speed=original.benchmark if original else None,
        )
        found.append((one, judge(gate, evidence)))
    return tuple(found)


def headline(judged: Judged) -> tuple[Tone, str, str]:
    """Tone, sentence and the rest: the smallest model that passes, or why none does."""
    if not judged:
        return Tone.NEUTRAL, "", ""
    passed = [(one, verdict) for one, verdict in judged if verdict.outcome is Outcome.PASS]
    gate = judged[0][1].title.lower()
    if passed:
        one, verdict = min(passed, key=lambda pair: pair[0].row.bytes)
        alone = "the only one that does" if len(passed) == 1 else "the smallest that does"
        reason = verdict.sentence.removeprefix(f"{verdict.title}: passed, ")
        return Tone.DONE, f"{one.name} passes {gate} and is {alone}.", _sentence(f"{reason} {_open(judged)}")
    unsure = [pair for pair in judged if pair[1].outcome is Outcome.INCONCLUSIVE]
    if unsure:
        one, verdict = min(unsure, key=lambda pair: _kl(pair[0]))
        words = verdict.sentence.removeprefix(f"{verdict.title}: cannot be told yet. ")
        return Tone.ATTENTION, f"Whether {one.name} passes {gate} cannot be told yet.", words
    one, verdict = min(judged, key=lambda pair: _kl(pair[0]))
    words = verdict.sentence.removeprefix(f"{verdict.title}: not passed. ")
    return Tone.FAILED, f"No model passes {gate}; {one.name} is the closest.", words


def gate_table(judged: Judged) -> Figures:
    """A line for each model and threshold: what was found, what is asked, and the answer."""
    lines = []
    for one, verdict in judged:
        lines.append((one.name, f"all of {verdict.title.lower()}", str(verdict.outcome), "", "", ""))
        lines += [("", row.title, _answer(row), _value(row), _bound(row), _limit(row)) for row in verdict.rows]
    return Figures(("Model", "Threshold", "Answer", "Found", "95 % sure", "Limit"), tuple(lines))


def _open(judged: Judged) -> str:
    names = [one.name for one, verdict in judged if verdict.outcome is Outcome.INCONCLUSIVE]
    if not names:
        return ""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} inconclusive: more text would tell."


def _kl(one: Subject) -> float:
    return one.row.fidelity.kl_interval.value if one.row.fidelity is not None else float("inf")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].strip()


def _value(row: GateRow) -> str:
    return "not measured" if row.value is None else _written(row, row.value)


def _bound(row: GateRow) -> str:
    if row.bound is None:
        return "–"
    return f"{'≤' if row.at_most else '≥'} {_written(row, row.bound)}"


def _limit(row: GateRow) -> str:
    return f"{'≤' if row.at_most else '≥'} {written_limit(FIGURES[row.figure].form, row.limit)}"


def _answer(row: GateRow) -> str:
    if row.guard and row.outcome is Outcome.INCONCLUSIVE:
        return "not asked" if row.value is None else "not ruled out"
    return str(row.outcome)


def _written(row: GateRow, value: float) -> str:
    return written(FIGURES[row.figure].form, value).removesuffix(" nats per token")
