"""bitpress clean."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import DONE, FAILED, Output
from app.cli.session import told_problem
from core.errors import BitpressError
from core.paths import Home

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def clean(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND]...",
            help="staging, checkpoints, unproved, caches, engines, previews, logs; without one, all.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: Json = False,
) -> int:
    """Show what may go, and remove it when you say so. Proved artifacts, and what a job uses, always stay."""
    output = Output(as_json)
    try:
        return _clean(output, kinds or [], yes)
    except BitpressError as error:
        return told_problem(output, error.problem)


def _clean(output: Output, kinds: list[str], yes: bool) -> int:
    # Without the engine, which writes to the store at its start: this is for a disk that is full.
    from core.care.known_runs import known_runs
    from core.care.leftovers import WORDS, Ground, Kind, ground, leftovers
    from core.care.removal import remove
    from core.plan.words import size
    from core.settings import load_settings

    unknown = [name for name in kinds if name not in list(Kind)]
    if unknown:
        raise BitpressError(
            "wrong-usage", f"There is no kind of leftovers {unknown[0]!r}.", f"The kinds are {', '.join(Kind)}."
        )
    wanted = tuple(Kind(name) for name in dict.fromkeys(kinds)) or tuple(Kind)
    home = Home.from_environment()
    artifacts: Path | None = load_settings(home.settings_file).artifacts_folder

    def look() -> Ground:
        return ground(home, () if artifacts is None else (artifacts,), known_runs(home.store_file))

    where = look()
    if where.runs is None:
        output.say(
            "The list of runs cannot be read, so nothing is listed that a run may own. `bitpress doctor` says why."
        )
    elif not where.idle and {Kind.CACHES, Kind.UNPROVED} & {*wanted}:
        output.say("A run is queued or running, so caches and unproved artifacts stay.")
    found = leftovers(where, wanted)
    for kind in wanted:
        of_kind = [one for one in found if one.kind is kind]
        if of_kind:
            output.say(f"{kind}: {WORDS[kind]}")
        for one in of_kind:
            output.line("leftover", kind=one.kind, path=str(one.path), bytes=one.bytes)
            output.say(f"  {size(one.bytes):>10}  {one.path}")
    total = sum(one.bytes for one in found)
    if not found:
        output.result({"bytes": 0, "removed": [], "kept": []})
        output.say("There is nothing to remove.")
        return DONE
    output.say(f"{size(total)} in all.")
    if not (yes or _agreed(output)):
        output.result({"bytes": total, "removed": [], "kept": [str(one.path) for one in found]})
        output.say("Nothing was removed; `bitpress clean --yes` removes it.")
        return DONE
    results = remove(found, look)
    gone = [result.leftover for result in results if not result.problem]
    for result in results:
        if result.problem:
            output.line("kept", path=str(result.leftover.path), reason=result.problem)
            output.say(f"Stays: {result.leftover.path}: {result.problem}.")
    freed = sum(one.bytes for one in gone)
    kept = [str(result.leftover.path) for result in results if result.problem]
    output.result({"bytes": freed, "removed": [str(one.path) for one in gone], "kept": kept})
    output.say(f"{size(freed)} are free again.")
    return FAILED if kept else DONE


def _agreed(output: Output) -> bool:
    """Ask, where somebody is there to answer."""
    if output.as_json or not sys.stdin.isatty():
        return False
    return typer.confirm("Remove all of this?", default=False)
