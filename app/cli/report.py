"""bitpress report: a report over runs and everything measured of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine


def report(
    runs: Annotated[list[int], typer.Argument(help="Runs that the report covers.")],
    output_file: Annotated[
        Path,
        typer.Option(
            "--output",
            help="FILE.pdf, .html, .json, .md, .csv (a line for each figure) or .models.csv (for each model)",
        ),
    ],
    gate: Annotated[
        str | None,
        typer.Option("--gate", help="A gate that every model is held against: one of `bitpress gates`, or a file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Write a report over compression runs and everything measured of their artifacts."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.measure.gate_store import find_gate
        from core.report.collect import collect
        from core.report.export import export, writer

        writer(output_file)
        wanted = find_gate(engine.home, gate) if gate else None
        export(collect(runs, engine.store, engine.home, gate=wanted), output_file.absolute())
        output.result({"output": str(output_file.absolute())})
        output.say(str(output_file.absolute()))
        return DONE

    return serve(output, command)
