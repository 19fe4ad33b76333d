"""Chapter 8: what the machine did while the model was compressed."""

from __future__ import annotations

from collections.abc import Sequence

from core.report.blocks import Block, Cell, Chart, Column, Heading, Paragraph, Table
from core.report.chapters.columns import Numbered, groups, in_brief, numbered
from core.report.charts.telemetry import telemetry_chart
from core.report.data import Device, ReportData, Series, Telemetry
from core.report.wording import counted, memory, seconds, significant, whole

NO_GPU = "No NVIDIA GPU was read during this run: the curves are of the processor and its memory."


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Every run in turn, as curves; of many runs the peaks and the times of the stages, beside each other."""
    if in_brief(data):
        return tuple(_peak_table(group) for group in groups(data))
    return tuple(block for pair in numbered(data) for block in _one(pair))


def _one(pair: Numbered) -> list[Block]:
    index, run = pair
    made: list[Block] = [Heading(text=run.label, series=index)]
    telemetry = run.telemetry
    if telemetry is None:
        return [*made, Paragraph(text="Nothing was recorded during this run.")]
    if len(telemetry.devices) == 1:
        made.append(Paragraph(text=NO_GPU))
    readings = f"{counted(telemetry.samples, 'reading')} over {seconds(telemetry.seconds)}"
    for device in telemetry.devices:
        made.append(
            Chart(
                svg=telemetry_chart(telemetry, device),
                alternative=f"Curves of {device.name} over {seconds(telemetry.seconds)}: {_peaks(device)}.",
                caption=f"{device.name}, {readings}. The bands are the stages, numbered as in the table below.",
            )
        )
    if telemetry.stages:
        made.append(_stages(telemetry))
    if telemetry.devices:
        made.append(_devices(telemetry))
    return made


def _peak_table(runs: Sequence[Numbered]) -> Table:
    """The highest reading of every curve and the time of every stage, a column for each run."""
    found = [_readings(run.telemetry) for _, run in runs]
    titles = list(dict.fromkeys(title for readings in found for title in readings))
    return Table(
        columns=(
            Column(title="Highest reading, time of a stage", share=2.0),
            *(Column(title=run.label, figures=True, series=index) for index, run in runs),
        ),
        rows=tuple(
            (Cell(text=title), *(Cell(text=readings.get(title, "not recorded")) for readings in found))
            for title in titles
        ),
        small=True,
    )


def _readings(telemetry: Telemetry | None) -> dict[str, str]:
    if telemetry is None:
        return {}
    said = {}
    for device in telemetry.devices:
        for curve in device.series:
            said[f"{device.name}: {curve.name.lower()}"] = _figure(curve, curve.peak)
        if device.energy_joules is not None:
            said[f"{device.name}: energy, idle included"] = f"{significant(device.energy_joules / 3600, 3)} Wh"
    for stage in telemetry.stages:
        if stage.end is not None:
            said[f"Stage: {stage.title.lower()}"] = seconds(stage.end - stage.start)
    return said


def _peaks(device: Device) -> str:
    return ", ".join(f"{curve.name.lower()} at most {_figure(curve, curve.peak)}" for curve in device.series)


def _figure(curve: Series, value: float | None) -> str:
    if value is None:
        return "unknown"
    match curve.unit:
        case "bytes":
            return memory(value)
        case "watts":
            return f"{whole(value)} W"
        case "celsius":
            return f"{whole(value)} °C"
        case _:
            return f"{whole(value)} %"


def _stages(telemetry: Telemetry) -> Table:
    def took(start: float, end: float | None) -> Cell:
        return Cell(text="not finished" if end is None else seconds(end - start))

    return Table(
        columns=(
            Column(title="", figures=True, share=0.15),
            Column(title="Stage", share=2.0),
            Column(title="Began after", figures=True),
            Column(title="Took", figures=True),
        ),
        rows=tuple(
            (
                Cell(text=str(number)),
                Cell(text=stage.title),
                Cell(text=seconds(max(0.0, stage.start))),
                took(stage.start, stage.end),
            )
            for number, stage in enumerate(telemetry.stages, 1)
        ),
        small=True,
    )


def _devices(telemetry: Telemetry) -> Table:
    rows = []
    for device in telemetry.devices:
        name = Cell(text=device.name)
        for curve in device.series:
            limit = "" if curve.limit is None or curve.unit == "percent" else f"of {_figure(curve, curve.limit)}"
            rows.append((name, Cell(text=curve.name), Cell(text=_figure(curve, curve.peak), note=limit)))
            name = Cell(text="")
        if device.energy_joules is not None:
            energy = f"{significant(device.energy_joules / 3600, 3)} Wh"
            rows.append((name, Cell(text="Energy of the board, idle included"), Cell(text=energy)))
    return Table(
        columns=(
            Column(title="Device", share=1.2),
            Column(title="Reading", share=1.4),
            Column(title="Highest", figures=True),
        ),
        rows=tuple(rows),
        small=True,
    )
