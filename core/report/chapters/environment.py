"""Chapter 9: versions, machine and hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.report.blocks import Block, Callout, Cell, Column, Facts, Heading, Table
from core.report.chapters.columns import Numbered, groups, in_brief, numbered
from core.report.data import Level, ReportData, RunReport
from core.report.wording import clock, memory


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Versions run by run, what the machine was, and every hash."""
    made: list[Block] = [
        Facts(
            rows=(
                ("Report made", Cell(text=clock(data.created))),
                ("Bitpress", Cell(text=data.bitpress_version or "not installed as a package")),
            )
        )
    ]
    for runs in _columns(data):
        names = sorted({name for _, run in runs for name in run.versions})
        if names:
            made.append(
                Table(
                    columns=(
                        Column(title="Library", share=1.2),
                        *(_titled(data, runs, pair) for pair in runs),
                    ),
                    rows=tuple(
                        (Cell(text=name), *(Cell(text=run.versions.get(name, "–")) for _, run in runs))
                        for name in names
                    ),
                    small=True,
                )
            )
    for index, run in numbered(data):
        made += [Heading(text=run.label, series=index), Facts(rows=tuple(_facts(run, warned=in_brief(data))))]
        if run.problem:
            made.append(Callout(level=Level.FAILED, title=run.problem.message, lines=(run.problem.hint,)))
        if run.warnings and not in_brief(data):
            made.append(Callout(level=Level.ATTENTION, title="Warnings during the run", lines=run.warnings))
    return tuple(made)


def _columns(data: ReportData) -> Iterator[Sequence[Numbered]]:
    """The runs whose versions stand beside each other; the first alone where all have the same."""
    if all(run.versions == data.runs[0].versions for run in data.runs):
        yield numbered(data)[:1]
    else:
        yield from groups(data)


def _titled(data: ReportData, runs: Sequence[Numbered], pair: Numbered) -> Column:
    """The column of a run, or of all where one stands for all."""
    index, run = pair
    alone = len(runs) == 1 and len(data.runs) > 1 and data.runs[0].versions == data.runs[-1].versions
    return Column(title="All runs") if alone else Column(title=run.label, series=index)


def _facts(run: RunReport, *, warned: bool) -> list[tuple[str, Cell]]:
    rows = [("Run", Cell(text=f"{run.id}, {clock(run.created)}"))]
    if run.telemetry and run.telemetry.devices:
        for device in run.telemetry.devices:
            total = next((curve.limit for curve in device.series if curve.unit == "bytes" and curve.limit), None)
            held = f", {memory(total)} of memory" if total else ""
            rows.append(("Machine", Cell(text=f"{device.name}{held}")))
    rows += [(f"SHA-256, {digest.name}", Cell(text=digest.sha256, mono=True)) for digest in run.hashes]
    if run.calibration:
        rows.append(("SHA-256, calibration tokens", Cell(text=run.calibration.sha256, mono=True)))
    if run.quality:
        rows.append(("SHA-256, evaluation tokens", Cell(text=run.quality.sha256, mono=True)))
    rows += [("Warning", Cell(text=warning)) for warning in run.warnings if warned]
    return rows
