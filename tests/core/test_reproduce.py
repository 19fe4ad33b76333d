from __future__ import annotations

import ast
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_shapes import llama_survey

from core.calibration.spec import CalibrationSpec
from core.jobs.run import Run, RunKind
from core.methods.catalogue import METHODS, find
from core.methods.modifier_modules import STRUCTURED, TRAINING
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import parse_settings, resolve_recipe, setting_text
from core.plan.hardware import needs_loader
from core.report.reproduce import command_line, python_script, serve_command
from core.report.reproduce_script import (
    NEEDS_BITPRESS,
    SMALLER_NEEDS_BITPRESS,
    TRAINED_NEEDS_BITPRESS,
    script_title,
)
from core.value import Json

HOSTILE = (
    "/models/it's; rm -rf $HOME",
    '/models/"""\nimport os\nos.system("boom")\n"""',
    "/models/\\",
    "/models/caf\u00e9 \U0001f600 \u202e\u2028 `id`",
    "-m",
    "/models/" + "long name " * 30,
    "/models/# <values>",
    "/models/\udc80",
)


def run_of(recipe: Recipe, *, model: str = "/models/starter", output: str = "/out/a", **changes: Json) -> Run:
    return Run.model_validate(
        {
            "id": 7,
            "kind": RunKind.COMPRESS,
            "title": "a run",
            "models": (model,),
            "model_name": "starter",
            "settings": {"recipe": recipe.model_dump(mode="json")},
            "method": recipe.method,
            "output": output,
            "created": datetime(2026, 8, 1, tzinfo=UTC),
            "versions": {"torch": "2.13.0", "python": "3.11.7"},
            "result": {"versions": {"llmcompressor": "0.14.0.1"}, "calibration": {"sha256": "ab" * 32}, "threads": 2},
        }
        | changes
    )


def recipe(method: str = "gptq-w4a16", **overrides: Json) -> Recipe:
    return resolve_recipe(method, overrides, CalibrationSpec(samples=64, seed=3), llama_survey(), seed=5)


def values(script: str) -> dict[str, Json]:
    """The constants of a script, read without running it."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def test_that_the_command_consents_to_the_code_that_ran_and_to_nothing_else():
    told = [{"model": "m", "fingerprint": "ab" * 32}, {"model": "m", "fingerprint": "$(rm -rf /)"}]
    settings = {"recipe": recipe("fp8-dynamic").model_dump(mode="json"), "own_code": told}
    run = run_of(recipe("fp8-dynamic"), settings=settings)
    assert command_line(run).endswith(f"--output /out/a --trust-code {'ab' * 32}")
    assert python_script(run) == ""


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_the_command_asks_for_the_same_recipe(method):
    asked = recipe(method.id, **({"ignore": ["lm_head", "re:.*[a,b]_proj$"]} if method.parameter("ignore") else {}))
    words = shlex.split(command_line(run_of(asked)))
    assert words[:5] == ["bitpress", "compress", "/models/starter", "--method", method.id]
    settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    assert parse_settings(settings, method) == asked.parameters
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert options["--seed"] == "5"
    assert options["--output"] == "/out/a"
    if method.calibrates(asked.parameters):
        assert (options["--calibration"], options["--samples"], options["--max-length"]) == ("self-chat", "64", "512")
    else:
        assert "--calibration" not in options


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_the_script_holds_the_recipe_as_data(method):
    asked = recipe(method.id)
    found = values(python_script(run_of(asked), Path("/runs/000007")))
    assert found["MODEL"] == "/models/starter"
    assert found["OUTPUT"] == "/out/a"
    assert found["SEED"] == 5
    assert found["THREADS"] == 2
    assert found["VERSIONS"] == {"torch": "2.13.0", "llmcompressor": "0.14.0.1"}
    assert [(name, arguments) for _, name, arguments in found["MODIFIERS"]] == [
        (each.name, each.arguments) for each in method.modifiers(asked.parameters)
    ]
    own = not all(module.startswith("llmcompressor.") for module, _, _ in found["MODIFIERS"])
    script = python_script(run_of(asked))
    # A smaller model is made by our modifier and is in nobody's own format.
    smaller = any(name in STRUCTURED for _, name, _ in found["MODIFIERS"])
    assert smaller is (SMALLER_NEEDS_BITPRESS in script) is ("write_settings(model, output)" in script)
    trained = any(name == TRAINING for _, name, _ in found["MODIFIERS"])
    assert trained is (TRAINED_NEEDS_BITPRESS in script)
    assert (own and not smaller and not trained) is (NEEDS_BITPRESS in script)
    assert (NEEDS_BITPRESS in script) is ("save_codebook_model(model, output)" in script)
    assert ("with Bitpress" in script_title(script)) is own
    compile(script, "script", "exec")
    assert (serve_command(run_of(asked)) == "") is needs_loader(method.scheme)
    if asked.calibration is not None:
        assert found["TOKENS_SHA256"] == "ab" * 32
        assert found["TOKENS"] == "/runs/000007/calibration_tokens.json"
        assert found["EMBEDDED_TOKENS"] == ()
    else:
        assert "TOKENS" not in found


def test_that_a_run_that_had_to_do_with_less_is_repeated_as_it_was_done():
    asked = recipe()
    assert asked.calibration is not None
    used = asked.model_copy(update={"calibration": asked.calibration.model_copy(update={"max_length": 77})})
    run = run_of(asked)
    with_less = {"recipe": used.model_dump(mode="json"), "reductions": [], "sequential_targets": ["Linear"]}
    run = run.model_copy(update={"result": {**(run.result or {}), **with_less}})
    found = python_script(run)
    assert values(found)["TARGETS"] == ["Linear"]
    assert values(found)["MAX_LENGTH"] == 77
    assert '"sequential_targets": TARGETS,' in found
    assert "--max-length 77" in command_line(run)
    compile(found, "script", "exec")
    assert "<targets>" not in python_script(run_of(asked))


@pytest.mark.parametrize("name", HOSTILE)
def test_that_no_name_becomes_code(name: str):
    hostile = run_of(recipe(ignore=["lm_head", name]), model=name, output=name)
    script = python_script(hostile)
    assert script.isascii()
    found = values(script)
    assert (found["MODEL"], found["OUTPUT"]) == (name, name)
    plain = python_script(run_of(recipe()))
    kinds = [type(node).__name__ for node in ast.parse(script).body]
    assert kinds == [type(node).__name__ for node in ast.parse(plain).body]


@given(name=st.text(min_size=1).filter(lambda text: not text.startswith("-")))
def test_that_any_name_survives_the_shells_and_pythons_quoting(name: str):
    hostile = run_of(recipe("fp8-dynamic"), model=name, output=name)
    assert shlex.split(command_line(hostile))[2] == name
    assert shlex.split(serve_command(hostile)) == ["vllm", "serve", name]
    assert values(python_script(hostile))["MODEL"] == name


def test_that_a_real_shell_reads_the_command_back():
    for name in HOSTILE[:4]:
        command = serve_command(run_of(recipe(), output=name))
        shown = subprocess.run(
            ["bash", "-c", f"vllm() {{ printf '%s\\0' \"$@\"; }}; {command}"], capture_output=True, check=True
        )
        assert shown.stdout.decode().split("\0")[:-1] == ["serve", name]


def test_that_a_path_is_never_taken_for_an_option():
    dashed = run_of(recipe(), model="-m", output="-o")
    assert shlex.split(command_line(dashed))[2] == "./-m"
    assert serve_command(dashed) == "vllm serve ./-o"


def test_that_the_place_where_the_artifact_really_lies_is_served():
    moved = run_of(recipe(), result={"output": "/out/a.unproved"})
    assert serve_command(moved) == "vllm serve /out/a.unproved"


def test_that_other_runs_and_unreadable_recipes_give_nothing():
    measured = run_of(recipe()).model_copy(update={"kind": RunKind.EVALUATE})
    unreadable = run_of(recipe(), settings={"recipe": {"what": 1}})
    for run in (measured, unreadable):
        assert command_line(run) == ""
        assert python_script(run) == ""
    unknown = run_of(recipe().model_copy(update={"method": "method-of-tomorrow"}))
    assert python_script(unknown) == ""
    old = run_of(recipe().model_copy(update={"parameters": {"group_size": 64}}))
    assert python_script(old) == ""


def test_that_a_run_without_a_result_can_be_repeated():
    waiting = run_of(recipe(), result=None, versions={})
    assert values(python_script(waiting))["VERSIONS"] == {}
    assert command_line(waiting)


@pytest.mark.parametrize(
    "patterns", [[], ["lm_head"], ["re:a{1,2}"], ["[x]"], ["re:.*mlp.(gate|up)$", "b"], ["caf\u00e9"]]
)
def test_that_a_setting_is_written_as_it_is_read(patterns: list[str]):
    assert parse_settings([setting_text("ignore", patterns)], find("fp8-dynamic")) == {"ignore": patterns}
