"""bitpress sensitivity: which parts suffer most when they are compressed, and the mix of schemes that follows."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.device import use_device
from app.cli.output import DONE, Output
from app.cli.session import TrustCode, follow, serve
from app.engine import Engine
from core.errors import BitpressError

if TYPE_CHECKING:
    from core.measure.sensitivity_values import SensitivityResult
    from core.methods.recipe_document import RecipeDocument

_SHADES = ("green", "yellow", "red")
"""Below a fifth of the largest figure, below half of it, and above; the figures stand beside the colours."""

_ORDER_OF_KINDS = ("qkv", "o", "gate_up", "down")


def sensitivity(
    *,
    model: Annotated[str, typer.Argument(help="A folder, a name from `bitpress models`, or starter.")],
    schemes: Annotated[str, typer.Option("--schemes", help="Schemes to try on every part, with commas.")] = "",
    group_size: Annotated[
        str | None, typer.Option("--group-size", help="Weights of one scale: 32, 64, 128 or channel.")
    ] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=64, help="Most tokens scored.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer tokens: coarser figures in a third of the time.")] = False,
    calibration: Annotated[
        list[str] | None, typer.Option("--calibration", help="As in compress; the model's own chat if left out.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Samples that the tokens are of.")] = None,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            help="Size of all parts: +10% over the smallest scheme, W4A16+10%, or 52MB; empty for no assignment.",
        ),
    ] = "+10%",
    write_recipe: Annotated[
        Path | None, typer.Option("--write-recipe", help="Write the mix as a recipe for `bitpress compress --recipe`.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; default as in Settings.")
    ] = None,
    trust_code: TrustCode = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Measure the divergence of every part alone in every scheme, and find the best mix within a size."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.compression import survey_of
        from app.measurement import DEFAULT_SCHEMES, start_sensitivity
        from app.starter import ensure_starter
        from core.measure.mix_recipe import mix_document
        from core.measure.sensitivity_values import SensitivityResult

        use_device(engine, device)
        if write_recipe is not None and write_recipe.exists():
            raise BitpressError(
                "output-exists", f"{write_recipe} exists already.", "Name another file; nothing is ever overwritten."
            )
        if model == "starter":
            found = await ensure_starter(engine, lambda text, _: output.note(text))
        else:
            found = engine.model(model)
        run = await start_sensitivity(
            engine,
            model=found,
            schemes=[name for name in schemes.split(",") if name.strip()] or DEFAULT_SCHEMES,
            group_size=_group(group_size),
            tokens=_tokens(tokens, fast=fast),
            calibration=_data(calibration, samples, fast=fast),
            budget=budget,
        )
        raw: dict[str, Any] = (await follow(engine, run, output)).result
        result = SensitivityResult.model_validate(raw)
        told: dict[str, Any] = {"run": run.id, **raw}
        survey = await survey_of(engine, found)
        document = mix_document(result, survey) if survey is not None else None
        if document is not None:
            told |= {"recipe": document.model_dump(mode="json", exclude_none=True)}
            told |= {"command": _command(model, document, write_recipe)}
            if write_recipe is not None:
                from core.durable import write_whole
                from core.methods.recipe_document import document_text

                write_whole(write_recipe, document_text(document).encode(), make_folder=False)
        output.result(told)
        if not as_json:
            output.end_bar()
            _say(output, result)
            if document is not None:
                output.say(f"\nPress it: {told['command']}")
        return DONE

    return serve(output, command, trust=trust_code)


def _group(text: str | None) -> int | str | None:
    if text is None or text == "channel":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise BitpressError("bad-setting", f"{text!r} is no group size.", "Write 32, 64, 128 or channel.")


def _tokens(tokens: int | None, *, fast: bool) -> int:
    from app.measurement import FAST_TOKENS, SENSITIVITY_TOKENS

    return tokens or (FAST_TOKENS if fast else SENSITIVITY_TOKENS)


def _data(calibration: list[str] | None, samples: int | None, *, fast: bool) -> Any:
    from app.calibration import typed_sources
    from app.measurement import FAST_SAMPLES, SENSITIVITY_SAMPLES
    from core.calibration.spec import CalibrationSpec

    count = samples or (FAST_SAMPLES if fast else SENSITIVITY_SAMPLES)
    if not calibration:
        return CalibrationSpec(samples=count)
    mix = [part.model_dump(mode="json") for part in typed_sources(calibration)]
    return CalibrationSpec.model_validate({"samples": count, "mix": mix})


def _command(model: str, document: RecipeDocument, file: Path | None) -> str:
    from core.methods.resolve_recipe import setting_text

    words = ["bitpress", "compress", model]
    if file is not None:
        return shlex.join([*words, "--recipe", str(file)])
    words += ["--method", document.method]
    for name, value in document.parameters.items():
        words += ["--set", setting_text(name, value)]
    return shlex.join(words)


def _say(output: Output, result: SensitivityResult) -> None:
    kinds = sorted(
        {part.kind for part in result.parts},
        key=lambda kind: (_ORDER_OF_KINDS.index(kind) if kind in _ORDER_OF_KINDS else len(_ORDER_OF_KINDS), kind),
    )
    for scheme in result.schemes:
        output.say(
            f"\nMean KL divergence with one part alone in {scheme}, above rounding noise, in nats / 1000 per token"
        )
        _say_map(output, result, scheme, kinds)
    noise = max((cell.noise for cell in result.cells), default=0.0)
    output.say(
        f"Scored {result.tokens:,} tokens in {result.seconds:.0f} s. Rounding noise is {1000 * noise:.3f} at most: a "
        "change of no meaning makes as much, and it is taken off."
    )
    mix = result.assignment
    if mix is None:
        return
    output.say(f"\nThe best mix within {mix.budget_bytes:,} bytes takes {mix.bytes:,} bytes:")
    for scheme in dict.fromkeys(mix.schemes.values()):
        chosen = [part for part in result.parts if mix.schemes[part.key] == scheme]
        output.say(f"  {scheme}: {len(chosen)} of {len(result.parts)} parts")
        if len(chosen) <= len(result.parts) // 2:
            for kind in kinds:
                layers = [str(part.layer) for part in chosen if part.kind == kind]
                if layers:
                    output.say(f"    {kind:<10} of layer {', '.join(layers)}")
    output.say(f"  sum of its parts' divergences: {mix.predicted_kl:.4f} nats per token")
    sums = {
        scheme: sum(max(0.0, cell.kl.value) for cell in result.cells if cell.scheme == scheme)
        for scheme in result.schemes
    }
    for scheme, size in mix.uniform.items():
        divergence = f", sum {sums[scheme]:.4f}" if scheme in sums else ""
        output.say(f"  all in {scheme:<12} {size:>14,} bytes{divergence}")


def _say_map(output: Output, result: SensitivityResult, scheme: str, kinds: list[str]) -> None:
    """Layers down, kinds across; a star where the mix chose this scheme. In colour on a terminal alone."""
    figures = {cell.part: max(0.0, cell.kl.value) for cell in result.cells if cell.scheme == scheme}
    places = {(part.layer, part.kind): part.key for part in result.parts}
    chosen = result.assignment.schemes if result.assignment is not None else {}
    largest = max(figures.values(), default=0.0)
    rows = [("layer", *kinds)]
    shades: list[tuple[str, ...]] = [("", *("" for _ in kinds))]
    for layer in sorted({part.layer for part in result.parts}):
        keys = [places.get((layer, kind)) for kind in kinds]
        rows.append(
            (
                "-" if layer < 0 else str(layer),
                *(
                    f"{1000 * figures[key]:.3f}{'*' if chosen.get(key) == scheme else ' '}" if key in figures else ""
                    for key in keys
                ),
            )
        )
        shades.append(("", *(_shade(figures.get(key or ""), largest) for key in keys)))
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))]
    if not sys.stdout.isatty():
        for row in rows:
            output.say("".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for row, tones in zip(rows, shades, strict=True):
        line = Text()
        for text, tone, width in zip(row, tones, widths, strict=True):
            line.append(text.rjust(width), style=tone)
        console.print(line)


def _shade(figure: float | None, largest: float) -> str:
    if figure is None or largest <= 0:
        return ""
    return _SHADES[0 if figure < largest / 5 else 1 if figure < largest / 2 else 2]
