"""Brings verdicts and gates into the report's form: every limit with its figure, its bound and how it stands."""

from __future__ import annotations

from core.measure.results import Fidelity
from core.measure.task_results import TaskOther
from core.measure.verdict import Limits, gate_named, verdict
from core.report.data import GateFacts, Judgement, LimitKept
from core.value import Estimate

AT_LEAST = ("same_top1",)
"""Figures of which more is better."""


def judgement(fidelity: Fidelity, original_bytes: int | None, compressed_bytes: int | None) -> Judgement:
    """The verdict's level, its sentence, and the figures against the limits of that level."""
    found = verdict(fidelity, original_bytes, compressed_bytes)
    return Judgement(
        level=found.level,
        sentence=found.sentence,
        limits=tuple(
            LimitKept(
                title=row.title,
                limit=row.limit,
                standing=row.standing,
                figure=row.figure,
                value=row.value,
                bound=row.value.low if row.figure in AT_LEAST else row.value.high,
                least=row.figure in AT_LEAST,
            )
            for row in found.rows
        ),
    )


def gate_of(name: str, fidelity: Fidelity, answers: tuple[TaskOther, ...] = ()) -> GateFacts:
    """The model against a named gate, by one-sided 95 % bounds. Raises BitpressError `unknown-gate`."""
    limits = tuple(_kept(*row) for row in _rows(fidelity, gate_named(name)))
    standings = {limit.standing for limit in limits}
    said = "fail" if "beyond" in standings else "inconclusive" if "inconclusive" in standings else "pass"
    return GateFacts(name=name, verdict=said, limits=limits)


def _rows(fidelity: Fidelity, limits: Limits) -> tuple[tuple[str, str, Estimate, float], ...]:
    return (
        ("perplexity_ratio", "Perplexity over the original's", fidelity.perplexity_ratio, limits.perplexity_ratio),
        ("kl", "KL divergence, nats per token", fidelity.kl_interval, limits.kl),
        ("same_top1", "Same most likely next token", fidelity.same_top1, limits.same_top1),
    )


def _kept(figure: str, title: str, value: Estimate, limit: float) -> LimitKept:
    least = figure in AT_LEAST
    kept = value.at_least >= limit if least else value.at_most <= limit
    broken = value.at_most < limit if least else value.at_least > limit
    return LimitKept(
        title=title,
        limit=limit,
        standing="within" if kept else "beyond" if broken else "inconclusive",
        figure=figure,
        value=value,
        bound=value.at_least if least else value.at_most,
        least=least,
    )
