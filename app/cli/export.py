"""bitpress export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import DONE, Output
from app.cli.session import TrustCode, follow, serve
from app.engine import Engine


class As(StrEnum):
    """What the artifact becomes."""

    PLAIN = "plain"
    BF16 = "bf16"
    """The same: plain is in the model's own dtype, which is nearly always this one."""
    W4A16 = "w4a16"


def export(
    artifact: Annotated[str, typer.Argument(help="A compressed model.")],
    form: Annotated[
        As,
        typer.Option(
            "--as",
            help="plain (or bf16): ordinary safetensors in the model's own dtype, the same numbers, loads anywhere. "
            "w4a16: compressed-tensors for vLLM, of tables of 4 bits; rounds their values once more.",
        ),
    ] = As.PLAIN,
    output_folder: Annotated[Path | None, typer.Option("--output", help="The folder to write; must not exist.")] = None,
    trust_code: TrustCode = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Write a compressed model in a form that other programs open, and prove it against the artifact."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.export import plan_export, start_export
        from core.plan.export_forms import COST, Form

        wanted = Form.W4A16 if form is As.W4A16 else Form.PLAIN
        planned = await plan_export(engine, engine.model(artifact))
        chosen = planned.form(wanted)
        if not chosen.why_not:
            output.note(f"{chosen.title}: {chosen.size_words}.")
            if wanted is Form.W4A16:
                output.note(COST)
        run = await start_export(engine, planned, wanted, output_folder.absolute() if output_folder else None)
        result: dict[str, Any] = (await follow(engine, run, output)).result
        output.result(result)
        for check in result["proof"]["checks"]:
            output.say(f"{'passed' if check['passed'] else 'FAILED'}  {check['name']}: {check['detail']}")
        if wanted is Form.W4A16 and result["proof"]["kl"] is not None:
            output.say(f"Mean KL from the artifact: {result['proof']['kl']:.4f} nats a token")
        output.say(f"{result['output']} ({result['bytes'] / 1e6:.1f} MB)")
        return DONE

    return serve(output, command, trust=trust_code)
