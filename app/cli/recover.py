"""bitpress recover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.device import use_device
from app.cli.output import BLOCKED, DONE, Output
from app.cli.session import TrustCode, follow, serve
from app.cli.trained_words import outcome
from app.engine import Engine
from core.plan.finding import Severity


def recover(
    *,
    artifact: Annotated[str, typer.Argument(help="A compressed model.")],
    original: Annotated[
        str | None, typer.Option("--original", help="The model that it was made from, where it does not say so.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.02, help="Most minutes of training.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--recovery", help="A setting, as NAME=VALUE: passes=8, norms=false, adapters=kept, rank=32 ..."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="What to train on, as --calibration in compress; else what it was made with."),
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=16, help="Samples of it.")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", min=16, help="Most tokens per sample.")] = None,
    output_folder: Annotated[
        Path | None, typer.Option("--output", help="The folder to write; it must not exist.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; default as in Settings.")
    ] = None,
    trust_code: TrustCode = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Bring a compressed model nearer to its original by training; its codes and its size stay as they are."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.cli.findings import say_findings
        from app.recovery import plan_recovery, start_recovery
        from core.methods.recovery import recovery_settings
        from ui.humanize import duration_text, memory_text

        use_device(engine, device)
        words = [*(settings or ()), *([] if minutes is None else [f"minutes={minutes}"])]
        compressed = engine.model(artifact)
        planned = await plan_recovery(
            engine,
            artifact=compressed,
            original=engine.model(original) if original else None,
            spec=recovery_settings(words),
            calibration=asked_data(compressed.path, text, samples, max_length),
            output=output_folder.absolute() if output_folder else None,
        )
        for finding in planned.findings:
            output.line("finding", **finding.model_dump(mode="json"))
        say_findings(output, planned.findings)
        if any(finding.severity is Severity.BLOCKS for finding in planned.findings):
            output.result({"runnable": False})
            return BLOCKED
        output.say(f"It takes about {duration_text(planned.seconds)} and {memory_text(planned.memory)} of memory.")
        run = await start_recovery(engine, planned)
        result: dict[str, Any] = (await follow(engine, run, output)).result
        output.result({"run": run.id, **result})
        if result["output"]:
            output.say(f"Run {run.id}: {result['output']}")
        output.say(outcome(result["recovery"]))
        return DONE

    return serve(output, command, trust=trust_code)


def asked_data(artifact: Path, text: list[str] | None, samples: int | None, max_length: int | None) -> Any:
    """The data that options ask for, over what the artifact was calibrated with; None where they say nothing."""
    from app.calibration import typed_sources
    from core.calibration.spec import CalibrationSpec
    from core.models.artifact import read_manifest

    manifest = read_manifest(artifact)
    base = (manifest.recipe.calibration if manifest is not None else None) or CalibrationSpec()
    update: dict[str, Any] = {}
    if text:
        base = CalibrationSpec(samples=base.samples, max_length=base.max_length, seed=base.seed)
        update["mix"] = [part.model_dump(mode="json") for part in typed_sources(tuple(text))]
    if samples is not None:
        update["samples"] = samples
    if max_length is not None:
        update["max_length"] = max_length
    return CalibrationSpec.model_validate(base.model_dump(mode="json") | update) if update else None
