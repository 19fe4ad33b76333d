"""Chapter 7: the same prompt, answered by original and compressed."""

from __future__ import annotations

from core.measure.results import Sampling
from core.report.blocks import Answer, Answers, Block, Callout, Paragraph, Quote
from core.report.chapters.columns import Numbered, numbered
from core.report.data import Level, ReportData, SideBySide, SideText
from core.report.wording import clock, counted, memory, milliseconds, rate

MEASURE = "Ask both on the Compare page, or with `bitpress generate`, and make the report again."
ENDS = {"end": "ended by itself", "length": "stopped at the limit", "cancelled": "stopped by hand"}
IN_A_ROW = 3
"""Answers beside each other on one page."""


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Every comparison in turn."""
    made = [block for comparison in data.comparisons for block in _one(data, comparison)]
    compared = {side.run for comparison in data.comparisons for side in comparison.outputs}
    missing = [(index, run) for index, run in numbered(data) if run.id not in compared]
    if missing:
        names = ", ".join(run.label for _, run in missing)
        made.append(Callout(level=Level.ATTENTION, title=f"No prompt was compared: {names}", lines=(MEASURE,)))
    return (*made, *(block for pair in missing for block in _from_the_proof(pair)))


def _from_the_proof(pair: Numbered) -> list[Block]:
    """What both models generated when the artifact was proved, where nothing better is there."""
    index, run = pair
    if run.proof is None or not (run.proof.text and run.proof.original_text):
        return []
    return [
        Paragraph(text=f"What both generated in the proof of {run.label}:"),
        Answers(
            answers=(
                Answer(title="Original", series=0, same=run.proof.original_text),
                Answer(title=run.label, series=index, same=run.proof.text),
            )
        ),
    ]


def _one(data: ReportData, comparison: SideBySide) -> list[Block]:
    places = {run.id: index for index, run in enumerate(data.runs, 1)}
    labels = {run.id: run.label for run in data.runs}
    answers = [
        Answer(
            title="Original" if side.run is None else labels[side.run],
            series=0 if side.run is None else places[side.run],
            same=side.same,
            mark=side.mark,
            rest=side.rest,
            lines=tuple(_lines(side)),
        )
        for side in comparison.outputs
    ]
    rows = [answers] if len(answers) <= IN_A_ROW else [answers[i : i + 2] for i in range(0, len(answers), 2)]
    conditions = comparison.outputs[0].conditions
    return [
        Quote(label="Prompt", text=comparison.prompt),
        *(Answers(answers=tuple(row)) for row in rows),
        Paragraph(
            text=f"Run {comparison.run}, {clock(comparison.created)}; {_sampling(comparison.sampling)}; "
            f"{conditions.engine} {conditions.engine_version} on {conditions.device}, {conditions.dtype}. "
            "The first token that differs from the original's is marked. One prompt proves nothing: the figures on "
            "quality do.",
            quiet=True,
        ),
    ]


def _lines(side: SideText) -> list[str]:
    if side.run is None:
        first = []
    elif side.first_difference is None:
        first = ["the same tokens as the original"]
    else:
        first = [f"parts from the original at token {side.first_difference + 1}"]
    ended = ENDS.get(side.stopped, side.stopped)
    return [
        *first,
        f"{counted(side.tokens, 'token')}, {ended}",
        f"first token after {milliseconds(side.ttft_ms)}, {rate(side.tokens_per_second)} tokens per second",
        f"peak memory {memory(side.peak_bytes)}",
    ]


def _sampling(sampling: Sampling) -> str:
    chosen = (
        "greedy"
        if sampling.temperature == 0
        else f"temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, top-k {sampling.top_k}, "
        f"seed {sampling.seed}"
    )
    template = "with the chat template" if sampling.chat else "without a chat template"
    return f"{chosen}, at most {counted(sampling.max_tokens, 'token')}, {template}"
