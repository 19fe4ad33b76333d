"""Chapter 9: versions, machine and hashes."""

from __future__ import annotations

from core.report.blocks import Block, Callout, Cell, Column, Facts, Heading, Table
from core.report.chapters.columns import groups, numbered
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
    for runs in groups(data):
        names = sorted({name for _, run in runs for name in run.versions})
        if names:
            made.append(
                Table(
                    columns=(
                        Column(title="Library", share=1.2),
                        *(Column(title=run.label, series=index) for index, run in runs),
                    ),
                    rows=tuple(
                        (Cell(text=name), *(Cell(text=run.versions.get(name, "–")) for _, run in runs))
                        for name in names
                    ),
                    small=True,
                )
            )
    for index, run in numbered(data):
        made += [Heading(text=run.label, series=index), Facts(rows=tuple(_facts(run)))]
        if run.problem:
            made.append(Callout(level=Level.FAILED, title=run.problem.message, lines=(run.problem.hint,)))
        if run.warnings:
            made.append(Callout(level=Level.ATTENTION, title="Warnings during the run", lines=run.warnings))
    return tuple(made)


def _facts(run: RunReport) -> list[tuple[str, Cell]]:
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
    return rows
