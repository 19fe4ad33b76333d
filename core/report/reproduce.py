"""How to repeat a compression and how to serve its artifact: command line, Python script, serve command.

Nothing from a run can become code or markup: paths and names are quoted for the shell, and stand in scripts as Python
literals only.
"""

from __future__ import annotations

import base64
import json
import shlex
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from pprint import pformat

from core.calibration.spec import SELF_CHAT, CalibrationSpec
from core.errors import BitpressError
from core.jobs.compression import TOKENS_FILE
from core.jobs.launch import OFFLINE
from core.jobs.run import Run, RunKind
from core.methods.catalogue import find
from core.methods.method import ModifierSpec
from core.methods.modifier_modules import MODIFIER_MODULES, STRUCTURED
from core.methods.recipe import Recipe
from core.methods.recipe_command import recipe_words
from core.methods.recovery import RecoverySpec, recovery_words
from core.plan.hardware import needs_loader
from core.plan.history import recipe_of
from core.report.reproduce_script import TOKENS, VALUES, script
from core.value import Json

_PINNED = ("torch", "transformers", "llmcompressor", "compressed-tensors", "safetensors")
"""Libraries whose versions change the bytes of an artifact."""

EMBED_LIMIT = 2 << 20
"""Most characters of calibration tokens in a script; beyond that it reads the file in the run's folder."""

_LINE = 100


def command_line(run: Run) -> str:
    """The `bitpress` command that asks for the same compression, recovery or export, every parameter spelled out; empty
    for other runs."""
    if run.kind is RunKind.RECOVER:
        return _recover_command(run)
    if run.kind is RunKind.EXPORT:
        return _export_command(run)
    recipe = recipe_of(run) if run.kind is RunKind.COMPRESS else None
    if recipe is None:
        return ""
    words = ["bitpress", "compress", _argument(run.models[0]), *recipe_words(recipe)]
    device = _text(run.settings.get("device"))
    if device not in (None, "auto"):
        words += ["--device", str(device)]
    if place := output_of(run):
        words += ["--output", _argument(place)]
    return shlex.join(words)


def _export_command(run: Run) -> str:
    rounded = isinstance(run.order, dict) and run.order.get("recipe") is not None
    words = ["bitpress", "export", _argument(run.models[0]), "--as", "w4a16" if rounded else "plain"]
    return shlex.join([*words, "--output", _argument(run.output)] if run.output else words)


def _recover_command(run: Run) -> str:
    """What asks for the same recovery, with its data as it was."""
    try:
        spec = RecoverySpec.model_validate(run.settings.get("recovery"))
        data = CalibrationSpec.model_validate(run.settings.get("calibration"))
    except ValueError:
        return ""
    words = ["bitpress", "recover", _argument(run.models[-1]), "--original", _argument(run.models[0])]
    words += [word for word in recovery_words(spec) if word != "--recover"]
    for part in data.parts:
        words += ["--text", f"{part.source}*{part.weight:.10g}" if part.weight != 1 else part.source]
    words += ["--samples", str(data.samples), "--max-length", str(data.max_length)]
    if place := output_of(run):
        words += ["--output", _argument(place)]
    return shlex.join(words)


def serve_command(run: Run) -> str:
    """The command that serves the artifact with an OpenAI-compatible interface; empty where there is no
    artifact, or one in our own format.
    """
    place = output_of(run) if run.kind in (RunKind.COMPRESS, RunKind.RECOVER) and not _ours(run) else None
    return shlex.join(["vllm", "serve", _argument(place)]) if place else ""


def _ours(run: Run) -> bool:
    """Whether the artifact is in a format that no engine knows."""
    recipe = recipe_of(run)
    try:
        return recipe is not None and needs_loader(find(recipe.method).scheme)
    except BitpressError:
        return False


def python_script(run: Run, folder: Path | None = None, *, embed: bool = False) -> str:
    """A script that repeats the run with llmcompressor and transformers alone; empty for runs without a known recipe,
    and for those that were followed by a recovery, which neither of them can do.
    With a modifier of our own it needs Bitpress too, and says so.

    Recipe, seed, threads, environment, versions and paths stand in it as data. With `embed` the calibration tokens do
    too, where they are not too many, so that the text is all that is needed; else the script reads them from
    `calibration_tokens.json` of the run's `folder`, or beside itself. Either way it checks their hash. Reads that file.
    """
    recipe = recipe_of(run) if run.kind is RunKind.COMPRESS else None
    modifiers = _modifiers(recipe) if recipe is not None else None
    if recipe is None or modifiers is None or recipe.recovery is not None:
        return ""
    result = run.result if isinstance(run.result, dict) else {}
    facts = result.get("calibration")
    facts = facts if isinstance(facts, dict) else {}
    versions = {**run.versions, **_strings(result.get("versions"))}
    streamed = result.get("streamed") is True
    values: dict[str, Json] = {
        "MODEL": run.models[0],
        "OUTPUT": output_of(run) or "compressed",
        "MODIFIERS": [[MODIFIER_MODULES[each.name], each.name, each.arguments] for each in modifiers],
        "SEED": recipe.seed,
        "THREADS": _whole(result.get("threads")),
        "DEVICE": _text(run.settings.get("device")) or "auto",
        "ENVIRONMENT": {**OFFLINE, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        "VERSIONS": {name: versions[name] for name in _PINNED if name in versions},
    }
    if streamed:
        values |= {
            "PARTS": _by_layer(_texts(result.get("expected_modules"))),
            "LEFT_ALONE": _texts(result.get("ignored_modules")),
        }
    data = recipe.calibration is not None and not streamed
    if recipe.calibration is not None and data:
        values |= {
            "TOKENS": str(folder / TOKENS_FILE) if folder is not None else TOKENS_FILE,
            "TOKENS_SHA256": _text(facts.get("sha256")),
            "MAX_LENGTH": recipe.calibration.max_length,
            "DATA": _data_sentence(recipe),
        }
    targets = _texts(result.get("sequential_targets")) if data else []
    if targets:
        values["TARGETS"] = targets
    values["TENSORS_SHA256"] = _text(result.get("tensors_sha256"))
    literals = "\n".join(f"{name} = {_literal(value)}" for name, value in values.items())
    embedded = f"\nEMBEDDED_TOKENS = {_embedded(folder if embed else None)}\n" if data else ""
    awq = any(each.name == "AWQModifier" for each in modifiers)
    smaller = any(each.name in STRUCTURED for each in modifiers)
    text = script(data=data, awq=awq, streamed=streamed, targets=bool(targets), own=_own(modifiers), smaller=smaller)
    # The values hold paths, which may look like anything: they go in last, and nothing is replaced inside them.
    before, _, after = text.partition(VALUES)
    return before + literals + after.replace(TOKENS, embedded, 1)


def _embedded(folder: Path | None) -> str:
    """The calibration tokens of a run's folder as a literal, or an empty one where there are none or too many.

    They are packed as 32-bit integers (the number of samples, their lengths, then all ids), by zlib, in base64.
    """
    rows = _token_rows(folder / TOKENS_FILE) if folder is not None else None
    if not rows:
        return "()"
    numbers = [len(rows), *(len(row) for row in rows), *(token for row in rows for token in row)]
    packed = base64.b64encode(zlib.compress(struct.pack(f"<{len(numbers)}i", *numbers), 9)).decode("ascii")
    if len(packed) > EMBED_LIMIT:
        return "()"
    lines = (packed[start : start + _LINE] for start in range(0, len(packed), _LINE))
    return "(\n" + "".join(f'    "{line}",\n' for line in lines) + ")"


def _token_rows(path: Path) -> Sequence[Sequence[int]] | None:
    try:
        if path.stat().st_size > 16 * EMBED_LIMIT:
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows: Json = kept["input_ids"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = isinstance(rows, list) and all(
        isinstance(row, list) and all(isinstance(token, int) and -(2**31) <= token < 2**31 for token in row)
        for row in rows
    )
    return rows if whole else None


def output_of(run: Run) -> str | None:
    """Where the artifact lies, or was to lie."""
    told = run.result.get("output") if isinstance(run.result, dict) else None
    return told if isinstance(told, str) and told else run.output


def _modifiers(recipe: Recipe) -> tuple[ModifierSpec, ...] | None:
    """None where this version does not know the method or a modifier, or an old recipe lacks a parameter."""
    try:
        found = find(recipe.method).modifiers(recipe.parameters)
    except (BitpressError, KeyError):
        return None
    return found if all(each.name in MODIFIER_MODULES for each in found) else None


def _own(modifiers: Sequence[ModifierSpec]) -> bool:
    """Whether one of them is not llmcompressor's."""
    return any(MODIFIER_MODULES[each.name].startswith("core.") for each in modifiers)


def _argument(path: str) -> str:
    """A path that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path


def _literal(value: Json) -> str:
    """The value as a Python literal in ASCII; a string in it cannot end early and cannot look like other text."""
    return pformat(value, width=100, sort_dicts=False, compact=True).encode("ascii", "backslashreplace").decode("ascii")


def _by_layer(names: Sequence[str]) -> list[list[Json]]:
    """Module names as [before, after, numbers], a line for what would be one for each layer.

    Before, one of the numbers and after make a name; the number is its first part of digits alone, or empty.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        pieces = name.split(".")
        place = next((index for index, piece in enumerate(pieces) if piece.isdecimal()), None)
        before = "" if place is None else "".join(f"{piece}." for piece in pieces[:place])
        after = name if place is None else "".join(f".{piece}" for piece in pieces[place + 1 :])
        found.setdefault((before, after), []).append("" if place is None else pieces[place])
    return [[before, after, numbers] for (before, after), numbers in found.items()]


def _data_sentence(recipe: Recipe) -> str:
    data = recipe.calibration
    if data is None:
        return "This method needs no calibration data."
    source = "the model's own answers to Bitpress's prompts" if data.source == SELF_CHAT else data.source
    return f"{data.samples} samples of up to {data.max_length} tokens, seed {data.seed}, from {source}."


def _texts(value: Json) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _strings(value: Json) -> dict[str, str]:
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
