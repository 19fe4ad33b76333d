"""How to repeat a compression and how to serve its artifact: command line, Python script, serve command.

Nothing from a run can become code or markup: paths and names are quoted for the shell, and stand in scripts as Python
literals only.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from pprint import pformat

from core.calibration.spec import SELF_CHAT
from core.errors import BitpressError
from core.jobs.compression import TOKENS_FILE
from core.jobs.run import Run, RunKind
from core.methods.catalogue import find
from core.methods.method import ModifierSpec
from core.methods.recipe import Recipe
from core.methods.recipe_command import recipe_words
from core.plan.history import recipe_of
from core.report.reproduce_script import SCRIPT
from core.value import Json

_PINNED = ("torch", "transformers", "llmcompressor", "compressed-tensors")
"""Libraries whose versions change the bytes of an artifact."""


def command_line(run: Run) -> str:
    """The `bitpress compress` command that asks for the same run, every parameter spelled out; empty for other runs."""
    recipe = recipe_of(run) if run.kind is RunKind.COMPRESS else None
    if recipe is None:
        return ""
    words = ["bitpress", "compress", _argument(run.models[0]), *recipe_words(recipe)]
    if place := output_of(run):
        words += ["--output", _argument(place)]
    return shlex.join(words)


def serve_command(run: Run) -> str:
    """The command that serves the artifact with an OpenAI-compatible interface; empty where there is no artifact."""
    place = output_of(run) if run.kind is RunKind.COMPRESS else None
    return shlex.join(["vllm", "serve", _argument(place)]) if place else ""


def python_script(run: Run, folder: Path | None = None) -> str:
    """A script that repeats the run with llmcompressor and transformers alone; empty for runs without a known recipe.

    The recipe, seed, versions and paths stand in it as data. The calibration tokens are too many for that: the script
    reads them from `calibration_tokens.json` of the run's `folder`, or beside itself where no folder is given, and
    checks their hash against the run's.
    """
    recipe = recipe_of(run) if run.kind is RunKind.COMPRESS else None
    modifiers = _modifiers(recipe) if recipe is not None else None
    if recipe is None or modifiers is None:
        return ""
    result = run.result if isinstance(run.result, dict) else {}
    facts = result.get("calibration")
    facts = facts if isinstance(facts, dict) else {}
    versions = {**run.versions, **_strings(result.get("versions"))}
    tokens = str(folder / TOKENS_FILE) if folder is not None else TOKENS_FILE
    values: dict[str, Json] = {
        "MODEL": run.models[0],
        "OUTPUT": output_of(run) or "compressed",
        "MODIFIERS": [[modifier.name, modifier.arguments] for modifier in modifiers],
        "SEED": recipe.seed,
        "THREADS": _whole(result.get("threads")),
        "VERSIONS": {name: versions[name] for name in _PINNED if name in versions},
        "TOKENS": tokens if recipe.calibration is not None else None,
        "TOKENS_SHA256": facts.get("sha256") if isinstance(facts.get("sha256"), str) else None,
        "MAX_LENGTH": recipe.calibration.max_length if recipe.calibration is not None else None,
        "DATA": _data_sentence(recipe),
        "TENSORS_SHA256": _text(result.get("tensors_sha256")),
    }
    literals = "\n".join(f"{name} = {_literal(value)}" for name, value in values.items())
    return SCRIPT.replace("# <values>", literals, 1)


def output_of(run: Run) -> str | None:
    """Where the artifact lies, or was to lie."""
    told = run.result.get("output") if isinstance(run.result, dict) else None
    return told if isinstance(told, str) and told else run.output


def _modifiers(recipe: Recipe) -> tuple[ModifierSpec, ...] | None:
    """None where this version does not know the method, or an old recipe lacks a parameter."""
    try:
        return find(recipe.method).modifiers(recipe.parameters)
    except (BitpressError, KeyError):
        return None


def _argument(path: str) -> str:
    """A path that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path


def _literal(value: Json) -> str:
    """The value as a Python literal in ASCII; a string in it cannot end early and cannot look like other text."""
    return pformat(value, width=100, sort_dicts=False).encode("ascii", "backslashreplace").decode("ascii")


def _data_sentence(recipe: Recipe) -> str:
    data = recipe.calibration
    if data is None:
        return "This method needs no calibration data."
    source = "the model's own answers to Bitpress's prompts" if data.source == SELF_CHAT else data.source
    return f"{data.samples} samples of up to {data.max_length} tokens, seed {data.seed}, from {source}."


def _strings(value: Json) -> dict[str, str]:
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
