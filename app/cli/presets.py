"""bitpress presets: named recipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from app.cli.asked import Asked, asked_document
from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from app.installed_version import installed_version
from core.errors import BitpressError
from core.methods.presets import (
    Preset,
    export_preset,
    find_preset,
    import_preset,
    presets,
    remove_preset,
    rename_preset,
    save_preset,
)
from core.methods.recipe_document import RecipeDocument, document_text
from core.paths import Home

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Name = Annotated[str, typer.Argument(help="A preset's name.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of one that has the name.")]

Action = Callable[[Home], Preset]

commands = typer.Typer(help="List, save and exchange named recipes.", rich_markup_mode=None)


@commands.callback(invoke_without_command=True)
def list_unless_told(context: typer.Context, as_json: Json = False) -> int | None:
    """List, save and exchange named recipes."""
    return list_presets(as_json) if context.invoked_subcommand is None else None


@commands.command("list")
def list_presets(as_json: Json = False) -> int:
    """List the presets that come with Bitpress, then one's own."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        for preset in presets(engine.home):
            output.line("preset", **_told(preset))
            state = preset.document.method if preset.document is not None else f"cannot be used: {preset.problem}"
            origin = "built in" if preset.built_in else ""
            output.say(f"{preset.name:<32} {state:<24} {origin}".rstrip())
            if preset.description:
                output.say(f"    {preset.description}")
        return DONE

    return serve(output, command)


@commands.command("save")
def save(
    *,
    name: Name,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe as YAML.")] = None,
    run: Annotated[int | None, typer.Option("--run", help="A run whose recipe is kept.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="An entry of `bitpress methods`.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A parameter, as NAME=VALUE.")] = None,
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    replace: Replace = False,
    as_json: Json = False,
) -> int:
    """Keep a recipe under a name. What it leaves out follows the model that it is used on."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        if run is not None:
            document = _of_run(engine, run)
        else:
            asked = Asked(method=method, recipe=recipe, settings=tuple(settings or ()))
            document = asked_document(asked, engine.home)
        kept = save_preset(
            engine.home,
            name,
            document,
            description=description,
            app_version=installed_version(),
            replace=replace,
        )
        return _done(output, kept, f"Saved {kept.name}.")

    return serve(output, command)


@commands.command("show")
def show(name: Name, as_json: Json = False) -> int:
    """Write a preset's recipe as YAML."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        preset = find_preset(engine.home, name)
        output.result(_told(preset))
        if preset.document is not None:
            output.verbatim(document_text(preset.document))
        return DONE

    return serve(output, command)


@commands.command("rename")
def rename(name: Name, new: Annotated[str, typer.Argument(help="Its new name.")], as_json: Json = False) -> int:
    """Give a preset another name."""
    return _change(as_json, lambda home: rename_preset(home, name, new), "Renamed to {}.")


@commands.command("remove")
def remove(name: Name, as_json: Json = False) -> int:
    """Delete a preset."""
    return _change(as_json, lambda home: remove_preset(home, name), "Removed {}.")


@commands.command("import")
def take(
    file: Annotated[Path, typer.Argument(help="A preset or a recipe as YAML.")],
    name: Annotated[str, typer.Option("--name", help="Another name than the file's.")] = "",
    replace: Replace = False,
    as_json: Json = False,
) -> int:
    """Keep the preset, or the recipe, that is in a file."""
    return _change(as_json, lambda home: import_preset(home, file, name=name, replace=replace), "Imported {}.")


@commands.command("export")
def give(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    replace: Replace = False,
    as_json: Json = False,
) -> int:
    """Write a preset to a file, for another machine."""

    def exported(home: Home) -> Preset:
        export_preset(home, name, file, replace=replace)
        return find_preset(home, name)

    return _change(as_json, exported, f"Wrote {{}} to {file}.")


def _change(as_json: bool, action: Action, said: str) -> int:
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        preset = action(engine.home)
        return _done(output, preset, said.replace("{}", preset.name))

    return serve(output, command)


def _done(output: Output, preset: Preset, said: str) -> int:
    output.result(_told(preset))
    output.say(said)
    return DONE


def _told(preset: Preset) -> dict[str, object]:
    return preset.model_dump(mode="json") | {"method": preset.document.method if preset.document else None}


def _of_run(engine: Engine, identity: int) -> RecipeDocument:
    from core.jobs.run import RunKind
    from core.plan.history import recipe_of

    run = engine.store.get(identity)
    recipe = recipe_of(run) if run.kind is RunKind.COMPRESS else None
    if recipe is None:
        raise BitpressError("no-recipe", f"Run {identity} holds no recipe.", "Name a run that compressed a model.")
    return RecipeDocument.of(recipe)
