"""bitpress doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.output import DONE, FAILED, Output
from app.cli.session import told_problem
from core.errors import BitpressError
from core.paths import Home

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def doctor(
    set_store_aside: Annotated[
        bool, typer.Option("--set-store-aside", help="Put a damaged list of runs aside, so that a new one begins.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Check this machine and what is installed, and say what to do. Nothing leaves the machine."""
    output = Output(as_json)
    home = Home.from_environment()
    if set_store_aside:
        try:
            return _set_aside(output, home)
        except BitpressError as error:
            return told_problem(output, error.problem)
    # Without the engine: a store that does not open is one of the things to be found here.
    from app.doctor import checks_of
    from core.care.check import well

    output.note("Looking at this machine")
    checks = checks_of(home)
    output.end_bar()
    for check in checks:
        output.line("check", **check.model_dump(mode="json"))
        output.say(f"{check.outcome:<10} {check.name}: {check.found}")
        if check.advice:
            output.say(f"{'':<10} {check.advice}")
    good = well(checks)
    output.result({"well": good, "checks": [check.model_dump(mode="json") for check in checks]})
    return DONE if good else FAILED


def _set_aside(output: Output, home: Home) -> int:
    from core.care.store_file import set_aside, store_problem

    problem = store_problem(home.store_file)
    if problem is None or problem.code != "store-damaged":
        raise BitpressError(
            "store-not-damaged",
            "The list of runs is not damaged, so it stays where it is."
            if problem is None
            else f"The list of runs is not damaged: {problem.message}",
            "" if problem is None else problem.hint,
        )
    place = set_aside(home.store_file)
    output.result({"set_aside": str(place)})
    output.say(f"The damaged list lies in {place}. A new one begins with the next run; models are not touched.")
    return DONE
