"""Chapter 7: how far the compressed models are from the original, how sure that is, and the proof of the artifacts."""

from __future__ import annotations

from collections.abc import Sequence

from core.report.blocks import Block, Callout, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.chapters import fidelity_tables, noise
from core.report.chapters.columns import Numbered, in_groups, numbered
from core.report.chapters.conditions import condition_rows
from core.report.chapters.fidelity_tables import Measured
from core.report.charts.divergence import Bucketed, Row, Spread, by_bucket, by_text, distribution
from core.report.data import Level, ReportData
from core.report.wording import clock, nats, percent, seconds, significant, size, whole

MEASURE_QUALITY = "Evaluate the model on the Benchmarks page, or with `bitpress evaluate`, and make the report again."
HOW_TO_READ = (
    "Each model read the same held-out text as the original, token by token. The KL divergence says how far its "
    "expectation of the next token was from the original's: 0 is no difference. Read the mean with its interval first, "
    "then the largest percentiles, which show how it does where it does worst; a figure under the noise floor is no "
    "measurable difference. Between two models that are both near-lossless KL does not tell which one is better."
)
ANCHORS = (
    ("Q8_0", 1.0008, 0.00024, 0.0057, 0.992),
    ("Q5_K_M", 1.0070, 0.0047, 0.120, 0.965),
    ("Q3_K_M", 1.066, 0.051, 1.49, 0.896),
    ("Q3_K_S", 1.203, 0.164, 2.86, 0.817),
)
"""llama.cpp quantization: perplexity ratio, mean KL, its 99.9 % quantile, share of the same top token."""
ANCHORS_FROM = (
    "For comparison: figures published for llama.cpp's quantizations of an 8B model (Watt-Tool-8B-GGUF). Another model "
    "and another text, so they give the order of magnitude and are no limit."
)


def blocks(data: ReportData) -> tuple[Block, ...]:
    """How to read it, every figure with its interval, the noise floor, the charts, the conditions, the proofs."""
    runs = numbered(data)
    measured = [(index, run, run.quality) for index, run in runs if run.quality]
    made: list[Block] = []
    missing = [run.label for _, run in runs if run.quality is None]
    if missing:
        made.append(
            Callout(level=Level.ATTENTION, title=f"Not measured: {', '.join(missing)}", lines=(MEASURE_QUALITY,))
        )
    if measured:
        made += [Paragraph(text=HOW_TO_READ), *noise.callout(measured)]
        for group in in_groups(measured):
            made += fidelity_tables.tables(list(group))
        made += [*_distribution(measured), *noise.table(measured), *_texts(measured)]
        made += [*_buckets(measured, "position"), *_buckets(measured, "confidence"), _anchors(), *_conditions(measured)]
    made.append(Heading(text="Proof of the saved models"))
    for pair in runs:
        made += _proof(pair)
    return tuple(made)


def _distribution(measured: Measured) -> list[Block]:
    """Tokens by their divergence, a few models at a time, so that the curves can be told apart."""
    made: list[Block] = []
    for group in in_groups([one for one in measured if one[2].fidelity.histogram]):
        spreads = [Spread(index, run.label, quality.fidelity.histogram) for index, run, quality in group]
        floor = noise.token_floor([quality for _, _, quality in group])
        said = "; ".join(
            f"{run.label}: half of the tokens below {nats(quality.fidelity.kl.median)} nats, "
            f"99 % below {nats(quality.fidelity.kl.p99)}"
            for _, run, quality in group
        )
        shaded = "" if floor is None else f" Shaded to {nats(floor)} nats, where 99 % of the noise floor's tokens lie."
        made.append(
            Chart(
                svg=distribution(spreads, floor),
                alternative=f"Distribution of KL divergence over tokens, as a histogram and summed up. {said}.",
                caption="How the tokens spread over KL divergence: shares above, summed up below. The further left, "
                f"the closer to the original.{shaded}",
            )
        )
    return made


def _texts(measured: Measured) -> list[Block]:
    names = list(dict.fromkeys(text.text for _, _, quality in measured for text in quality.texts))
    if len(names) < 2:
        return []
    rows = []
    for name in names:
        found = [(index, text) for index, _, quality in measured for text in quality.texts if text.text == name]
        floor = noise.mean_floor([one for _, text in found for one in text.noise])
        rows.append(Row(name, tuple((index, text.fidelity.kl_interval) for index, text in found), floor))
    said = "; ".join(
        f"{run.label}: " + ", ".join(f"{t.text} {nats(t.fidelity.kl_interval.value)}" for t in quality.texts)
        for _, run, quality in measured
    )
    made: list[Block] = [
        Heading(text="Text by text"),
        Chart(
            svg=by_text(rows, [(index, run.label) for index, run, _ in measured]),
            alternative=f"Mean KL divergence on each text, nats per token. {said}.",
            caption="Mean KL divergence with its 95 % interval on each text. One text alone crowns its own domain.",
        ),
    ]
    return [*made, *(_text_table(names, list(group)) for group in in_groups(measured))]


def _text_table(names: Sequence[str], measured: Measured) -> Table:
    rows = []
    for name in names:
        cells = []
        for _, _, quality in measured:
            text = next((one for one in quality.texts if one.text == name), None)
            if text is None:
                cells.append(Cell(text="not measured"))
                continue
            found = text.fidelity
            under = found.measurable is False
            cells.append(
                Cell(
                    text=nats(found.kl_interval.value),
                    note="no measurable difference"
                    if under
                    else f"same token {percent(found.same_top1.value)}, perplexity × "
                    f"{significant(found.perplexity_ratio.value, 4)}",
                )
            )
        tokens = next((one.tokens for _, _, q in measured for one in q.texts if one.text == name), 0)
        rows.append((Cell(text=name, note=f"{whole(tokens)} tokens"), *cells))
    return Table(columns=fidelity_tables.columns("Mean KL by text, nats", measured), rows=tuple(rows))


def _buckets(measured: Measured, kind: str) -> list[Block]:
    found = [
        Bucketed(index, run.label, q.fidelity.by_position if kind == "position" else q.fidelity.by_confidence)
        for index, run, q in measured
    ]
    models = [one for one in found if one.buckets]
    if not models:
        return []
    titles = {
        "position": ("By position in the text", "Whether it gets worse the more text stands before a token."),
        "confidence": (
            "By the original's confidence",
            "Where the original is sure, a divergence changes the answer; where it is not, several tokens would do.",
        ),
    }
    said = "; ".join(
        f"{one.label}: {nats(one.buckets[0].kl.value)} in the first, {nats(one.buckets[-1].kl.value)} in the last"
        for one in models
    )
    made: list[Block] = [Heading(text=titles[kind][0])]
    for group in in_groups(models):
        made.append(
            Chart(
                svg=by_bucket(group, kind),
                alternative=f"{titles[kind][0]}: mean KL divergence and share of the same token by bucket. {said}.",
                caption=f"{titles[kind][1]} The thin lines are 95 % intervals.",
            )
        )
    return made


def _anchors() -> Table:
    return Table(
        columns=(
            Column(title="Published elsewhere", share=1.4),
            Column(title="Perplexity ratio", figures=True),
            Column(title="Mean KL, nats", figures=True),
            Column(title="99.9 % of KL below", figures=True),
            Column(title="Same likeliest token", figures=True),
        ),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=significant(ratio, 4)),
                Cell(text=significant(kl, 2)),
                Cell(text=significant(tail, 3)),
                Cell(text=percent(same)),
            )
            for name, ratio, kl, tail, same in ANCHORS
        ),
        caption=ANCHORS_FROM,
        small=True,
    )


def _conditions(measured: Measured) -> list[Block]:
    """How it was measured, once for every evaluation that is used."""
    made: list[Block] = []
    for quality in {quality.run: quality for _, _, quality in measured}.values():
        rows = [
            ("Evaluated by", Cell(text=f"run {quality.run}, {clock(quality.created)}, {seconds(quality.seconds)}")),
            ("Text", Cell(text=f"{whole(quality.tokens)} tokens in {whole(quality.documents)} documents")),
            ("Window", Cell(text=f"{whole(quality.window)} tokens per forward pass")),
            ("Intervals", Cell(text="95 %, paired bootstrap over documents")),
            *condition_rows(quality.conditions),
            ("SHA-256 of the scored token ids", Cell(text=quality.sha256, mono=True)),
        ]
        if quality.reference_bytes:
            kept = f"{size(quality.reference_bytes)} kept on disk for the next evaluation"
            reused = "computed by an earlier evaluation, " if quality.reference_reused else ""
            rows.append(("The original's part", Cell(text=f"{reused}{kept}")))
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
