"""bitpress calibration list, add, show, inspect, rename, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.compress import MaxLength, Samples, Seed, TextField
from app.cli.output import BLOCKED, DONE, Output
from app.cli.session import TrustCode, serve
from app.engine import Engine
from core.calibration.spec import CalibrationSpec

if TYPE_CHECKING:
    from core.calibration.inspection import CalibrationInspection
    from core.calibration.sets import CalibrationSet
    from core.models.local_model import LocalModel

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Name = Annotated[str, typer.Argument(help="The set's name.")]
Sources = Annotated[
    list[str],
    typer.Argument(
        help="self-chat, built-in, set:NAME, or a file or folder; several make a mix, each with *WEIGHT if wanted."
    ),
]

_DEFAULT = CalibrationSpec()
_SHOWN = 3

app = typer.Typer(
    help="Calibration data: look at it, and keep it as named sets that many runs use.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_sets(as_json: Json = False) -> int:
    """List the named sets."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.calibration import sets_of

        sets = sets_of(engine).list()
        for found in sets:
            output.line("set", **found.model_dump(mode="json"))
            output.say(
                f"{found.name:<24} {found.samples:>6} samples  {found.spec.source}  {found.description}".rstrip()
            )
        output.result({"sets": len(sets)})
        if not sets:
            output.say("There are no sets yet: `bitpress calibration add NAME SOURCE` makes one.")
        return DONE

    return serve(output, command)


@app.command("add")
def add(
    *,
    name: Name,
    sources: Sources,
    description: Annotated[str, typer.Option("--description", help="A sentence about it.")] = "",
    samples: Samples = _DEFAULT.samples,
    max_length: MaxLength = _DEFAULT.max_length,
    text_field: TextField = None,
    seed: Seed = 0,
    model: Annotated[str | None, typer.Option("--model", help="Who answers the prompts, for self-chat.")] = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> int:
    """Choose samples and keep them under a name; `--calibration set:NAME` uses them."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.calibration import keep_set, typed_sources

        spec = CalibrationSpec(
            mix=typed_sources(sources), samples=samples, max_length=max_length, text_field=text_field, seed=seed
        )
        made = await keep_set(
            engine,
            name,
            spec,
            description=description,
            model=await _model(engine, model, output) if model else None,
            answer=lambda count: output.note(f"The model answers {count} prompts"),
        )
        output.result(made.model_dump(mode="json"))
        _say_set(output, made)
        return DONE

    return serve(output, command, trust=trust_code)


@app.command("show")
def show(name: Name, as_json: Json = False) -> int:
    """Show what a set is, and its first samples; its content is checked against its hash."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.calibration import sets_of
        from core.calibration.overlap import text_of
        from core.calibration.sets import set_samples
        from core.calibration.spec import SET_PREFIX

        store = sets_of(engine)
        found = store.get(name)
        pin = store.pinned(CalibrationSpec(source=f"{SET_PREFIX}{name}")).sets[0]
        samples = set_samples(pin)
        first = [sample.model_dump(mode="json") for sample in samples[:_SHOWN]]
        output.result({**found.model_dump(mode="json"), "file": pin.file, "first": first})
        _say_set(output, found)
        output.say(f"File            {pin.file}")
        for sample in samples[:_SHOWN]:
            output.say(f"\n{sample.origin} ({sample.kind})\n{text_of(sample)[:400]}")
        return DONE

    return serve(output, command)


@app.command("inspect")
def inspect(
    *,
    sources: Sources,
    model: Annotated[str, typer.Option("--model", help="Whose tokenizer and chat template are used.")],
    samples: Samples = _DEFAULT.samples,
    max_length: MaxLength = _DEFAULT.max_length,
    text_field: TextField = None,
    seed: Seed = 0,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> int:
    """Look at the samples that a job would take: lengths, cuts, repeats, languages, overlap with the evaluation."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.calibration import inspect_calibration, typed_sources

        spec = CalibrationSpec(
            mix=typed_sources(sources), samples=samples, max_length=max_length, text_field=text_field, seed=seed
        )
        found = await inspect_calibration(engine, await _model(engine, model, output), spec)
        output.result(found.model_dump(mode="json"))
        _say_inspection(output, found)
        return BLOCKED if found.blocked else DONE

    return serve(output, command, trust=trust_code)


@app.command("rename")
def rename(name: Name, new: Annotated[str, typer.Argument(help="Its new name.")], as_json: Json = False) -> int:
    """Give a set another name; earlier runs keep the one that they used."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.calibration import sets_of

        output.result(sets_of(engine).rename(name, new).model_dump(mode="json"))
        output.say(f"{name} is called {new} now.")
        return DONE

    return serve(output, command)


@app.command("remove")
def remove(name: Name, as_json: Json = False) -> int:
    """Forget a set, and its samples where no other name stands for them. Runs keep what they need."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.calibration import sets_of

        sets_of(engine).remove(name)
        output.result({"removed": name})
        output.say(f"Removed {name}.")
        return DONE

    return serve(output, command)


async def _model(engine: Engine, model: str, output: Output) -> LocalModel:
    from app.starter import ensure_starter

    if model == "starter":
        return await ensure_starter(engine, lambda text, _: output.note(text))
    return engine.model(model)


def _say_set(output: Output, found: CalibrationSet) -> None:
    output.say(f"{found.name}: {found.samples} samples, {found.chats} of them chats. {found.description}".rstrip())
    output.say(f"From            {found.spec.source}, seed {found.spec.seed}")
    output.say(f"SHA-256         {found.sha256}")


def _say_inspection(output: Output, found: CalibrationInspection) -> None:
    from ui.models.calibration_words import inspection_facts, offender_words, share_words

    for finding in found.findings:
        output.say(f"{finding.severity}: {finding.message}")
    for label, value in inspection_facts(found):
        output.say(f"{label:<24} {value}")
    output.say(f"{'Languages, guessed':<24} {share_words(found.languages)}")
    if found.overlaps:
        output.say(f"{'Evaluation texts in it':<24} {share_words(found.overlaps)}")
    most = max((one.count for one in found.histogram), default=0)
    for one in found.histogram:
        output.say(f"{one.low:>7,} to {one.high:>7,} tokens  {one.count:>6}  {'#' * round(40 * one.count / most)}")
    for offender in found.offenders:
        output.say(f"{offender_words(offender)}\n    {offender.excerpt}")
    output.say("It would be blocked." if found.blocked else "Nothing in it stops a job.")
