"""How KL divergence is spread over the tokens: histograms, tails, and the table of quantiles."""

from __future__ import annotations

from collections.abc import Callable

from core.measure.results import Fidelity, KlSummary
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import (
    NO_DIVERGENCE,
    Subject,
    interval_text,
    measured_subjects,
    noise_of,
)
from ui.pages.benchmark_words import ratio_text
from ui.pages.run_words import significant
from ui.widgets.axis_scale import plain_number
from ui.widgets.chart_drawing import Axis, Block, Curve, Dot, Drawing, Figures, Key, Mark, Region, nothing

LOST, MADE_UP = "Original to compressed", "Compressed to original"
"""The two directions of KL divergence, as a person chooses them."""
_TITLE = "KL divergence over the tokens"
_QUANTILES: tuple[tuple[str, str, float, Callable[[KlSummary], float]], ...] = (
    ("median", "o", 0.5, lambda kl: kl.median),
    ("90 %", "t1", 0.1, lambda kl: kl.p90),
    ("95 %", "t", 0.05, lambda kl: kl.p95),
    ("99 %", "d", 0.01, lambda kl: kl.p99),
    ("99.9 %", "s", 0.001, lambda kl: kl.p999),
)
_MARKED = {"median", "99 %", "99.9 %"}
_AXIS = "KL divergence of one token, nats (log)"


def summary_of(fidelity: Fidelity, direction: str) -> KlSummary | None:
    """The quantiles in a direction; None where it was not measured."""
    return fidelity.kl if direction == LOST else fidelity.kl_reverse


def histogram_drawing(rows: tuple[BenchmarkRow, ...]) -> Drawing:
    """One row a model, all on one scale: how many tokens diverge by how much."""
    measured = [(one, fidelity) for one, fidelity in measured_subjects(rows) if fidelity.histogram]
    if not measured:
        return nothing(_TITLE, NO_DIVERGENCE)
    shares = [_shares(fidelity) for _, fidelity in measured]
    seen = [edge for bins in shares for edge, share in bins if share > 5e-4]
    low, high = min(seen) / 2, max(*seen, *(fidelity.kl.p999 * 4 for _, fidelity in measured))
    most = max(share for bins in shares for _, share in bins)
    marks: list[Mark] = list(_noise_region(rows, low))
    for index, ((one, fidelity), bins) in enumerate(zip(measured, shares, strict=True)):
        base = index + 0.22
        before = low
        for edge, share in bins:
            left, before = before, edge
            if share > 0 and edge > low and left < high:
                hint = (
                    f"{one.name}\n{share * 100:.2g} % of the tokens\nKL {plain_number(float(f'{left:.2g}'))} to "
                    f"{plain_number(float(f'{edge:.2g}'))} nats"
                )
                top = base - 0.62 * share / most
                marks.append(Block((max(left, low), min(edge, high)), (top, base), one.ink, hint))
        marks += [
            Dot(place(fidelity.kl), base + 0.1, "text", shape, _hint(one, name, place(fidelity.kl)), size=8.0)
            for name, shape, _, place in _QUANTILES
            if name in _MARKED
        ]
    return Drawing(
        _TITLE,
        Axis(_AXIS, low, high, log=True),
        Axis("", 0, 1, names=tuple(one.name for one, _ in measured)),
        tuple(marks),
        keys=tuple(Key(name, "text", shape) for name, shape, _, _ in _QUANTILES if name in _MARKED),
        figures=_quantile_figures(rows, LOST),
        note=_note(rows, "height: share of tokens, the same scale for all"),
    )


def tail_drawing(rows: tuple[BenchmarkRow, ...], direction: str) -> Drawing:
    """The share of tokens that diverge by more than a value: how heavy the tail is."""
    measured = [(one, fidelity, summary_of(fidelity, direction)) for one, fidelity in measured_subjects(rows)]
    known = [(one, fidelity, kl) for one, fidelity, kl in measured if kl is not None]
    if not known:
        words = NO_DIVERGENCE if not measured else "This direction was not measured. Measure… again fills it."
        return nothing(_TITLE, words)
    low = min(kl.median for _, _, kl in known) / 3
    high = max(kl.p999 for _, _, kl in known) * 2
    marks: list[Mark] = list(_noise_region(rows, low))
    for one, fidelity, kl in known:
        points = [(place(kl), above) for _, _, above, place in _QUANTILES]
        line = _exceedance(fidelity, low) if direction == LOST and fidelity.histogram else points
        marks.append(Curve(tuple(sorted(line)), one.ink, width=1.8))
        marks += [
            Dot(value, above, one.ink, shape, _hint(one, name, value), size=8.0)
            for (name, shape, above, _), (value, _) in zip(_QUANTILES, points, strict=True)
        ]
    return Drawing(
        "Tail of the KL divergence",
        Axis(_AXIS, low, high, log=True),
        Axis(
            "tokens that diverge by more (log)",
            4e-4,
            1.0,
            log=True,
            ticks=(1.0, 0.5, 0.1, 0.05, 0.01, 0.001),
            text=lambda share: f"{share * 100:g} %",
        ),
        tuple(marks),
        keys=(
            *(Key(one.name, one.ink, "line") for one, _, _ in known),
            *(Key(name, "text", shape) for name, shape, _, _ in _QUANTILES),
        ),
        figures=_quantile_figures(rows, direction),
        note=_note(rows, "left is better"),
    )


def quantile_table(rows: tuple[BenchmarkRow, ...]) -> Figures:
    """Every quantile in both directions, nats per token."""
    found: list[tuple[str, ...]] = []
    for one, fidelity in measured_subjects(rows):
        for direction, interval in (
            (LOST, fidelity.kl_interval),
            (MADE_UP, fidelity.kl_reverse_interval),
        ):
            kl = summary_of(fidelity, direction)
            if kl is not None:
                figures = (kl.median, kl.p90, kl.p95, kl.p99, kl.p999, kl.max)
                found.append((one.name, direction, interval_text(interval), *map(significant, figures)))
    for floor in noise_of(rows):
        kl = floor.kl
        figures = (kl.median, kl.p90, kl.p95, kl.p99, kl.p999, kl.max)
        found.append(
            (
                "original itself",
                f"noise floor, {floor.kind}",
                interval_text(floor.kl_interval),
                *map(significant, figures),
            )
        )
    return Figures(("Model", "KL", "Mean (95 %)", "Median", "90 %", "95 %", "99 %", "99.9 %", "Most"), tuple(found))


def agreement_table(rows: tuple[BenchmarkRow, ...]) -> Figures:
    """Perplexity, agreement and the change of the true token's probability, with intervals."""
    found = []
    for one, fidelity in measured_subjects(rows):
        true = fidelity.true_token
        correlation = fidelity.perplexity_correlation
        found.append(
            (
                one.name,
                interval_text(fidelity.perplexity_ratio, ratio_text),
                "–" if correlation is None else f"{correlation:.4f}",
                interval_text(fidelity.same_top1, _percent),
                interval_text(fidelity.top5, _percent),
                "–" if true is None else interval_text(true.mean, _points),
                "–" if true is None else interval_text(true.rms, _points),
            )
        )
    return Figures(
        ("Model", "Ppl ratio", "Correlation", "Top-1, %", "Top-5, %", "Δp mean, %", "Δp RMS, %"),
        tuple(found),
    )


def _percent(value: float) -> str:
    return f"{value * 100:.1f}"


def _points(value: float) -> str:
    return f"{round(value * 100, 2) + 0.0:.2f}"  # never -0.00


def _quantile_figures(rows: tuple[BenchmarkRow, ...], direction: str) -> Figures:
    whole = quantile_table(rows)
    kept = tuple((row[0], *row[2:]) for row in whole.rows if row[1] == direction or row[1].startswith("noise"))
    return Figures((whole.columns[0], *whole.columns[2:]), kept)


def _shares(fidelity: Fidelity) -> list[tuple[float, float]]:
    tokens = sum(count for _, count in fidelity.histogram) or 1
    return [(edge, count / tokens) for edge, count in fidelity.histogram]


def _exceedance(fidelity: Fidelity, low: float) -> list[tuple[float, float]]:
    left = 1.0
    points = []
    for edge, share in _shares(fidelity):
        left -= share
        if edge >= low and left > 3e-4:
            points.append((edge, left))
    return points


def _noise_region(rows: tuple[BenchmarkRow, ...], low: float) -> list[Mark]:
    floor = max((one.kl.p99 for one in noise_of(rows)), default=None)
    if floor is None or floor <= low:
        return []
    return [Region("x", None, floor, "original", "noise floor", 0.16)]


def _note(rows: tuple[BenchmarkRow, ...], first: str) -> str:
    if noise_of(rows):
        return f"{first} · shaded: where 99 % of the tokens lie when the original is held against itself"
    return first


def _hint(one: Subject, name: str, value: float) -> str:
    words = "half of the tokens stay below" if name == "median" else f"{name} of the tokens stay below"
    return f"{one.name}\n{words} KL {significant(value)} nats"
