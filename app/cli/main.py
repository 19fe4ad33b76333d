"""The command line's commands, gathered; each lives in the file of its subject."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

import typer

from app.cli import (
    advise,
    calibration,
    clean,
    compress,
    consents,
    demo,
    deploy,
    doctor,
    engine,
    export,
    gates,
    measure,
    models,
    presets,
    queue,
    recover,
    report,
    runs,
    sensitivity,
    sweep,
    tasks,
    texts,
)
from app.cli.output import CANCELLED, DONE, WRONG_USAGE, Output
from app.installed_version import installed_version
from core.errors import Problem

USAGE_ERROR: Any = typer.BadParameter.__base__
"""What a parser raises for every kind of wrong usage: click's class, or typer's own copy of it, by its version."""

app = typer.Typer(
    name="bitpress",
    help="Compress language models, and know what it cost them. Without a command, the window opens.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command("models")(models.list_models)
app.command("inspect")(models.inspect_model)
app.command("consents")(consents.consents)
app.command("import")(models.import_model)
app.command("methods")(compress.list_methods)
app.command("plan")(compress.plan)
app.command("advise")(advise.advise)
app.command("compress")(compress.compress)
app.command("recover")(recover.recover)
app.command("prove")(compress.prove)
app.command("export")(export.export)
app.command("evaluate")(measure.evaluate)
app.command("bench")(measure.bench)
app.command("tasks")(tasks.list_tasks)
app.command("generate")(measure.generate)
app.command("sweep")(sweep.sweep)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("deploy")(deploy.deploy)
app.command("runs")(runs.list_runs)
app.command("show")(runs.show)
app.command("report")(report.report)
app.add_typer(queue.commands, name="queue")
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)
app.add_typer(gates.commands, name="gates")
app.add_typer(presets.commands, name="presets")
app.command("demo")(demo.demo)
app.add_typer(calibration.app, name="calibration")
app.add_typer(engine.commands, name="engine")
app.add_typer(texts.commands, name="texts")


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Compress language models on your own machine, and know what it cost them."""
    if version:
        typer.echo(f"bitpress {installed_version() or '(not installed)'}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit status of the design."""
    as_json = "--json" in arguments
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show, or a name that is no text, must not end a job.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8" if as_json else None, errors="backslashreplace")
    try:
        status = app(list(arguments), standalone_mode=False, prog_name="bitpress")
    except USAGE_ERROR as error:
        if as_json:
            hint = f"`{error.ctx.command_path if error.ctx else 'bitpress'} --help` shows how it is used."
            Output(as_json).problem(Problem(code="wrong-usage", message=error.format_message(), hint=hint))
        else:
            error.show(file=sys.stderr)
        return WRONG_USAGE
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return CANCELLED
    return status if isinstance(status, int) else DONE
