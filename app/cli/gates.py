"""bitpress gates: named sets of thresholds that decide whether a compressed model is good enough."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Name = Annotated[str, typer.Argument(help="A gate's name, or a YAML file.")]

commands = typer.Typer(help="List and add gates: when a compressed model is good enough.", rich_markup_mode=None)


@commands.callback(invoke_without_command=True)
def list_unless_told(context: typer.Context, as_json: Json = False) -> int | None:
    """List and add gates: when a compressed model is good enough."""
    return list_gates(as_json) if context.invoked_subcommand is None else None


@commands.command("list")
def list_gates(as_json: Json = False) -> int:
    """List the gates that come with Bitpress, then one's own."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.measure.gate_store import gates
        from core.measure.judgement import threshold_words

        for one in gates(engine.home):
            output.line("gate", **one.model_dump(mode="json"))
            origin = "built in" if one.built_in else ""
            output.say(f"{one.name:<24} {one.gate.title if one.gate else 'cannot be used'}  {origin}".rstrip())
            if one.gate is None:
                output.say(f"    {one.problem}")
            for threshold in one.gate.thresholds if one.gate else ():
                output.say(f"    {threshold_words(threshold)}")
        return DONE

    return serve(output, command)


@commands.command("figures")
def list_figures(as_json: Json = False) -> int:
    """List the figures that a gate can ask for."""
    from core.measure.figures import FIGURES

    output = Output(as_json)
    for figure in FIGURES.values():
        side = "at_most" if figure.less else "at_least"
        output.line("figure", name=figure.name, title=figure.title, measured_on=str(figure.scope), usual=side)
        output.say(f"{figure.name:<26} {figure.title} (by {figure.scope}; usually {side})")
    output.say("A text or task before it, as `code:kl.mean`, asks for that one alone; `each:kl.mean` for every text.")
    return DONE


@commands.command("show")
def show(name: Name, as_json: Json = False) -> int:
    """Write a gate as YAML."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.measure.gate_document import gate_text
        from core.measure.gate_store import find_gate

        gate = find_gate(engine.home, name)
        output.result(gate.model_dump(mode="json"))
        output.verbatim(gate_text(gate))
        return DONE

    return serve(output, command)


@commands.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="A gate as YAML.")],
    name: Annotated[str, typer.Option("--name", help="Another name than the file's.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of one that has the name.")] = False,
    as_json: Json = False,
) -> int:
    """Keep a gate under its name."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.measure.gate_store import add_gate

        gate = add_gate(engine.home, file, name=name, replace=replace)
        output.result(gate.model_dump(mode="json"))
        output.say(f"Added {gate.name}: `--gate {gate.name}` uses it.")
        return DONE

    return serve(output, command)


@commands.command("remove")
def remove(name: Annotated[str, typer.Argument(help="A gate of one's own.")], as_json: Json = False) -> int:
    """Delete a gate of one's own."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.measure.gate_store import remove_gate

        removed = remove_gate(engine.home, name)
        output.result({"name": removed})
        output.say(f"Removed {removed}.")
        return DONE

    return serve(output, command)
