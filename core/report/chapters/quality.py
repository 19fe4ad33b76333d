"""Chapter 5: how far the compressed models are from the original, and the proof of the artifacts."""

from __future__ import annotations

from collections.abc import Callable

from core.measure.results import KlSummary
from core.report import charts
from core.report.blocks import Block, Callout, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.chapters.columns import Numbered, numbered
from core.report.chapters.conditions import condition_rows
from core.report.data import Level, Quality, ReportData, RunReport
from core.report.summary import level_of
from core.report.wording import clock, interval, nats, percent, seconds, share_interval, significant, whole

MEASURE_QUALITY = "Evaluate the model on the Benchmarks page, or with `bitpress evaluate`, and make the report again."


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Figures with intervals, the distribution, text by text, and the proofs."""
    runs = numbered(data)
    measured = [(index, run, run.quality) for index, run in runs if run.quality]
    made: list[Block] = []
    missing = [run.label for _, run in runs if run.quality is None]
    if missing:
        made.append(
            Callout(level=Level.ATTENTION, title=f"Not measured: {', '.join(missing)}", lines=(MEASURE_QUALITY,))
        )
    if measured:
        made.append(
            Paragraph(
                text="Each model read the same held-out text as the original, token by token. The KL divergence says "
                "how far its expectation of the next token was from the original's: 0 is no difference."
            )
        )
        made += [
            _overall(measured),
            *_limits(measured),
            _percentiles(measured),
            *_charts(data, measured),
            *_texts(measured),
        ]
        made += _conditions(measured)
    made.append(Heading(text="Proof of the saved models"))
    for pair in runs:
        made += _proof(pair)
    return tuple(made)


Measured = list[tuple[int, RunReport, Quality]]


def _columns(first: str, measured: Measured) -> tuple[Column, ...]:
    return (
        Column(title=first, share=1.6),
        *(Column(title=run.label, figures=True, series=index) for index, run, _ in measured),
    )


def _overall(measured: Measured) -> Table:
    found = [quality for _, _, quality in measured]
    return Table(
        columns=_columns("All texts together", measured),
        rows=(
            (
                Cell(text="Mean KL divergence", note="nats per token, 95 % interval"),
                *(
                    Cell(text=nats(q.fidelity.kl_interval.value), note=interval(q.fidelity.kl_interval, 2))
                    for q in found
                ),
            ),
            (
                Cell(text="Same most likely token", note="95 % interval"),
                *(
                    Cell(text=percent(q.fidelity.same_top1.value), note=share_interval(q.fidelity.same_top1))
                    for q in found
                ),
            ),
            (
                Cell(text="Perplexity over the original's", note="95 % interval, paired"),
                *(
                    Cell(
                        text=significant(q.fidelity.perplexity_ratio.value, 4),
                        note=interval(q.fidelity.perplexity_ratio, 4),
                    )
                    for q in found
                ),
            ),
            (Cell(text="Perplexity"), *(Cell(text=significant(q.fidelity.perplexity, 4)) for q in found)),
            (
                Cell(text="Perplexity of the original"),
                *(Cell(text=significant(q.original_perplexity, 4)) for q in found),
            ),
        ),
    )


STANDINGS = {"within": Level.DONE, "beyond": Level.FAILED, "inconclusive": Level.ATTENTION}


def _limits(measured: Measured) -> list[Block]:
    """Every figure against the limit of the level that the model reaches."""
    judged = [(index, run, q, q.judgement) for index, run, q in measured if q.judgement and q.judgement.limits]
    if not judged:
        return []
    titles = list(dict.fromkeys(limit.title for *_, judgement in judged for limit in judgement.limits))
    rows = [
        (
            Cell(text="Level"),
            *(Cell(text=judgement.level, level=level_of(run)) for _, run, _, judgement in judged),
        )
    ]
    for title in titles:
        cells = []
        for *_, judgement in judged:
            limit = next((one for one in judgement.limits if one.title == title), None)
            if limit is None:
                cells.append(Cell(text="–"))
                continue
            level = STANDINGS.get(limit.standing, Level.NEUTRAL)
            cells.append(Cell(text=limit.standing, note=f"limit {significant(limit.limit, 3)}", level=level))
        rows.append((Cell(text=title), *cells))
    return [
        Table(
            columns=_columns("Against Bitpress's limits", [(index, run, q) for index, run, q, _ in judged]),
            rows=tuple(rows),
            caption="The limits of the best level that all three figures keep with their whole interval, or of the "
            "widest level where none is reached.",
        )
    ]


def _percentiles(measured: Measured) -> Table:
    rows: list[tuple[str, Callable[[KlSummary], float]]] = [
        ("Half of the tokens are below", lambda kl: kl.median),
        ("90 % below", lambda kl: kl.p90),
        ("95 % below", lambda kl: kl.p95),
        ("99 % below", lambda kl: kl.p99),
        ("99.9 % below", lambda kl: kl.p999),
        ("Largest", lambda kl: kl.max),
    ]
    return Table(
        columns=_columns("KL divergence, nats", measured),
        rows=tuple(
            (Cell(text=title), *(Cell(text=nats(read(quality.fidelity.kl))) for _, _, quality in measured))
            for title, read in rows
        ),
        small=True,
    )


def _charts(data: ReportData, measured: Measured) -> list[Block]:
    made: list[Block] = []
    pairs = [(index, run) for index, run, quality in measured if quality.fidelity.histogram]
    if pairs:
        said = ", ".join(
            f"{run.label} has half of its tokens below {nats(run.quality.fidelity.kl.median)} nats"
            for _, run in pairs
            if run.quality
        )
        made.append(
            Chart(
                svg=charts.divergence_distribution(pairs),
                alternative=f"Cumulative distribution of KL divergence over tokens: {said}.",
                caption="How many tokens stay below a KL divergence. The further left and up, the closer.",
            )
        )
    if len([1 for _, run, _ in measured if run.bytes]) > 1:
        said = ", ".join(f"{run.label} {nats(q.fidelity.kl_interval.value)} nats" for _, run, q in measured)
        made.append(
            Chart(
                svg=charts.divergence_against_size(data),
                alternative=f"Mean KL divergence against size on disk: {said}.",
                caption="Mean KL divergence with its 95 % interval against size. The grey line is the original's size.",
            )
        )
    return made


def _texts(measured: Measured) -> list[Block]:
    names = list(dict.fromkeys(text.text for _, _, quality in measured for text in quality.texts))
    if len(names) < 2:
        return []
    rows = []
    for name in names:
        cells = []
        for _, _, quality in measured:
            text = next((one for one in quality.texts if one.text == name), None)
            if text is None:
                cells.append(Cell(text="not measured"))
                continue
            spread = text.fidelity.kl_interval
            cells.append(Cell(text=nats(spread.value), note=f"same token {percent(text.fidelity.same_top1.value)}"))
        tokens = next((one.tokens for _, _, q in measured for one in q.texts if one.text == name), 0)
        rows.append((Cell(text=name, note=f"{whole(tokens)} tokens"), *cells))
    return [Table(columns=_columns("Mean KL divergence by text", measured), rows=tuple(rows))]


def _conditions(measured: Measured) -> list[Block]:
    """How it was measured, once for every evaluation that is used."""
    made: list[Block] = []
    for quality in {quality.run: quality for _, _, quality in measured}.values():
        rows = [
            ("Evaluated by", Cell(text=f"run {quality.run}, {clock(quality.created)}, {seconds(quality.seconds)}")),
            ("Text", Cell(text=f"{whole(quality.tokens)} tokens in {whole(quality.documents)} documents")),
            ("Window", Cell(text=f"{whole(quality.window)} tokens per forward pass")),
            *condition_rows(quality.conditions),
            ("SHA-256 of the scored token ids", Cell(text=quality.sha256, mono=True)),
        ]
        made += [Heading(text="How quality was measured"), Facts(rows=tuple(rows))]
    return made


def _proof(pair: Numbered) -> list[Block]:
    index, run = pair
    if run.proof is None:
        return [Callout(level=Level.ATTENTION, title=f"{run.label} was not proved")]
    passed = Cell(text="passed", level=Level.DONE)
    failed = Cell(text="failed", level=Level.FAILED)
    return [
        Table(
            columns=(
                Column(title=run.label, series=index, share=1.0),
                Column(title="Result", share=0.4),
                Column(title="What was found", share=2.0),
            ),
            rows=tuple(
                (Cell(text=check.name), passed if check.passed else failed, Cell(text=check.detail))
                for check in run.proof.checks
            ),
            caption=f"Opened again in a fresh process; the proof took {seconds(run.proof.seconds)}.",
            small=True,
        )
    ]
