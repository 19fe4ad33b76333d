"""Chapter 4: which text the method looked at."""

from __future__ import annotations

from core.calibration.spec import BUILT_IN, SELF_CHAT, CalibrationFacts
from core.report.blocks import Block, Cell, Facts, Heading, Paragraph
from core.report.chapters.columns import numbered
from core.report.data import ReportData, RunReport
from core.report.wording import counted, percent, whole


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Every run's data, or that it used none; runs that looked at the same text share it."""
    made: list[Block] = []
    for index, run in numbered(data):
        if run.calibration and any(run.calibration == before.calibration for before in data.runs[: index - 1]):
            continue
        same = [other for other in data.runs[index:] if run.calibration and other.calibration == run.calibration]
        made.append(Heading(text=", ".join(one.label for one in (run, *same)), series=None if same else index))
        if run.calibration is None:
            made.append(Paragraph(text=_none(run)))
        else:
            made.append(Paragraph(text=_source(run.calibration)))
            made.append(Facts(rows=tuple(_facts(run.calibration))))
    return tuple(made)


def _none(run: RunReport) -> str:
    if run.method.needs_calibration:
        return "The run kept no facts about its calibration data."
    return "This method needs no calibration data: it looks at the weights alone."


def _source(facts: CalibrationFacts) -> str:
    if facts.source == SELF_CHAT:
        return (
            "Bitpress's own prompts, answered by the original model itself and rendered with its chat template. "
            "The texts that quality is measured on are never among them."
        )
    if facts.source == BUILT_IN:
        return "Bitpress's own prompts without answers, rendered with the model's chat template."
    if facts.parts:
        return (
            f"A mix of {counted(len(facts.parts), 'source')}, drawn by weight and rendered with the model's chat "
            "template where it holds conversations."
        )
    if facts.sets:
        return "A kept set of samples, rendered with the model's chat template where it holds conversations."
    return "The user's own data, rendered with the model's chat template where it holds conversations."


def _facts(facts: CalibrationFacts) -> list[tuple[str, Cell]]:
    mean = facts.tokens / facts.samples if facts.samples else 0
    rows = [
        ("Source", Cell(text=facts.source, mono=facts.source != SELF_CHAT)),
        ("Samples", Cell(text=whole(facts.samples))),
        ("Tokens", Cell(text=whole(facts.tokens))),
        (
            "Length of a sample",
            Cell(text=f"{whole(mean)} tokens on average, {whole(facts.shortest)} to {whole(facts.longest)}"),
        ),
        ("Longest allowed", Cell(text=f"{whole(facts.max_length)} tokens")),
        (
            "Cut at that length",
            Cell(text=f"{counted(facts.truncated, 'sample')} ({percent(facts.truncated / max(1, facts.samples), 0)})"),
        ),
        ("Seed", Cell(text=str(facts.seed))),
        ("SHA-256 of the token ids", Cell(text=facts.sha256, mono=True)),
    ]
    rows += [
        (
            f"Part {number}",
            Cell(text=f"{part.source}: {counted(part.samples, 'sample')}, {whole(part.tokens)} tokens", mono=True),
        )
        for number, part in enumerate(facts.parts, 1)
    ]
    rows += [(f"SHA-256 of the set {one.name}", Cell(text=one.sha256, mono=True)) for one in facts.sets]
    if facts.files:
        rows.append(("Files", Cell(text="\n".join(facts.files), mono=True)))
    return rows
