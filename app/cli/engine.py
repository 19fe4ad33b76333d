"""bitpress engine: list, install, check, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.output import DONE, FAILED, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Name = Annotated[str, typer.Argument(help="vllm.")]

commands = typer.Typer(
    help="Engines that speed is measured in, in environments of their own.",
    invoke_without_command=True,
    no_args_is_help=False,
    rich_markup_mode=None,
)


@commands.callback()
def engines(context: typer.Context, as_json: Json = False) -> int:
    """List the engines and what there is of them."""
    return DONE if context.invoked_subcommand else list_engines(as_json)


@commands.command("list")
def list_engines(as_json: Json = False) -> int:
    """List the engines and what there is of them."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.engines import every_engine

        for found in every_engine(engine.home):
            output.line("engine", **found.model_dump(mode="json"))
            output.say(f"{found.engine:<8} {found.state:<11} {found.said}")
        return DONE

    return serve(output, command)


@commands.command("install")
def install(
    name: Name,
    build: Annotated[
        str, typer.Option("--build", help="auto, gpu or cpu; auto takes gpu where an NVIDIA GPU answers.")
    ] = "auto",
    as_json: Json = False,
) -> int:
    """Make the environment of an engine; the network and several gigabytes of disk are needed."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.engines import install_engine

        marker = await install_engine(engine.home, name, build, told=lambda step, line: output.note(f"{step} ({line})"))
        output.end_bar()
        output.result(marker.model_dump(mode="json"))
        output.say(f"{marker.package} {marker.version} is ready, {marker.bytes / 1e9:.1f} GB.")
        return DONE

    return serve(output, command)


@commands.command("check")
def check(name: Name, as_json: Json = False) -> int:
    """Import the engine in its environment; say versions, problems and what to do."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.engines import check_installed

        found = await check_installed(engine.home, name)
        output.result(found.model_dump(mode="json"))
        for package, version in found.versions.items():
            output.say(f"{package:<20} {version}")
        for problem in found.problems:
            output.say(f"{problem.message} {problem.hint}")
        if found.working:
            output.say(f"{name} works.")
        return DONE if found.working else FAILED

    return serve(output, command)


@commands.command("remove")
def remove(name: Name, as_json: Json = False) -> int:
    """Remove the environment of an engine."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        import asyncio

        from core.engines.environment import Environment
        from core.engines.environment import remove as take_away

        if not await asyncio.to_thread(take_away, Environment.of(name, engine.home)):
            raise BitpressError("engine-missing", f"{name} is not installed.", "There is nothing to remove.")
        output.result({"removed": name})
        output.say(f"{name} is removed.")
        return DONE

    return serve(output, command)
