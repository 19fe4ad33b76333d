"""bitpress methods, plan, compress, prove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.asked import Asked, asked_document
from app.cli.device import use_device
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
from app.cli.queue import say_queued
from app.cli.session import TrustCode, follow, followed, serve
from app.engine import Engine
from core.errors import BitpressError
from core.plan.finding import Finding

if TYPE_CHECKING:
    from app.compression import Planned

Model = Annotated[str, typer.Argument(help="A folder, a GGUF file, a name from `bitpress models`, or starter.")]
MethodName = Annotated[str | None, typer.Option("--method", help="An entry of `bitpress methods`.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A recipe as YAML, instead of --method; other options go over it.")
]
PresetName = Annotated[
    str | None, typer.Option("--preset", help="An entry of `bitpress presets`, instead of --method.")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="A parameter, as NAME=VALUE; may be given often.")]
Calibration = Annotated[
    list[str] | None,
    typer.Option(
        "--calibration",
        help="self-chat, built-in, set:NAME, or a file or folder. Several make a mix, each with *WEIGHT if wanted: "
        "given as several options, or joined: 'self-chat*2+chats.jsonl'.",
    ),
]
Samples = Annotated[int | None, typer.Option("--samples", min=1, help="Calibration samples.")]
TextField = Annotated[
    str | None, typer.Option("--text-field", help="Column of jsonl, csv and parquet; found by itself if left out.")
]
MaxLength = Annotated[int | None, typer.Option("--max-length", min=16, help="Most tokens per sample.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**31 - 1)]
DataSeed = Annotated[
    int | None,
    typer.Option("--calibration-seed", min=0, max=2**31 - 1, help="Draws the samples; as --seed if left out."),
]
OutputFolder = Annotated[Path | None, typer.Option("--output", help="The folder to write; it must not exist.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; default as in Settings.")]
Fix = Annotated[
    bool, typer.Option("--fix", help="Take over what mends each finding that blocks, and say what was changed.")
]
Recover = Annotated[
    bool, typer.Option("--recover", help="Train towards the original afterwards; what is quantized stays as it is.")
]
Recovery = Annotated[
    list[str] | None,
    typer.Option("--recovery", help="A setting of --recover, as NAME=VALUE: minutes=10, norms=false, rank=32 ..."),
]
Later = Annotated[
    bool, typer.Option("--later", help="Only put it into the queue: an open window or `bitpress queue run` does it.")
]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Go the whole way on one layer and a few samples, in a few seconds.")
]
PrintRecipe = Annotated[
    bool, typer.Option("--print-recipe", help="Write the whole recipe as YAML, for --recipe, and nothing else.")
]
RetrySmaller = Annotated[
    bool,
    typer.Option(
        "--retry-smaller", help="Where memory runs out, try again with less, twice at most; say what changed."
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option("--memory-limit", help="Most main memory the job may hold, such as 8GB; else as in Settings."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


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
    method: MethodName = None,
    recipe: RecipeFile = None,
    preset: PresetName = None,
    settings: Set = None,
    calibration: Calibration = None,
    samples: Samples = None,
    max_length: MaxLength = None,
    text_field: TextField = None,
    calibration_seed: DataSeed = None,
    seed: Seed = None,
    recover: Recover = False,
    recovery: Recovery = None,
    output_folder: OutputFolder = None,
    device: Device = None,
    fix: Fix = False,
    rehearse: Rehearse = False,
    print_recipe: PrintRecipe = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> int:
    """Say what would happen, what stands in the way, and what it would need; nothing runs unless it is rehearsed."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        use_device(engine, device)
        try:
            planned, mended = await _planned(
                engine,
                output,
                model=model,
                asked=Asked(
                    method=method,
                    recipe=recipe,
                    preset=preset,
                    settings=tuple(settings or ()),
                    calibration=tuple(calibration or ()),
                    samples=samples,
                    max_length=max_length,
                    text_field=text_field,
                    calibration_seed=calibration_seed,
                    seed=seed,
                    recover=recover,
                    recovery=tuple(recovery or ()),
                ),
                output_folder=output_folder,
                fix=fix,
            )
        except BitpressError as error:
            if error.problem.code not in MODEL_PROBLEMS:
                raise
            return say_unusable(output, error.problem, output_folder)
        if print_recipe:
            from core.methods.recipe_document import recipe_text

            output.result({"runnable": planned.runnable, "document": recipe_text(planned.recipe)})
            output.verbatim(recipe_text(planned.recipe))
            return DONE if planned.runnable else BLOCKED
        say_mended(output, mended)
        told: dict[str, Any] = {}
        if rehearse:
            planned, told["rehearsal"] = await _rehearsed(engine, output, planned)
        output.result(plan_fields(planned, mended) | told)
        _say_plan(output, planned)
        if told.get("rehearsal"):
            _say_rehearsal(output, told["rehearsal"])
        return DONE if planned.runnable else BLOCKED

    return serve(output, command, trust=trust_code)


def compress(
    *,
    model: Model,
    method: MethodName = None,
    recipe: RecipeFile = None,
    preset: PresetName = None,
    settings: Set = None,
    calibration: Calibration = None,
    samples: Samples = None,
    max_length: MaxLength = None,
    text_field: TextField = None,
    calibration_seed: DataSeed = None,
    seed: Seed = None,
    recover: Recover = False,
    recovery: Recovery = None,
    output_folder: OutputFolder = None,
    device: Device = None,
    fix: Fix = False,
    later: Later = False,
    retry_smaller: RetrySmaller = False,
    memory_limit: MemoryLimit = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> int:
    """Compress a model, prove the artifact in a fresh process, and keep the run."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.compression import start_compression

        use_device(engine, device)
        _use_memory(engine, memory_limit, retry_smaller=retry_smaller)
        try:
            planned, mended = await _planned(
                engine,
                output,
                model=model,
                asked=Asked(
                    method=method,
                    recipe=recipe,
                    preset=preset,
                    settings=tuple(settings or ()),
                    calibration=tuple(calibration or ()),
                    samples=samples,
                    max_length=max_length,
                    text_field=text_field,
                    calibration_seed=calibration_seed,
                    seed=seed,
                    recover=recover,
                    recovery=tuple(recovery or ()),
                ),
                output_folder=output_folder,
                fix=fix,
            )
        except BitpressError as error:
            raise require_usable(output, error) from error
        say_mended(output, mended)
        tell_before_start(output, planned)
        run = await start_compression(engine, planned, later=later)
        if later:
            say_queued(output, run)
            return DONE
        result: dict[str, Any] = (await follow(engine, run, output)).result
        output.result({"run": run.id, **result})
        from ui.humanize import bytes_text, duration_text

        output.say(
            f"Run {run.id}: {result['output']}\n"
            f"{bytes_text(result['original_bytes'])} became {bytes_text(result['bytes'])} in "
            f"{duration_text(result['seconds'])}; "
            f"the proof took {duration_text(result['proof']['seconds'])} and passed."
        )
        if result.get("training"):
            from app.cli.trained_words import trained_outcome

            output.say(trained_outcome(result["training"]))
        if result.get("recovery"):
            from app.cli.trained_words import outcome

            output.say(outcome(result["recovery"]))
        return DONE

    return serve(output, command, trust=trust_code)


def prove(
    artifact: Annotated[str, typer.Argument(help="A compressed model.")],
    original: Annotated[str | None, typer.Option("--original", help="Compare with this model.")] = None,
    trust_code: TrustCode = None,
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

    return serve(output, command, trust=trust_code)


async def _planned(
    engine: Engine, output: Output, *, model: str, asked: Asked, output_folder: Path | None, fix: bool
) -> tuple[Planned, tuple[Finding, ...]]:
    """The plan, and what was mended for it where that is wanted."""
    from app.compression import look_inside, plan_compression
    from app.mending import mended_compression
    from app.starter import ensure_starter
    from core.plan.mend import Draft

    # Once without the model, so that a slip of the pen is told at once; then with it, for patterns that match nothing.
    document = asked_document(asked, engine.home)
    if model == "starter":
        found = await ensure_starter(engine, lambda text, _: output.note(text))
    else:
        found = engine.model(model)
    inside = await look_inside(engine, found)
    if asked.recipe is not None:
        document = asked_document(asked, engine.home, inside.survey)
    draft = Draft(
        method=document.method,
        overrides=dict(document.parameters),
        calibration=document.calibration,
        output=output_folder.absolute() if output_folder else None,
        recovery=document.recovery,
    )
    if fix:
        return await mended_compression(engine, model=found, draft=draft, seed=document.seed or 0, inside=inside)
    planned = await plan_compression(
        engine,
        model=found,
        method=draft.method,
        overrides=draft.overrides,
        calibration=draft.calibration,
        output=draft.output,
        seed=document.seed or 0,
        recovery=draft.recovery,
        inside=inside,
    )
    return planned, ()


async def _rehearsed(engine: Engine, output: Output, planned: Planned) -> tuple[Planned, dict[str, Any] | None]:
    """The plan after its rehearsal, and what that found; None where the plan cannot start anyway."""
    from app.rehearsal import after_rehearsal, rehearsed_of, start_rehearsal

    if not planned.runnable:
        output.say("It was not rehearsed, as it cannot start like this.")
        return planned, None
    run = await start_rehearsal(engine, planned)
    snapshot = await followed(engine, run, output)
    found = rehearsed_of(snapshot)
    told: dict[str, Any] = {"run": run.id, "passed": False, "seconds": None, "checks": [], "problem": None}
    if found is not None:
        told |= found.model_dump(mode="json")
    if snapshot.problem is not None:
        told |= {"problem": snapshot.problem.model_dump(mode="json")}
        if snapshot.problem.code == "cannot-cut":
            told["passed"] = None
    return after_rehearsal(planned, snapshot), told


def _use_memory(engine: Engine, limit: str | None, *, retry_smaller: bool) -> None:
    if limit is not None:
        from core.jobs.out_of_memory import parse_limit

        engine.limit_memory(parse_limit(limit))
    if retry_smaller:
        engine.settings = engine.settings.model_copy(update={"retry_smaller": True})


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
    if needs.checkpoint_bytes:
        output.say(f"Checkpoints     up to {bytes_text(needs.checkpoint_bytes)} more, where there is room")
    output.say(f"Time            {duration_text(needs.seconds.low)} to {duration_text(needs.seconds.high)}")
    if needs.basis:
        output.say(f"                {needs.basis}")
    output.say("It can start." if planned.runnable else "It cannot start like this.")


def _say_rehearsal(output: Output, told: dict[str, Any]) -> None:
    from core.measure.rehearsed import layer_words
    from ui.humanize import duration_text, memory_text

    if told["passed"]:
        output.say(
            f"Rehearsed on {layer_words(tuple(told['layers']), told['of'])} in {duration_text(told['seconds'])}: "
            f"all {len(told['checks'])} checks passed, peak memory {memory_text(told['peak_bytes'])}."
        )
        if told.get("recovery"):
            output.say(f"Recovery trained {told['recovery']['steps']} steps on it and was judged.")
    elif told["problem"] is not None and told["problem"]["hint"]:
        output.say(f"What to do: {told['problem']['hint']}")
