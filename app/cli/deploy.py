"""bitpress deploy: how many GPUs, of which kind, at what price."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError

if TYPE_CHECKING:
    from core.models.local_model import LocalModel
    from core.models.survey import Survey
    from core.plan.architecture import Architecture, Weights
    from core.plan.deployment import Deployment, Placement

Model = Annotated[str | None, typer.Argument(help="A folder, a GGUF file, a name from `bitpress models`, or starter.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
_MULTIPLES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def deploy(
    *,
    model: Model = None,
    model_preset: Annotated[
        str | None, typer.Option("--model-preset", help="llama-4-scout or llama-4-maverick, by published figures.")
    ] = None,
    parameters: Annotated[str | None, typer.Option(help="Without a model: how many, as 109e9 or 109B.")] = None,
    kept: Annotated[str, typer.Option(help="Of these, parameters that stay in 16 bits (embeddings).")] = "0",
    layers: Annotated[int | None, typer.Option(min=1)] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads.")] = None,
    kv_heads: Annotated[int | None, typer.Option(min=1)] = None,
    head_dim: Annotated[int | None, typer.Option(min=1)] = None,
    hidden: Annotated[int | None, typer.Option(min=1, help="Hidden size.")] = None,
    schemes: Annotated[list[str] | None, typer.Option("--scheme", help="BF16, W4A16 ...; may be given often.")] = None,
    method: Annotated[str | None, typer.Option(help="An entry of `bitpress methods`, instead of a scheme.")] = None,
    context: Annotated[int, typer.Option(min=1, help="Tokens of one request, prompt and answer.")] = 8192,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 1,
    kv_cache: Annotated[str, typer.Option("--kv-cache", help="16-bit keys and values, or fp8.")] = "16",
    gpu: Annotated[
        list[str] | None, typer.Option("--gpu", help="h100-80, rtx-4090 ...; all in a table if left out.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0.0, help="Of one GPU an hour.")] = None,
    currency: Annotated[str, typer.Option(help="As it is to be printed.")] = "",
    as_json: Json = False,
) -> int:
    """Plan how a model is served: memory, GPUs, and cost from your price; arithmetic, nothing runs."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.deployment import subject_of
        from core.plan.architecture import Architecture, method_weights, preset, weights_of
        from core.plan.deployment import Load, Price
        from core.plan.deployment import deploy as plan
        from core.plan.gpu_kinds import GPU_KINDS, find_gpu

        if sum(given is not None for given in (model, model_preset, parameters)) != 1:
            raise BitpressError(
                "nothing-to-plan",
                "It takes one model: MODEL, --model-preset, or --parameters.",
                "For example: bitpress deploy --model-preset llama-4-scout --scheme W4A16",
            )
        local, survey, stored = None, None, None
        if model is not None:
            local, survey = await _local(engine, output, model)
            subject = subject_of(local, survey)
            architecture, stored = subject.architecture, subject.stored
        elif model_preset is not None:
            architecture = preset(model_preset)
        else:
            architecture = Architecture(
                name="",
                parameters=count(parameters or "", "--parameters"),
                kept=count(kept, "--kept"),
                layers=layers,
                heads=heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                hidden_size=hidden,
            )
        if architecture.kept > architecture.parameters:
            raise BitpressError("bad-figure", "--kept is more than --parameters.", "Give the parts of one model.")
        weights = [weights_of(architecture, scheme.upper()) for scheme in schemes or ()]
        if method is not None:
            weights.append(method_weights(architecture, method, local, survey))
        kinds = tuple(find_gpu(name) for name in gpu) if gpu else GPU_KINDS
        deployment = plan(
            architecture,
            weights or _all_schemes(architecture, stored, every=bool(gpu)),
            kinds,
            Load(context=context, concurrency=concurrency, kv_bits=_bits(kv_cache)),
            None if price is None else Price(per_gpu_hour=price, currency=currency),
        )
        output.result(deployment.model_dump(mode="json"))
        if not as_json:
            _say(output, deployment)
        return DONE

    return serve(output, command)


def count(text: str, option: str) -> int:
    """`109e9`, `109B` or `109,000,000,000` as a number. Raises BitpressError `bad-figure`."""
    plain = text.replace(",", "").replace("_", "").strip()
    multiple = _MULTIPLES.get(plain[-1:].upper(), 1)
    try:
        found = float(plain[:-1] if multiple != 1 else plain) * multiple
        whole = int(found)
    except (ValueError, OverflowError):
        whole, found = -1, -1.0
    if whole < 0 or whole != found or (whole == 0 and option == "--parameters"):
        raise BitpressError("bad-figure", f"{option} cannot be {text!r}.", "Write it as 109e9 or 109B.")
    return whole


async def _local(engine: Engine, output: Output, name: str) -> tuple[LocalModel, Survey | None]:
    from app.compression import survey_of

    local = engine.model(name)
    if local.quantization is None:
        output.note("Looking inside the model")
        survey = await survey_of(engine, local)
        output.end_bar()
        return local, survey
    return local, None


def _all_schemes(architecture: Architecture, stored: Weights | None, *, every: bool) -> Sequence[Weights]:
    """What is shown where no scheme was asked for: all of them for a GPU, else what is there, or the common ones."""
    from core.plan.architecture import SCHEMES, weights_of

    if stored is not None and not every:
        return (stored,)
    names = ("BF16", *SCHEMES) if every else ("BF16", "FP8_DYNAMIC", "W8A8", "W4A16")
    found = tuple(weights_of(architecture, name) for name in names)
    return found if stored is None else (stored, *found)


def _bits(text: str) -> int:
    if text.lower() in ("16", "bf16", "auto"):
        return 16
    if text.lower() in ("8", "fp8"):
        return 8
    raise BitpressError("bad-figure", f"--kv-cache cannot be {text!r}.", "It is 16 or fp8.")


def _say(output: Output, deployment: Deployment) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from app.cli.output import literal
    from ui.humanize import bytes_text, count_text

    architecture, load = deployment.architecture, deployment.load
    output.say(
        f"{architecture.name or 'A model'}, {count_text(architecture.parameters)} parameters; {load.context:,} tokens "
        f"of context, {load.concurrency:,} at once, {load.kv_bits}-bit KV cache"
    )
    priced = any(row.cost is not None for row in deployment.placements)
    table = Table(box=None, pad_edge=False)
    for title, right in _columns(priced=priced):
        table.add_column(title, justify="right" if right else "left")
    for row in deployment.placements:
        cells = [
            row.gpu_name,
            row.title,
            bytes_text(row.weight_bytes),
            bytes_text(row.kv_cache_bytes),
            bytes_text(row.total_bytes),
            str(row.gpus_by_weights),
            "–" if row.gpus_by_memory is None else str(row.gpus_by_memory),
            parallel_text(row),
            row.runs.value,
        ]
        if priced:
            cells += _cost_cells(row)
        table.add_row(*(Text(literal(cell)) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 240).print(table)
    notes: dict[str, list[str]] = {}
    for row in deployment.placements:
        for note in (row.published, *row.notes):
            if note:
                notes.setdefault(note, []).append(f"{row.gpu_name} {row.title}")
    for note, rows in notes.items():
        where = "" if len(rows) == len(deployment.placements) else f"{rows[0]}: " if len(rows) == 1 else ""
        output.say(f"- {where}{note}" + (f" ({len(rows)} rows)" if not where and len(rows) > 1 else ""))
    for line in (*deployment.formulas, *deployment.sources):
        output.say(f"  {line}")


def _columns(*, priced: bool) -> tuple[tuple[str, bool], ...]:
    shown = (
        ("GPU", False),
        ("Scheme", False),
        ("Weights", True),
        ("KV cache", True),
        ("Total", True),
        ("By weights", True),
        ("By memory", True),
        ("To serve", True),
        ("In vLLM", False),
    )
    return (*shown, ("An hour", True), ("A month", True), ("Saved", True)) if priced else shown


def parallel_text(row: Placement) -> str:
    """`4`, or `2 x 8` where layers lie on groups of GPUs one after another."""
    if row.gpus is None:
        return "–"
    return str(row.gpus) if row.pipeline_parallel == 1 else f"{row.pipeline_parallel} x {row.tensor_parallel}"


def _cost_cells(row: Placement) -> list[str]:
    cost = row.cost
    if cost is None:
        return ["–", "–", "–"]
    saved = "–" if cost.saved_share is None else f"{cost.saved_share:.0%}"
    return [f"{cost.per_hour:,.2f} {cost.currency}".strip(), f"{cost.per_month:,.0f} {cost.currency}".strip(), saved]
