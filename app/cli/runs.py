"""bitpress runs, show, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError
from core.jobs.run import Run, RunKind

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def list_runs(as_json: Json = False) -> int:
    """List the kept runs, newest first."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        for run in engine.store.runs():
            output.line("run", **run.model_dump(mode="json"))
            state = run.reason or run.phase
            output.say(f"{run.id:>5}  {run.created:%Y-%m-%d %H:%M}  {state:<10} {run.title:<28} {run.model_name}")
        return DONE

    return serve(output, command)


Script = Annotated[
    bool, typer.Option("--script", help="Write the Python script that repeats it with llmcompressor alone.")
]
RecipeOnly = Annotated[bool, typer.Option("--recipe", help="Write its recipe as YAML, for `compress --recipe`.")]


def show(
    run: Annotated[int, typer.Argument(help="A run's number.")],
    script: Script = False,
    recipe: RecipeOnly = False,
    as_json: Json = False,
) -> int:
    """Show everything that is kept of one run."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        import json

        from core.jobs.journal import kept_snapshot
        from core.plan.predicted import predicted
        from core.telemetry.recording import read_samples

        kept = engine.store.get(run)
        folder = engine.home.run_folder(run)
        if script or recipe:
            text = _script(kept, folder) if script else _recipe(kept)
            output.result({"run": run, "script" if script else "document": text})
            output.verbatim(text)
            return DONE
        rows = predicted(kept, read_samples(folder))
        kept_state = kept_snapshot(kept, folder)
        guards = {"memory_limit": kept_state.memory_limit, "awake": kept_state.awake}
        fields = {"folder": str(folder), "predicted": [row.model_dump(mode="json") for row in rows], **guards}
        output.result({**kept.model_dump(mode="json"), **fields})
        output.say(json.dumps(kept.model_dump(mode="json"), indent=1, ensure_ascii=False))
        for row in rows:
            span = f"{row.predicted.low:,.0f} to {row.predicted.high:,.0f}"
            unit = "s" if row.unit == "seconds" else "bytes"
            judged = "inside" if row.inside else "outside"
            output.say(f"{row.title:<18} expected {span} {unit}, was {row.actual:,.0f}: {judged}")
        if kept_state.memory_limit:
            output.say(f"Memory limit {kept_state.memory_limit}.")
        if kept_state.awake:
            output.say(f"Sleep: {kept_state.awake}.")
        output.say(f"Log, events and telemetry: {folder}")
        return DONE

    return serve(output, command)


def _script(run: Run, folder: Path) -> str:
    from core.report.reproduce import python_script

    if text := python_script(run, folder, embed=True):
        return text
    raise _not_pressed(run)


def _recipe(run: Run) -> str:
    from core.methods.recipe_document import recipe_text
    from core.plan.history import recipe_of

    recipe = recipe_of(run) if run.kind is RunKind.COMPRESS else None
    if recipe is None:
        raise _not_pressed(run)
    return recipe_text(recipe)


def _not_pressed(run: Run) -> BitpressError:
    return BitpressError(
        "no-recipe",
        f"Run {run.id} holds no recipe that this version can repeat.",
        "Name a run that compressed a model; `bitpress runs` lists them.",
    )
