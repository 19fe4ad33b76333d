"""How far models are from their original: over tokens, text by text, by position and by confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.measure.results import Bucket
from core.report.charts.canvas import (
    QUIET,
    SHADE,
    area,
    colour,
    dash,
    decimal,
    dress,
    figure_of,
    is_finite,
    legend,
    legend_height,
    log_limits,
    log_ticks,
    mark,
    named,
    panels,
    shared_legend,
)
from core.value import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Spread:
    """How the tokens of one model spread over KL divergence: (upper edge in nats, tokens)."""

    series: int
    label: str
    histogram: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an interval chart: a quantity for each series, and the noise floor of that line."""

    label: str
    quantities: tuple[tuple[int, Range], ...]
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Bucketed:
    """One model's figures, bucket by bucket."""

    series: int
    label: str
    buckets: tuple[Bucket, ...]


def distribution(spreads: Sequence[Spread], floor: float | None = None) -> str:
    """Tokens by their KL divergence: above as shares of a bin, below summed up, over one logarithmic axis.

    `floor` in nats: what lies left of it is shaded.
    """
    above = legend_height(len(spreads) + bool(floor))
    with figure_of(2.5 + above) as (figure, render):
        upper, lower = area(figure, above=above, below=1.72), area(figure, above=above + 1.02)
        seen: list[float] = []
        for spread in spreads:
            total = sum(count for _, count in spread.histogram)
            placed = [(edge, count) for edge, count in spread.histogram if edge > 0]
            if not total or not placed:
                continue
            counted = [edge for edge, count in placed if count]
            seen += counted[:1] + counted[-1:]
            running, summed = total - sum(count for _, count in placed), []
            for _, count in placed:
                running += count
                summed.append(running / total * 100)
            edges = [edge for edge, _ in placed]
            shares = [count / total * 100 for _, count in placed]
            tint, line = colour(spread.series), dash(spread.series)
            if len(spreads) == 1:
                upper.fill_between(edges, shares, step="pre", color=tint, alpha=0.18, linewidth=0)
            upper.step(edges, shares, where="pre", color=tint, linestyle=line, linewidth=1.3, label=named(spread.label))
            lower.step(edges, summed, where="post", color=tint, linestyle=line, linewidth=1.3)
        limits = log_limits([*seen, *([floor] if floor and seen else [])])
        for axes in (upper, lower):
            if limits:
                log_ticks(axes, "x", limits)
                if floor and floor > 0:
                    axes.axvspan(limits[0], floor, facecolor=SHADE, edgecolor="none", zorder=0)
        upper.set_ylim(bottom=0)
        lower.set_ylim(0, 101)
        dress(upper, "", "% of tokens in a bin", grid="both")
        dress(lower, "KL divergence of a token, nats", "% of tokens at or below", grid="both")
        upper.tick_params(labelbottom=False)
        upper.locator_params(axis="y", nbins=4)
        legend(upper, floor="noise floor" if floor and limits else "")
        return render()


def by_text(rows: Sequence[Row], labels: Sequence[tuple[int, str]]) -> str:
    """Mean KL with its interval, one line for each text, a mark for each model, the noise floor of the text shaded."""
    return intervals(rows, labels, "mean KL divergence, nats per token", floor_word="noise floor")


def intervals(
    rows: Sequence[Row],
    labels: Sequence[tuple[int, str]],
    below: str,
    *,
    logarithmic: bool = True,
    zero: float | None = None,
    said: Callable[[float, object], str] = decimal,
    floor_word: str = "",
) -> str:
    """Quantities as marks with whiskers; `zero` draws a line where nothing changed. Rows run downwards."""
    step = 0.125 * max(1, max((len(row.quantities) for row in rows), default=1)) + 0.13
    shaded = bool(floor_word) and any(row.floor for row in rows)
    above = legend_height(len(labels) + shaded)
    with figure_of(above + step * len(rows) + 0.42) as (figure, render):
        axes = area(figure, above=above, beside=1.75, below=0.42)
        values: list[float] = []
        named_series: set[int] = set()
        words = dict(labels)
        for place, row in enumerate(rows):
            known = [(series, quantity) for series, quantity in row.quantities if is_finite(quantity)]
            for order, (series, quantity) in enumerate(known):
                height = place + (order - (len(known) - 1) / 2) * 0.125 / step
                values += [quantity.low, quantity.value, quantity.high]
                _whisker(axes, series, quantity, height, "" if series in named_series else words.get(series, ""))
                named_series.add(series)
            if row.floor:
                values.append(row.floor)
        limits = log_limits(values) if logarithmic else None
        if limits:
            log_ticks(axes, "x", limits)
        elif values:
            room = (max(values) - min(values)) * 0.06 or 0.01
            axes.set_xlim(min(values) - room, max(values) + room)
        for place, row in enumerate(rows):
            start = limits[0] if limits else axes.get_xlim()[0]
            if row.floor and row.floor > start:
                axes.barh(place, row.floor - start, left=start, height=0.94, color=SHADE, linewidth=0, zorder=0)
        if zero is not None:
            axes.axvline(zero, color=QUIET, linewidth=0.8, zorder=1)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        dress(axes, below, "", grid="x")
        if not limits:
            axes.xaxis.set_major_formatter(said)
        axes.set_yticks(range(len(rows)), [named(row.label, 28) for row in rows])
        legend(axes, floor=floor_word if shaded else "")
        return render()


def by_bucket(models: Sequence[Bucketed], kind: str) -> str:
    """Mean KL and the share of the same likeliest token, bucket by bucket; `kind` is position or confidence."""
    above = legend_height(len(models)) if len(models) > 1 else 0.12
    with figure_of(1.75 + above) as (figure, render):
        left, right = panels(figure, 2, above=above)
        edges = _edges(models, kind)
        width = min(0.14, 0.7 / max(1, len(models)))
        seen: list[float] = []
        for order, model in enumerate(models):
            shift = 0.5 + (order - (len(models) - 1) / 2) * width
            for axes, read, scale in ((left, _kl, 1.0), (right, _same, 100.0)):
                found = [(place + shift, read(bucket)) for place, bucket in enumerate(model.buckets)]
                known = [(place, quantity) for place, quantity in found if is_finite(quantity)]
                for place, quantity in known:
                    axes.plot(
                        [place, place],
                        [quantity.low * scale, quantity.high * scale],
                        color=colour(model.series),
                        linewidth=0.9,
                    )
                axes.plot(
                    [place for place, _ in known],
                    [quantity.value * scale for _, quantity in known],
                    color=colour(model.series),
                    linestyle=dash(model.series),
                    linewidth=0.9,
                    marker=mark(model.series),
                    markersize=3.5,
                    label=named(model.label),
                )
                if axes is left:
                    seen += [value for _, quantity in known for value in (quantity.low, quantity.value, quantity.high)]
        title = "tokens before it in the window" if kind == "position" else "original's probability of its likeliest, %"
        for axes in (left, right):
            axes.set_xticks(range(len(edges)), edges)
            axes.set_xlim(0, max(1, len(edges) - 1))
        limits = log_limits(seen)
        if limits:
            log_ticks(left, "y", limits)
        dress(left, title, "mean KL, nats per token", grid="y")
        dress(right, title, "same likeliest token, %", grid="y")
        if len(models) > 1:
            shared_legend(figure, left)
        return render()


def _whisker(axes: Axes, series: int, quantity: Range, height: float, label: str) -> None:
    tint = colour(series)
    axes.plot([quantity.low, quantity.high], [height, height], color=tint, linewidth=1.2, zorder=2)
    axes.plot(
        [quantity.value],
        [height],
        linestyle="none",
        marker=mark(series),
        color=tint,
        markersize=4.2,
        zorder=3,
        label=named(label) if label else None,
    )


def _edges(models: Sequence[Bucketed], kind: str) -> list[str]:
    """The buckets' ends: the position in tokens, or the probability in per cent."""
    longest = max((model.buckets for model in models), key=len, default=())
    if not longest:
        return []
    ends = [bucket.low for bucket in longest] + [longest[-1].high]
    if kind != "position":
        return [f"{min(end, 1.0) * 100:.3g}" for end in ends]
    return [f"{end:,.0f}" if math.isfinite(end) else "" for end in ends]


def _kl(bucket: Bucket) -> Range:
    return bucket.kl


def _same(bucket: Bucket) -> Range:
    return bucket.same_top1
