"""Whether a model passes a gate, in words that somebody understands who knows none of the figures.

Each threshold is judged by one-sided 95 % bounds, because it asks one question of one side: it passes where even the
unfavourable bound keeps the limit, fails where even the favourable one misses it, and is inconclusive in between.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from core.measure.evidence import Evidence
from core.measure.figures import FIGURES, Form, Scope, written, written_limit
from core.measure.gates import EACH, Gate, Threshold
from core.value import Estimate, Received

MOST_TIMES = 100
"""Nobody measures more than this many times as much; beyond, the number says nothing."""


class Outcome(StrEnum):
    """What a gate says of a model, or of one of its thresholds."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class GateRow(Received):
    """One threshold judged. `value` is None where the figure was not measured."""

    figure: str
    title: str
    value: float | None
    bound: float | None
    """The one-sided 95 % bound on the limit's side; None for a figure without an interval."""
    limit: float
    at_most: bool
    outcome: Outcome
    guard: bool
    sentence: str
    times: float | None = None
    """About how many times as much (text, items) would tell; None where that is no question."""


class GateVerdict(Received):
    """A gate's answer for one model; `sentence` is for somebody who knows none of the figures."""

    gate: str
    title: str
    outcome: Outcome
    sentence: str
    rows: tuple[GateRow, ...]
    measurable: bool | None = None
    """False: no measurable difference from the original."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """One reading of a threshold: of all texts, of one, of one task."""

    title: str
    reading: Estimate | float


def threshold_words(threshold: Threshold) -> str:
    """`Mean KL divergence (code): at most 0.03`."""
    guard = ", where it is measured" if threshold.guard else ""
    return f"{threshold.title}: {_limit_words(threshold)}{guard}"


def judge(gate: Gate, evidence: Evidence) -> GateVerdict:
    """The gate's verdict: fail where a threshold fails, pass where all that are no guards pass, else inconclusive."""
    rows = tuple(_judged(threshold, evidence) for threshold in gate.thresholds)
    outcomes = {row.outcome for row in rows if not row.guard or row.outcome is Outcome.FAIL}
    if Outcome.FAIL in outcomes:
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else Outcome.PASS
    measurable = evidence.fidelity.measurable if evidence.fidelity else None
    return GateVerdict(
        gate=gate.name,
        title=gate.title,
        outcome=outcome,
        sentence=_gate_sentence(gate, outcome, rows, measurable),
        rows=rows,
        measurable=measurable,
    )


# One threshold ----------------------------------------------------------------------------------------------------


def _judged(threshold: Threshold, evidence: Evidence) -> GateRow:
    """The threshold over all that it is of; where that is several (texts, tasks), the worst of them speaks."""
    found = _measured(threshold, evidence)
    if not found:
        return GateRow(
            figure=threshold.figure,
            title=threshold.title,
            value=None,
            bound=None,
            limit=threshold.limit,
            at_most=threshold.at_most is not None,
            outcome=Outcome.INCONCLUSIVE,
            guard=threshold.guard,
            sentence=f"{threshold.title} was not measured. {_how_to_measure(threshold, evidence)}",
        )
    return min((_row(threshold, one) for one in found), key=lambda row: _badness(threshold, row))


def _badness(threshold: Threshold, row: GateRow) -> tuple[int, float]:
    order = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    value = row.value or 0.0
    return order.index(row.outcome), -value if threshold.at_most is not None else value


def _measured(threshold: Threshold, evidence: Evidence) -> list[_Measured]:
    figure = threshold.known
    readings: list[tuple[str, Estimate | float | None]] = []
    if figure.of_text is not None:
        if threshold.text is None:
            chosen = {"": evidence.fidelity} if evidence.fidelity else {}
        elif threshold.text == EACH:
            chosen = dict(evidence.texts)
        else:
            chosen = {name: one for name, one in evidence.texts.items() if name == threshold.text}
        readings = [(name, figure.of_text(one)) for name, one in chosen.items() if one is not None]
    elif figure.of_task is not None:
        readings = [
            (name, figure.of_task(one)) for name, one in evidence.tasks.items() if threshold.task in (None, name)
        ]
    elif figure.of_all is not None:
        readings = [("", figure.of_all(evidence))]
    return [
        _Measured(f"{figure.title} ({name})" if name else figure.title, reading)
        for name, reading in readings
        if reading is not None
    ]


def _row(threshold: Threshold, found: _Measured) -> GateRow:
    limit, less = threshold.limit, threshold.at_most is not None
    times = None
    if isinstance(found.reading, Estimate):
        value = found.reading.value
        outcome = standing_of(found.reading, limit, at_most=less)
        bound: float | None = found.reading.at_most if less else found.reading.at_least
        if outcome is Outcome.INCONCLUSIVE:
            times = _times(found.reading, limit, at_most=less)
    else:
        value, bound = found.reading, None
        outcome = Outcome.PASS if (value <= limit if less else value >= limit) else Outcome.FAIL
    return GateRow(
        figure=threshold.figure,
        title=found.title,
        value=value,
        bound=bound,
        limit=limit,
        at_most=less,
        outcome=outcome,
        guard=threshold.guard,
        sentence=_sentence_of(threshold, found, outcome, times),
        times=times,
    )


def standing_of(reading: Estimate, limit: float, *, at_most: bool) -> Outcome:
    """How an estimate's one-sided bounds lie to a limit; on the limit itself is within."""
    if at_most:
        if reading.at_most <= limit:
            return Outcome.PASS
        return Outcome.FAIL if reading.at_least > limit else Outcome.INCONCLUSIVE
    if reading.at_least >= limit:
        return Outcome.PASS
    return Outcome.FAIL if reading.at_most < limit else Outcome.INCONCLUSIVE


def _times(reading: Estimate, limit: float, *, at_most: bool) -> float | None:
    """How many times as much would bring the deciding bound to the limit, if the value stays: it goes with 1/root n."""
    gap = abs(limit - reading.value)
    within = reading.value <= limit if at_most else reading.value >= limit
    bound = reading.at_most if at_most is within else reading.at_least
    if gap == 0:
        return None
    return ((bound - reading.value) / gap) ** 2


def _sentence_of(threshold: Threshold, found: _Measured, outcome: Outcome, times: float | None) -> str:
    form = threshold.known.form
    value = found.reading.value if isinstance(found.reading, Estimate) else found.reading
    limit = _limit_words(threshold)
    if outcome is Outcome.INCONCLUSIVE and isinstance(found.reading, Estimate):
        less = threshold.at_most is not None
        within = value <= threshold.limit if less else value >= threshold.limit
        bound = found.reading.at_most if less is within else found.reading.at_least
        side = "at most" if less is within else "at least"
        return (
            f"{found.title} is {written(form, value)}, {'within' if within else 'beyond'} the limit ({limit}), but "
            f"with 95 % confidence only known to be {side} {_bound_words(form, bound)}. "
            f"{_more(threshold.known.scope, times)}"
        )
    unsure = "" if isinstance(found.reading, Estimate) else _without_interval(threshold.known.scope)
    return f"{found.title} is {written(form, value)} ({limit}){unsure}."


def _without_interval(scope: Scope) -> str:
    return ", judged by its value, as it has no interval" if scope in (Scope.TEXT, Scope.TASK) else ""


def _bound_words(form: Form, bound: float) -> str:
    """A bound with a digit more, so that it does not look like the value or the limit."""
    return f"{bound:.3g}" if form is Form.NATS else written(form, bound)


def _limit_words(threshold: Threshold) -> str:
    side = "at most" if threshold.at_most is not None else "at least"
    return f"{side} {written_limit(threshold.known.form, threshold.limit)}"


def _more(scope: Scope, times: float | None) -> str:
    what = {Scope.TEXT: "text", Scope.TASK: "items", Scope.SPEED: "repeats"}.get(scope, "")
    if times is None:
        return f"It lies on the limit, so that more {what} may never tell."
    count = "tokens" if scope is Scope.TEXT else what
    if times > MOST_TIMES:
        return f"It would take more than {MOST_TIMES} times as many {count} to tell."
    return f"More {what} would tell: about {_times_words(times)} times as many {count}."


def _times_words(times: float) -> str:
    return f"{max(times, 1.1):.1f}" if times < 3 else f"{ceil(times)}"


def _how_to_measure(threshold: Threshold, evidence: Evidence) -> str:
    models = " ".join(
        shlex.quote(path) if path else word
        for path, word in ((evidence.original, "ORIGINAL"), (evidence.path, "MODEL"))
    )
    match threshold.known.scope:
        case Scope.TASK:
            return f"`bitpress evaluate {models} --tasks {threshold.task or 'NAME'}` measures it."
        case Scope.SPEED:
            return f"`bitpress bench {models}` measures it."
        case Scope.SIZE:
            return "A size is not known."
        case _:
            if threshold.text not in (None, EACH):
                return f"The text {threshold.text} was not scored: `bitpress evaluate {models} --text FILE` scores one."
            return f"`bitpress evaluate {models}` measures it."


# The gate in words ------------------------------------------------------------------------------------------------


def _gate_sentence(gate: Gate, outcome: Outcome, rows: tuple[GateRow, ...], measurable: bool | None) -> str:
    same = "No measurable difference from the original. " if measurable is False else ""
    match outcome:
        case Outcome.PASS:
            told = [row for row in rows if not row.guard]
            body = "every limit is kept: " + "; ".join(_short(row) for row in told)
            return f"{same}{gate.title}: passed, {body}."
        case Outcome.FAIL:
            failed = [row for row in rows if row.outcome is Outcome.FAIL]
            body = " ".join(row.sentence for row in failed)
            return f"{same}{gate.title}: not passed. {body} Keep more bits, or choose a wider gate."
        case _:
            open_ = [row for row in rows if row.outcome is Outcome.INCONCLUSIVE and not row.guard]
            return f"{same}{gate.title}: cannot be told yet. {' '.join(row.sentence for row in open_)}"


def _short(row: GateRow) -> str:
    form = FIGURES[row.figure].form
    side = "at most" if row.at_most else "at least"
    value = "not known" if row.value is None else written(form, row.value)
    title = row.title[:1].lower() + row.title[1:]
    return f"{title} {value} ({side} {written_limit(form, row.limit)})"
