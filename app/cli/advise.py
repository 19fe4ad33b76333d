"""bitpress advise: which method for a goal on this hardware, or on any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.deploy import count
from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError
from core.plan.method_plan import Goal

if TYPE_CHECKING:
    from core.plan.advice import Hardware

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def advise(
    *,
    goal: Annotated[Goal, typer.Option(help="chat (retrieval too), batch, smallest or faithful.")] = Goal.CHAT,
    hardware: Annotated[
        str | None,
        typer.Option("--hardware", help="A compute capability such as 8.9, or cpu; this machine if left out."),
    ] = None,
    parameters: Annotated[
        str, typer.Option(help="Size of the model, as 8e9 or 8B; published figures go by it.")
    ] = "8B",
    as_json: Json = False,
) -> int:
    """Rank all methods for a goal, each with the reason and who measured it."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.methods.catalogue import METHODS
        from core.plan.advice import hardware_of, ranked
        from core.plan.architecture import Architecture, method_weights
        from core.plan.read_machine import read_machine

        size = count(parameters, "--parameters")
        where = hardware_of(read_machine(engine.home.root)) if hardware is None else _hardware(hardware)
        model = Architecture(name="", parameters=size)
        sizes = []
        for method in METHODS:
            try:
                sizes.append((method, method_weights(model, method.id, None, None).bytes))
            except BitpressError:  # Its size depends on the model's layers.
                sizes.append((method, 2 * size))
        found = ranked(goal, sizes, where, size)
        ordered = sorted(METHODS, key=lambda method: found[method.id].place)
        for method in ordered:
            advice = found[method.id]
            output.line(
                "advice",
                place=advice.place,
                method=method.id,
                scheme=method.scheme,
                reason=advice.reason,
                source=advice.source,
                tag=advice.tag,
            )
            output.say(f"{advice.place + 1}. {method.title}" + (f" [{advice.tag}]" if advice.tag else ""))
            output.say(f"   {advice.text}")
        output.result(
            {
                "goal": str(goal),
                "hardware": "cpu" if where.processor else where.capability,
                "order": [method.id for method in ordered],
            }
        )
        return DONE

    return serve(output, command)


def _hardware(text: str) -> Hardware:
    from core.plan.advice import Hardware

    if text.lower() in ("cpu", "processor"):
        return Hardware(processor=True)
    major, _, minor = text.partition(".")
    if not major.isdecimal() or not (minor or "0").isdecimal():
        raise BitpressError("bad-capability", f"{text!r} is no compute capability.", "Write it as 8.9, or write cpu.")
    return Hardware(processor=False, capability=(int(major), int(minor or "0")))
