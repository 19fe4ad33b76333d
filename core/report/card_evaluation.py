"""The evaluation of a model card: every figure of fidelity, the noise floor, the gate and the tasks."""

from __future__ import annotations

from collections.abc import Iterator

from core.measure.results import Fidelity, KlSummary
from core.report.card_text import text
from core.report.data import Quality, RunReport
from core.report.summary import gate_sentence
from core.report.wording import interval, nats, percent, share_interval, significant, whole
from core.value import Range

PARTS = (
    ("median", "median"),
    ("p90", "90 %"),
    ("p95", "95 %"),
    ("p99", "99 %"),
    ("p999", "99.9 %"),
    ("max", "largest"),
)


def rows(run: RunReport, quality: Quality) -> Iterator[str]:
    """Lines of Markdown: one table of fidelity, one of the texts, one of the tasks, and what they mean."""
    yield "| Against the original | Figure | 95 % interval |"
    yield "| :-- | --: | --: |"
    for title, value, span in _fidelity(quality.fidelity):
        yield f"| {title} | {value} | {span} |"
    for floor in quality.noise:
        spread = floor.kl_interval
        yield f"| Noise floor, mean KL: {text(floor.title)} | {nats(spread.value)} | {interval(spread)} |"
    yield ""
    if quality.fidelity.measurable is False:
        yield "The mean KL divergence is under the noise floor: no measurable difference."
        yield ""
    if len(quality.texts) > 1:
        yield "| Text | Tokens | Mean KL, nats | Same most likely token | Perplexity ratio |"
        yield "| :-- | --: | --: | --: | --: |"
        for one in quality.texts:
            found = one.fidelity
            yield (
                f"| {text(one.text)} | {whole(one.tokens)} | {nats(found.kl_interval.value)} "
                f"({interval(found.kl_interval)}) | {percent(found.same_top1.value)} | "
                f"{significant(found.perplexity_ratio.value, 4)} |"
            )
        yield ""
    if run.tasks:
        yield "| Task | Items | Original | Compressed | Lost, gained | p (McNemar, Holm) | Recovery above chance |"
        yield "| :-- | --: | --: | --: | --: | --: | --: |"
        for task in run.tasks:
            other = task.other
            kept = "–" if other.recovery is None else percent(other.recovery)
            yield (
                f"| {text(task.task.title or task.task.name)} | {whole(task.task.items)} | "
                f"{percent(task.task.accuracy.value)} | {percent(other.accuracy.value)} | {other.lost}, {other.gained} "
                f"| {significant(other.p_adjusted, 2)} | {kept} |"
            )
        yield ""
    if run.gate:
        yield text(gate_sentence(run.gate))
        yield ""


def _fidelity(found: Fidelity) -> Iterator[tuple[str, str, str]]:
    yield "Perplexity ratio", significant(found.perplexity_ratio.value, 4), interval(found.perplexity_ratio, 4)
    if found.perplexity_correlation is not None:
        yield "Correlation of log-likelihoods", f"{found.perplexity_correlation:.5f}", "–"
    yield "KL divergence, mean, nats per token", nats(found.kl_interval.value), interval(found.kl_interval)
    yield from _summary("KL divergence", found.kl)
    if found.kl_reverse and found.kl_reverse_interval:
        spread = found.kl_reverse_interval
        yield "Reverse KL divergence, mean", nats(spread.value), interval(spread)
        yield from _summary("Reverse KL divergence", found.kl_reverse)
    if found.true_token:
        yield "Change of the true token's probability, mean, points", *_points(found.true_token.mean)
        yield "The same, root mean square", *_points(found.true_token.rms)
    yield "Same most likely token", percent(found.same_top1.value), share_interval(found.same_top1)
    if found.top5:
        yield "Same five likeliest tokens", percent(found.top5.value), share_interval(found.top5)


def _summary(title: str, kl: KlSummary) -> Iterator[tuple[str, str, str]]:
    for name, words in PARTS:
        yield f"{title}, {words}", nats(getattr(kl, name)), "–"


def _points(quantity: Range) -> tuple[str, str]:
    return f"{quantity.value * 100:.2f}", f"{quantity.low * 100:.2f} to {quantity.high * 100:.2f}"
