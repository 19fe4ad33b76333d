"""bitpress consents."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def consents(
    withdraw: Annotated[
        list[str] | None,
        typer.Option("--withdraw", metavar="FINGERPRINT", help="Take one back: its first 12 or more digits."),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the consents to run code that came with models, or take some back."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.models import consent

        for prefix in withdraw or ():
            taken = consent.withdraw(engine.home, prefix)
            output.line("withdrawn", fingerprint=taken.fingerprint, model=taken.model)
            output.say(f"Withdrawn: the code of {taken.model}, {taken.fingerprint}. What waits with it will not start.")
        found = consent.kept(engine.home)
        for one in found:
            output.line("consent", **one.model_dump(mode="json", exclude={"seal"}))
            output.say(f"{one.fingerprint}  {one.model}")
            output.say(f"    read in {one.path}, {one.given:%Y-%m-%d %H:%M} UTC by {one.by}, Bitpress {one.version}")
        others = consent.foreign(engine.home)
        output.result({"consents": len(found), "foreign": others})
        if not found:
            output.say("Nobody has agreed to run code that came with a model.")
        if others:
            output.say(
                f"{others} more lie here that were not given on this machine by this user; they count for nothing."
            )
        return DONE

    return serve(output, command)
