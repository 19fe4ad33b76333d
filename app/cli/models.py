"""bitpress models, inspect, import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import fingerprints, serve
from app.engine import Engine
from core.errors import BitpressError
from core.models.consent import LEAST_DIGITS
from core.models.local_model import LocalModel
from core.models.own_code import WHAT_IT_COULD, OwnCode

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def list_models(
    folders: Annotated[list[Path] | None, typer.Argument(help="Further folders to look in.")] = None,
    as_json: Json = False,
) -> int:
    """List the local models: the starter, watched folders, the Hugging Face cache, artifacts."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.consent import agreed
        from core.models.discover import discover

        watched = (*engine.watched, *(folder.absolute() for folder in folders or ()))
        found = tuple(
            agreed(engine.home, model, ()) for model in discover(engine.home, watched, engine.settings.hub_cache)
        )
        for model in found:
            output.line("model", **model.model_dump(mode="json"))
        if not as_json:
            _table(found)
        return DONE

    return serve(output, command)


def inspect_model(
    model: Annotated[str, typer.Argument(help="A folder, a GGUF file, a name from `bitpress models`, or starter.")],
    code: Annotated[
        bool, typer.Option("--code", help="Print the Python code that came with it, which is never run.")
    ] = False,
    consent: Annotated[
        str | None,
        typer.Option(
            "--consent",
            metavar="FINGERPRINT",
            help="With --code: agree to run it, from now on, by the first 12 or more digits of what is printed under "
            "it. `bitpress consents --withdraw` takes it back.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show what is inside one model, without loading it."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        found = engine.model(model)
        if consent is not None and not code:
            raise BitpressError(
                "wrong-usage", "--consent is given to code that was shown.", "Add --code, which prints it."
            )
        if code:
            shown = _print_code(output, found)
            if consent is not None:
                _agree(engine, output, shown, *fingerprints([consent]))
            return DONE
        output.result(found.model_dump(mode="json"))
        for label, value in facts(found):
            output.say(f"{label:<24} {value}")
        for remark in found.remarks:
            output.say(f"{remark.level}: {remark.message}")
        return DONE

    return serve(output, command)


def _agree(engine: Engine, output: Output, code: OwnCode | None, prefix: str) -> None:
    """Keep a consent to what was just printed."""
    from app.consent import agree
    from core.models.consent import matches

    if code is None or not code.needed:
        raise BitpressError(
            "code-refused",
            "There is nothing to agree to: " + ("no code came with it." if code is None else "it is not needed."),
            "The model is used without it.",
        )
    if not matches(prefix, code.fingerprint):
        raise BitpressError(
            "bad-fingerprint",
            f"{prefix} is not the code that was printed, which has the fingerprint {code.fingerprint}.",
            "It may have been changed since you read it: read it again.",
        )
    kept = agree(engine.home, code, lasting=True)
    output.line("consent", **kept.model_dump(mode="json", exclude={"seal"}))
    output.say(f"Kept: this code of {kept.model} may run. `bitpress consents --withdraw {prefix}` takes it back.")


def _print_code(output: Output, model: LocalModel) -> OwnCode | None:
    """Every file with its hash, then what running it takes; the code that was printed."""
    from core.models.own_code import code_texts, own_code

    found = own_code(model.path) if model.path.is_dir() else None
    if found is None:
        output.result({"path": str(model.path), "code": None})
        output.say("No Python code came with this model.")
        return None
    texts = code_texts(found)
    output.result({"path": str(model.path), "code": found.model_dump(mode="json") | {"sha256": found.fingerprint}})
    output.say(f"Python code from {found.repository}: {', '.join(found.named)}. {_standing(model)}")
    for file in found.files:
        output.say(f"\n{file.name}, {file.bytes:,} bytes, SHA-256 {file.sha256}\n")
        output.say(texts[file.name])
    if found.files:
        output.say(f"\nFingerprint, the SHA-256 over all names and hashes: {found.fingerprint}")
    if found.refused:
        output.say(f"Nobody can agree to it. {found.refused}")
    elif found.needed and not model.consented:
        output.say(WHAT_IT_COULD)
        short = found.fingerprint[:LEAST_DIGITS]
        output.say(
            f"To let it run: --trust-code {short} for one command, or `bitpress inspect {model.path} --code --consent "
            f"{short}` from now on."
        )
    return found


def _standing(model: LocalModel) -> str:
    if model.consented:
        return "It is run when the model is used: somebody agreed to it."
    needs = "and nobody has agreed to that; the model cannot be used without" if model.remote_code else "nor needs to"
    return f"Bitpress does not run it, {needs}."


def import_model(
    file: Annotated[Path, typer.Argument(help="The GGUF file.")],
    output_folder: Annotated[Path, typer.Option("--output", help="The folder to write; it must not exist.")],
    as_json: Json = False,
) -> int:
    """Turn a GGUF file into bf16 safetensors that plain transformers loads."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.cli.session import follow
        from app.starter import start_import
        from core.models.inspect import inspect

        source = inspect(file.absolute())
        run = await start_import(engine, source=source.path, output=output_folder.absolute())
        snapshot = await follow(engine, run, output)
        output.result({"run": run.id, "output": str(output_folder.absolute()), **(snapshot.result or {})})
        output.say(f"Imported to {output_folder}")
        return DONE

    return serve(output, command)


def facts(model: LocalModel) -> tuple[tuple[str, str], ...]:
    """A model's facts in words, for a person."""
    from ui.humanize import bytes_text, count_text

    def known(value: object) -> str:
        return "unknown" if value is None else str(value)

    return (
        ("Path", str(model.path)),
        ("Architecture", model.architecture or "unknown"),
        ("Parameters", count_text(model.parameters) if model.parameters else "unknown"),
        ("Weights", f"{model.weights}, {bytes_text(model.bytes)}, {model.precision}"),
        ("Layers", known(model.layers)),
        ("Hidden / intermediate", f"{known(model.hidden_size)} / {known(model.intermediate_size)}"),
        ("Heads / KV heads", f"{known(model.heads)} / {known(model.kv_heads)}"),
        ("Context", known(model.context_length)),
        ("Vocabulary", known(model.vocabulary)),
        ("Embeddings", {True: "tied", False: "not tied", None: "unknown"}[model.tied_embeddings]),
        ("Chat template", "yes" if model.chat_template else "no"),
        ("Quantization", model.quantization or "none"),
        ("Licence", model.licence or "not stated"),
    )


def _table(models: tuple[LocalModel, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from app.cli.output import literal
    from ui.humanize import bytes_text, count_text

    table = Table(box=None, pad_edge=False)
    for title, right in (
        ("Name", False),
        ("Architecture", False),
        ("Parameters", True),
        ("Precision", False),
        ("Size", True),
        ("From", False),
    ):
        table.add_column(title, justify="right" if right else "left")
    for model in models:
        cells = (
            model.name + "".join(f" [{remark.code}]" for remark in model.remarks),
            model.architecture,
            count_text(model.parameters) if model.parameters else "",
            model.precision,
            bytes_text(model.bytes) if model.bytes else "",
            str(model.path.parent),
        )
        table.add_row(*(Text(literal(cell)) for cell in cells))
    # A pipe has no width: what reads it wants whole names.
    Console(width=None if sys.stdout.isatty() else 240).print(table)
