"""bitpress report: a report over runs and everything measured of them, or over a whole sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError
from core.measure.sweep_values import RowState

if TYPE_CHECKING:
    from core.jobs.sweep_store import SweepRecord


def report(
    *,
    runs: Annotated[
        list[int] | None, typer.Argument(help="Runs that the report covers; with --sweep, those of the sweep.")
    ] = None,
    output_file: Annotated[
        Path,
        typer.Option(
            "--output",
            help="FILE.pdf, .html, .json, .md, .csv (a line for each figure) or .models.csv (for each model)",
        ),
    ],
    gate: Annotated[
        str | None, typer.Option("--gate", help="A gate that every model is held against: `bitpress gates`, or a file.")
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Number of a sweep whose matrix and charts the report shows.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Write a report over compression runs and everything measured of their artifacts."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.jobs.sweep_store import SweepStore
        from core.measure.gate_store import find_gate
        from core.report.collect import collect
        from core.report.export import export, writer

        writer(output_file)
        kept = SweepStore(engine.home).get(sweep) if sweep else None
        wanted = find_gate(engine.home, gate) if gate else kept.plan.gate if kept else None
        chosen = _runs(runs or (), kept)
        data = collect(chosen, engine.store, engine.home, gate=wanted, sweep=kept.result if kept else None)
        export(data, output_file.absolute())
        output.result({"output": str(output_file.absolute())})
        output.say(str(output_file.absolute()))
        return DONE

    return serve(output, command)


def _runs(asked: Sequence[int], kept: SweepRecord | None) -> list[int]:
    """The runs that were named, else what the sweep pressed, measured by its own runs."""
    if asked:
        return list(asked)
    if kept is None:
        raise BitpressError(
            "wrong-usage", "No run is named.", "`bitpress report RUN… --output FILE`, or --sweep NUMBER."
        )
    pressed = (RowState.COMPRESSED, RowState.MEASURED)
    made = [row.run for row in kept.result.rows if row.run is not None and row.state in pressed]
    measured = [run for run in (kept.result.evaluation, kept.result.benchmark) if run is not None]
    if not made:
        raise BitpressError(
            "nothing-to-report",
            f"Sweep {kept.id} has pressed no model yet.",
            "Let it go on: `bitpress sweep --resume`.",
        )
    return [*made, *measured]
