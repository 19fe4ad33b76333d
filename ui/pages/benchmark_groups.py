"""Divergence by position, by the original's confidence, by text, and the change of the true token's probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.results import Bucket, Fidelity
from core.value import Estimate
from ui.humanize import number_text
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import (
    NO_DIFFERENCE,
    NO_DIVERGENCE,
    Subject,
    dodge,
    estimate_lines,
    interval_text,
    kl_hint,
    measured_subjects,
    noise_limit,
    noise_of,
    several_texts,
    text_of,
    texts_of,
)
from ui.pages.benchmark_words import ratio_text, share_text
from ui.pages.run_words import significant
from ui.widgets.axis_scale import plain_number
from ui.widgets.chart_drawing import (
    ORIGINAL_SHAPE,
    Axis,
    Curve,
    Dot,
    Drawing,
    Figures,
    Key,
    Mark,
    Region,
    Rule,
    log_span,
    nothing,
)

_AGAIN = "This was not measured by the version that scored these models. Measure… again fills it."


@dataclass(frozen=True, slots=True)
class BucketFigure:
    """What is drawn over the buckets."""

    title: str
    axis: str
    text: Callable[[float], str]
    of: Callable[[Bucket], Estimate]
    log: bool = False


BUCKET_FIGURES = (
    BucketFigure("Mean KL", "mean KL, nats per token (log)", significant, lambda bucket: bucket.kl, log=True),
    BucketFigure("Same top-1", "same most likely token", share_text, lambda bucket: bucket.same_top1),
    BucketFigure(
        "Perplexity ratio", "perplexity over the original's", ratio_text, lambda bucket: bucket.perplexity_ratio
    ),
)


def position_drawing(rows: tuple[BenchmarkRow, ...], figure: BucketFigure = BUCKET_FIGURES[0]) -> Drawing:
    """By how many tokens stood before the token in its row."""
    return _bucket_drawing(
        rows,
        figure,
        title=f"{figure.title} by position",
        across="tokens before it",
        of=lambda fidelity: fidelity.by_position,
        name=lambda bucket: f"{number_text(bucket.low)}–{number_text(bucket.high - 1)}",
    )


def confidence_drawing(rows: tuple[BenchmarkRow, ...], figure: BucketFigure = BUCKET_FIGURES[0]) -> Drawing:
    """By how sure the original was of its likeliest token."""
    return _bucket_drawing(
        rows,
        figure,
        title=f"{figure.title} by confidence",
        across="the original's largest probability",
        of=lambda fidelity: fidelity.by_confidence,
        name=lambda bucket: f"{bucket.low * 100:.0f}–{bucket.high * 100:.0f} %",
    )


def _bucket_drawing(
    rows: tuple[BenchmarkRow, ...],
    figure: BucketFigure,
    *,
    title: str,
    across: str,
    of: Callable[[Fidelity], tuple[Bucket, ...]],
    name: Callable[[Bucket], str],
) -> Drawing:
    measured = measured_subjects(rows)
    filled = [(one, of(fidelity)) for one, fidelity in measured if of(fidelity)]
    if not filled:
        return nothing(title, _AGAIN if measured else NO_DIVERGENCE)
    names = tuple(dict.fromkeys(name(bucket) for _, buckets in filled for bucket in buckets if bucket.tokens))
    marks: list[Mark] = []
    lines: list[tuple[str, ...]] = []
    ends: list[float] = []
    for index, (one, buckets) in enumerate(filled):
        line = []
        for bucket in buckets:
            if not bucket.tokens:
                continue
            place = names.index(name(bucket)) + dodge(index, len(filled), 0.1)
            value = figure.of(bucket)
            ends += [value.value, value.low, value.high]
            line.append((place, value.value))
            words = (one.name, f"{across}: {name(bucket)}, {number_text(bucket.tokens)} tokens")
            hint = "\n".join((*words, *estimate_lines(value, figure.text)))
            marks.append(
                Dot(place, value.value, one.ink, one.shape, hint, y_interval=(value.low, value.high), size=8.0)
            )
            lines.append((one.name, name(bucket), number_text(bucket.tokens), interval_text(value, figure.text)))
        marks.append(Curve(tuple(line), one.ink, width=1.2))
    if figure.log:
        low, high = log_span(ends)
    else:
        room = (max(ends) - min(ends)) * 0.06 or 0.01
        low, high = min(ends) - room, max(ends) + room
    return Drawing(
        title,
        Axis(across, 0, 1, names=names),
        Axis(figure.axis, low, high, log=figure.log, text=plain_number if figure.log else figure.text),
        tuple(marks),
        keys=tuple(one.key for one, _ in filled),
        figures=Figures(("Model", across.capitalize(), "Tokens", f"{figure.title} (95 %)"), tuple(lines)),
        note="bars: 95 % intervals",
    )


def text_drawing(rows: tuple[BenchmarkRow, ...]) -> Drawing:
    """Mean KL on each text by itself: one text alone would crown its own domain."""
    title = "Mean KL divergence by text"
    measured = measured_subjects(rows)
    texts = texts_of(rows)
    if not measured or not texts:
        return nothing(title, NO_DIVERGENCE)
    marks: list[Mark] = []
    lines: list[tuple[str, ...]] = []
    ends: list[float] = []
    count = len(measured) + 1

    def add(one: Subject, fidelity: Fidelity, line: int, index: int, text: str) -> None:
        kl = fidelity.kl_interval
        ends.extend((kl.value, kl.low, kl.high))
        hint = kl_hint(f"{one.name} on {text}", kl, measurable=fidelity.measurable)
        place = line + dodge(index, count)
        marks.append(Dot(kl.value, place, one.ink, one.shape, hint, x_interval=(kl.low, kl.high), size=9.0))
        lines.append((text, one.name, interval_text(kl), interval_text(fidelity.perplexity_ratio, ratio_text)))

    noisy = False
    for line, text in enumerate(texts):
        for index, (one, _) in enumerate(measured):
            found = text_of(one.row, text)
            if found is not None:
                add(one, found[1], line, index, text)
        floors = next((found[0].noise for one, _ in measured if (found := text_of(one.row, text))), ())
        for floor in floors[:1]:
            kl, noisy = floor.kl_interval, True
            ends.extend((kl.value, kl.low, kl.high))
            hint = kl_hint(f"the original against itself on {text}", kl, measurable=None, more=(floor.title,))
            place = line + dodge(count - 1, count)
            interval = (kl.low, kl.high)
            marks.append(
                Dot(kl.value, place, "original", ORIGINAL_SHAPE, hint, x_interval=interval, hollow=True, size=8)
            )
            lines.append((text, "noise floor", interval_text(kl), interval_text(floor.perplexity_ratio, ratio_text)))
    for index, (one, fidelity) in enumerate(measured):
        add(one, fidelity, len(texts), index, "all texts together")
    low, high = log_span(ends, room=1.4)
    limit = noise_limit(noise_of(rows))
    if limit is not None:
        marks.append(Region("x", None, limit, "original", NO_DIFFERENCE))
    keys = [one.key for one, _ in measured]
    keys += [Key("the original against itself", "original", ORIGINAL_SHAPE)] if noisy else []
    differ = " · not all models were scored on the same tokens" if several_texts(rows) else ""
    return Drawing(
        title,
        Axis("mean KL divergence, nats per token (log)", low, high, log=True),
        Axis("", 0, 1, names=(*texts, "all texts")),
        tuple(marks),
        keys=tuple(keys),
        figures=Figures(("Text", "Model", "Mean KL (95 %)", "Perplexity ratio (95 %)"), tuple(lines)),
        note=f"left is better · bars: 95 % intervals{differ}",
    )


def true_token_drawing(rows: tuple[BenchmarkRow, ...]) -> Drawing:
    """Quantiles of the change of the true next token's probability: how often it falls, and how far."""
    title = "Change of the true token's probability"
    measured = measured_subjects(rows)
    filled = [(one, fidelity.true_token) for one, fidelity in measured if fidelity.true_token is not None]
    if not filled:
        return nothing(title, _AGAIN if measured else NO_DIVERGENCE)
    places = tuple(dict.fromkeys(place for _, true in filled for place, _ in (true.quantiles if true else ())))
    names = tuple(_quantile_name(place) for place in places)
    marks: list[Mark] = [Rule("y", 0.0, "original", "as the original", "dot")]
    lines = []
    ends = [0.0]
    for one, true in filled:
        if true is None:
            continue
        points = tuple((float(places.index(place)), value) for place, value in true.quantiles)
        ends += [value for _, value in points]
        marks.append(Curve(points, one.ink))
        for (place, value), (at, _) in zip(true.quantiles, points, strict=True):
            hint = f"{one.name}\n{_quantile_words(place)}: {value * 100:+.2g} %"
            marks.append(Dot(at, value, one.ink, one.shape, hint, size=7.0))
        lines.append((one.name, *(f"{value * 100:+.2g} %" for _, value in true.quantiles)))
    room = (max(ends) - min(ends)) * 0.05 or 0.01
    return Drawing(
        title,
        Axis("share of tokens below", 0, 1, names=names),
        Axis("probability now minus before", min(ends) - room, max(ends) + room, text=lambda v: f"{v * 100:+.3g} %"),
        tuple(marks),
        keys=tuple(one.key for one, _ in filled),
        figures=Figures(("Model", *names), tuple(lines)),
        note="below zero: the model holds the text's own next token for less likely than the original does",
    )


def _quantile_name(place: float) -> str:
    if place in (0.0, 1.0):
        return "least" if place == 0 else "most"
    return f"{place * 100:g} %"


def _quantile_words(place: float) -> str:
    if place in (0.0, 1.0):
        return "the largest fall" if place == 0 else "the largest rise"
    return f"{place * 100:g} % of the tokens change by less than"
