"""bitpress methods, plan, compress, prove."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.findings import (
    MODEL_PROBLEMS,
    plan_fields,
    require_usable,
    say_findings,
    say_mended,
    say_unusable,
    tell_before_start,
)
from app.cli.output import BLOCKED, DONE, FAILED, Output
from app.cli.session import follow, serve
from app.engine import Engine
from core.calibration.spec import SELF_CHAT, CalibrationSpec
from core.errors import BitpressError
from core.plan.finding import Finding

if TYPE_CHECKING:
    from app.compression import Planned

Model = Annotated[str, typer.Argument(help="A folder, a GGUF file, a name from `bitpress models`, or starter.")]
MethodName = Annotated[str, typer.Option("--method", help="An entry of `bitpress methods`.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A parameter, as NAME=VALUE; may be given often.")]
Calibration = Annotated[str, typer.Option("--calibration", help="self-chat, or a file or folder of text.")]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Calibration samples.")]
TextField = Annotated[
    str | None, typer.Option("--text-field", help="Column of jsonl, csv and parquet; found by itself if left out.")
]
MaxLength = Annotated[int, typer.Option("--max-length", min=16, help="Most tokens per sample.")]
Seed = Annotated[int, typer.Option("--seed", min=0)]
OutputFolder = Annotated[Path | None, typer.Option("--output", help="The folder to write; it must not exist.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; default as in Settings.")]
Fix = Annotated[
    bool, typer.Option("--fix", help="Take over what mends each finding that blocks, and say what was changed.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]

_DEFAULT = CalibrationSpec()


def list_methods(as_json: Json = False) -> int:
    """List the compression methods with their parameters, and what is not offered and why."""
    from core.methods.catalogue import METHODS
    from core.methods.describe import described
    from core.methods.not_offered import NOT_OFFERED

    output = Output(as_json)
    for method in METHODS:
        output.line("method", **described(method))
        output.say(f"{method.id:<24} {method.title}: {method.summary}")
        output.say(f"    {method.explanation}")
        for parameter in method.parameters:
            output.say(f"    --set {parameter.name}=…  {parameter.title}. {parameter.help}")
    output.say("Not offered:")
    for other in NOT_OFFERED:
        output.line("not-offered", **other.described())
        output.say(f"{other.name}: {other.why} Instead: {other.instead}")
    return DONE


def plan(
    *,
    model: Model,
    method: MethodName,
    settings: Set = None,
    calibration: Calibration = SELF_CHAT,
    samples: Samples = _DEFAULT.samples,
    max_length: MaxLength = _DEFAULT.max_length,
    text_field: TextField = None,
    seed: Seed = 0,
    output_folder: OutputFolder = None,
    device: Device = None,
    fix: Fix = False,
    as_json: Json = False,
) -> int:
    """Say what would happen, what stands in the way, and what it would need; nothing runs."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        try:
            planned, mended = await _planned(
                engine,
                output,
                model=model,
                method=method,
                settings=settings,
                calibration=calibration,
                samples=samples,
                max_length=max_length,
                text_field=text_field,
                seed=seed,
                output_folder=output_folder,
                device=device,
                fix=fix,
            )
        except BitpressError as error:
            if error.problem.code not in MODEL_PROBLEMS:
                raise
            return say_unusable(output, error.problem, output_folder)
        say_mended(output, mended)
        output.result(plan_fields(planned, mended))
        _say_plan(output, planned)
        return DONE if planned.runnable else BLOCKED

    return serve(output, command)


def compress(
    *,
    model: Model,
    method: MethodName,
    settings: Set = None,
    calibration: Calibration = SELF_CHAT,
    samples: Samples = _DEFAULT.samples,
    max_length: MaxLength = _DEFAULT.max_length,
    text_field: TextField = None,
    seed: Seed = 0,
    output_folder: OutputFolder = None,
    device: Device = None,
    fix: Fix = False,
    as_json: Json = False,
) -> int:
    """Compress a model, prove the artifact in a fresh process, and keep the run."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.compression import start_compression

        if device is not None:
            check_device(device)
            engine.settings = engine.settings.model_copy(update={"device": device})
        try:
            planned, mended = await _planned(
                engine,
                output,
                model=model,
                method=method,
                settings=settings,
                calibration=calibration,
                samples=samples,
                max_length=max_length,
                text_field=text_field,
                seed=seed,
                output_folder=output_folder,
                device=device,
                fix=fix,
            )
        except BitpressError as error:
            raise require_usable(output, error) from error
        say_mended(output, mended)
        tell_before_start(output, planned)
        run = await start_compression(engine, planned)
        result: dict[str, Any] = (await follow(engine, run, output)).result
        output.result({"run": run.id, **result})
        from ui.humanize import bytes_text, duration_text

        output.say(
            f"Run {run.id}: {result['output']}\n"
            f"{bytes_text(result['original_bytes'])} became {bytes_text(result['bytes'])} in "
            f"{duration_text(result['seconds'])}; "
            f"the proof took {duration_text(result['proof']['seconds'])} and passed."
        )
        return DONE

    return serve(output, command)


def prove(
    artifact: Annotated[str, typer.Argument(help="A compressed model.")],
    original: Annotated[str | None, typer.Option("--original", help="Compare with this model.")] = None,
    as_json: Json = False,
) -> int:
    """Open an artifact in a fresh process, check its tensors, and let it generate."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.measurement import start_proof

        run = await start_proof(
            engine, artifact=engine.model(artifact), original=engine.model(original) if original else None
        )
        result: dict[str, Any] = (await follow(engine, run, output)).result
        output.result(result)
        for check in result["checks"]:
            output.say(f"{'passed' if check['passed'] else 'FAILED'}  {check['name']}: {check['detail']}")
        return DONE if result["passed"] else FAILED

    return serve(output, command)


async def _planned(
    engine: Engine,
    output: Output,
    *,
    model: str,
    method: str,
    settings: list[str] | None,
    calibration: str,
    samples: int,
    max_length: int,
    text_field: str | None,
    seed: int,
    output_folder: Path | None,
    device: str | None,
    fix: bool,
) -> tuple[Planned, tuple[Finding, ...]]:
    """The plan, and what was mended for it where that is wanted."""
    from app.compression import plan_compression
    from app.mending import mended_compression
    from app.starter import ensure_starter
    from core.methods.catalogue import find
    from core.methods.resolve_recipe import parse_settings
    from core.plan.mend import Asked

    if device is not None:
        check_device(device)
    entry = find(method)
    overrides = parse_settings(settings or (), entry)
    if model == "starter":
        found = await ensure_starter(engine, lambda text, _: output.note(text))
    else:
        found = engine.model(model)
    source = calibration if calibration == SELF_CHAT else str(Path(calibration).absolute())
    asked = Asked(
        method=method,
        overrides=overrides,
        calibration=CalibrationSpec(
            source=source, samples=samples, max_length=max_length, seed=seed, text_field=text_field
        ),
        output=output_folder.absolute() if output_folder else None,
    )
    if fix:
        return await mended_compression(engine, model=found, asked=asked, seed=seed, device=device)
    planned = await plan_compression(
        engine,
        model=found,
        method=asked.method,
        overrides=asked.overrides,
        calibration=asked.calibration,
        output=asked.output,
        seed=seed,
        device=device,
    )
    return planned, ()


def check_device(name: str) -> None:
    """Raises BitpressError `bad-device` for what names none; whether it is there only a worker knows."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise BitpressError(
            "bad-device", f"{name!r} names no device.", "Write auto, cpu, cuda, or cuda:0, cuda:1 ... for one of them."
        )


def _say_plan(output: Output, planned: Planned) -> None:
    from ui.humanize import bytes_text, duration_text, memory_text

    say_findings(output, planned.findings)
    if planned.estimates is None:
        return
    needs = planned.estimates
    output.say(f"Size on disk    {bytes_text(needs.artifact_bytes)}")
    output.say(f"Host memory     {memory_text(int(needs.host_bytes.low))} to {memory_text(int(needs.host_bytes.high))}")
    if needs.device_bytes.high:
        output.say(
            f"Device memory   {memory_text(int(needs.device_bytes.low))} to {memory_text(int(needs.device_bytes.high))}"
        )
    output.say(f"Disk needed     {bytes_text(needs.disk_bytes)}")
    output.say(f"Time            {duration_text(needs.seconds.low)} to {duration_text(needs.seconds.high)}")
    output.say("It can start." if planned.runnable else "It cannot start like this.")
