"""The command line's commands, gathered; each lives in the file of its subject."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from app.cli import compress, demo, measure, models, runs
from app.cli.output import WRONG_USAGE

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
app.command("import")(models.import_model)
app.command("methods")(compress.list_methods)
app.command("plan")(compress.plan)
app.command("compress")(compress.compress)
app.command("prove")(compress.prove)
app.command("evaluate")(measure.evaluate)
app.command("bench")(measure.bench)
app.command("generate")(measure.generate)
app.command("sweep")(measure.sweep)
app.command("runs")(runs.list_runs)
app.command("show")(runs.show)
app.command("report")(runs.report)
app.command("demo")(demo.demo)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Compress language models on your own machine, and know what it cost them."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"bitpress {installed('bitpress')}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit status of the design."""
    import click

    try:
        status = app(list(arguments), standalone_mode=False)
    except click.UsageError as error:
        error.show(file=sys.stderr)
        return WRONG_USAGE
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0
