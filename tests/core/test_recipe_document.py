"""A recipe's document: what is written is read back, and every fault is told where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_shapes import llama_survey

from core.calibration.spec import CalibrationSpec, MixPart, PinnedSet
from core.methods.catalogue import METHODS
from core.methods.method import Kind, Method, Parameter
from core.methods.recipe import Recipe
from core.methods.recipe_command import read_command, recipe_command
from core.methods.recipe_document import (
    RecipeDocument,
    RecipeFault,
    document_error,
    edited_text,
    means,
    read_document,
    recipe_text,
    unpinned,
)
from core.methods.resolve_recipe import resolve_recipe
from core.methods.targets import nearest_pattern
from core.value import Json

SURVEY = llama_survey(layers=2)
HEAD = "method: gptq-w4a16\n"


def value_of(parameter: Parameter) -> st.SearchStrategy[Json]:
    """Any value that the parameter takes."""
    match parameter.kind:
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.CHOICE:
            return st.sampled_from(parameter.choices)
        case Kind.INTEGER:
            return st.integers(int(parameter.minimum or 0), int(parameter.maximum or 10**6))
        case Kind.NUMBER:
            return st.floats(parameter.minimum or 0.0, parameter.maximum or 1e6)
        case Kind.RULES:
            names = st.text(min_size=1, max_size=20).map(str.strip).filter(lambda name: name and name[:3] != "re:")
            return st.dictionaries(names, st.sampled_from(parameter.choices), min_size=1, max_size=3)
        case Kind.PATTERNS:
            return st.lists(
                st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith("re:")), max_size=4
            )


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    method: Method = draw(st.sampled_from(METHODS))
    named = [parameter for parameter in method.parameters if draw(st.booleans())]
    sources = draw(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=3, unique=True))
    data = CalibrationSpec(
        mix=tuple(MixPart(source=source, weight=draw(st.floats(0.5, 100))) for source in sources),
        samples=draw(st.integers(1, 100_000)),
        max_length=draw(st.integers(16, 131_072)),
        seed=draw(st.integers(0, 2**31 - 1)),
        text_field=draw(st.none() | st.text(max_size=10)),
    )
    overrides = {parameter.name: draw(value_of(parameter)) for parameter in named}
    return resolve_recipe(method.id, overrides, data, None, draw(st.integers(0, 2**31 - 1)))


@settings(deadline=None)
@given(recipe=recipes())
def test_that_what_is_written_is_read_back(recipe: Recipe) -> None:
    assert means(recipe_text(recipe), None) == recipe
    assert means(recipe_text(recipe).replace("\n", "\r\n"), None) == recipe


@settings(deadline=None)
@given(recipe=recipes(), other=recipes())
def test_that_an_edit_of_the_text_gives_the_wanted_recipe(recipe: Recipe, other: Recipe) -> None:
    assert means(edited_text(recipe_text(recipe), other, None), None) == other


@settings(deadline=None)
@given(text=st.text() | st.text(alphabet="ab:-[]{}#&*!|>'\"\\,\n \t?%@`"))
def test_that_any_text_is_read_or_refused_with_places_inside_it(text: str) -> None:
    found = read_document(text, SURVEY)
    if isinstance(found, RecipeDocument):
        return
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert found
    for fault in found:
        assert 1 <= fault.line <= fault.end_line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
        assert (fault.line, fault.column) < (fault.end_line, fault.end_column)


def test_that_every_parameter_is_explained_with_its_bounds() -> None:
    for method in METHODS:
        text = recipe_text(resolve_recipe(method.id, {}, None, SURVEY))
        for parameter in method.parameters:
            assert f"# {parameter.title}" in text
    assert "one of 32, 64, 128" in recipe_text(resolve_recipe("gptq-w4a16", {}, None, SURVEY))


def test_that_what_is_left_out_is_the_methods_default_for_the_model() -> None:
    document = read_document(HEAD + "parameters:\n  actorder: none\nseed: 7\n", SURVEY)
    assert isinstance(document, RecipeDocument)
    assert document.parameters == {"actorder": "none"}
    recipe = document.resolved(SURVEY)
    assert recipe.parameters["group_size"] == 64
    assert recipe.calibration == CalibrationSpec(seed=7)


def test_that_any_method_may_be_named_and_one_that_is_given_fills_the_gap() -> None:
    assert read_document("method: fp8-dynamic\n") == RecipeDocument(method="fp8-dynamic")
    assert read_document("seed: 2\n", method="fp8-dynamic") == RecipeDocument(method="fp8-dynamic", seed=2)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", (1, 1), "name: value"),
        ("just words", (1, 1), "name: value"),
        ("seed: 1\n", (1, 1), "does not name its method"),
        ("method: fp8-dynamc\n", (1, 9), "Did you mean fp8-dynamic?"),
        ("method: gptq-w4a16\nsede: 1\n", (2, 1), "Did you mean seed?"),
        (HEAD + "group_size: 64\n", (2, 1), "belongs under parameters"),
        (HEAD + "parameters:\n  grup_size: 64\n", (3, 3), "Did you mean group_size?"),
        (HEAD + "parameters:\n  samples: 64\n", (3, 3), "belongs under calibration"),
        (HEAD + "parameters:\n  group_size: 100\n", (3, 15), "Did you mean 128?"),
        (HEAD + "parameters:\n  observer: mes\n", (3, 13), "Did you mean mse?"),
        (HEAD + "parameters:\n  block_size: 1.5\n", (3, 15), "from 8 to 4096"),
        (HEAD + "parameters:\n  dampening_frac: .inf\n", (3, 19), "from 0.0001 to 1"),
        (HEAD + "parameters:\n  symmetric: 1\n", (3, 14), "true or false"),
        (HEAD + "parameters:\n  ignore:\n    - lm_head\n    - q_proj\n", (5, 7), "Did you mean re:.*q_proj$?"),
        (HEAD + "parameters: {ignore: [lm_head, lm_hed]}\n", (2, 32), "Did you mean lm_head?"),
        (HEAD + "parameters:\n  ignore: Liner\n", (3, 11), "Did you mean Linear?"),
        (HEAD + 'parameters:\n  ignore:\n    - "re:("\n', (4, 7), "not a regular expression"),
        (HEAD + "parameters:\n  ignore:\n    - {a: 1}\n", (4, 7), "list of module names"),
        (HEAD + "parameters:\n  block_size: 16\n  block_size: 32\n", (4, 3), "twice"),
        (HEAD + "parameters: 3\n", (2, 13), "name: value"),
        (HEAD + "calibration:\n  samples: 0\n", (3, 12), "from 1 to 100,000"),
        (HEAD + "calibration:\n  samples: true\n", (3, 12), "from 1 to 100,000"),
        (HEAD + "calibration:\n  sampels: 3\n", (3, 3), "Did you mean samples?"),
        (HEAD + "calibration: [1]\n", (2, 14), "name: value"),
        (HEAD + "seed: -1\n", (2, 7), "from 0 to"),
        (HEAD + "seed: !!python/object:os.system 1\n", (2, 7), "no plain value"),
        (HEAD + "seed: !!timestamp 2020-01-01\n", (2, 7), "no plain value"),
        (HEAD + f"seed: {'9' * 5000}\n", (2, 7), "no plain value"),
        (HEAD + "parameters: [\n", (3, 1), "not YAML"),
        (HEAD + "parameters:\n\tgroup_size: 64\n", (3, 1), "tab"),
        (HEAD + "seed: 1\x00\n", (2, 8), "U+0000"),
        (HEAD + "---\nseed: 1\n", (2, 1), "not YAML"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", (2, 8), "Write the value out"),
        ("[" * 5000, (1, 25), "nested too deep"),
        (HEAD + "# " + "x" * 200_000, (1, 1), "characters"),
        (HEAD + "[a]: 1\n", (2, 1), "name stands here"),
    ],
)
def test_that_a_fault_is_told_at_its_place(text: str, place: tuple[int, int], words: str) -> None:
    faults = read_document(text, SURVEY)
    assert isinstance(faults, tuple)
    assert place in [(fault.line, fault.column) for fault in faults]
    assert words in " ".join(fault.text for fault in faults)


def test_that_all_faults_are_told_in_the_order_of_the_text() -> None:
    text = (
        HEAD + "parameters:\n  grup: 1\n  symmetric: 2\ncalibration:\n  sampels: 1\n  samples: no\nseed: x\nseed: 1\n"
    )
    faults = read_document(text)
    assert isinstance(faults, tuple)
    assert [fault.line for fault in faults] == [3, 4, 6, 7, 8, 9]


def test_that_a_fault_spans_what_is_wrong_also_behind_emoji() -> None:
    faults = read_document('# 😀\nmethod: gptq-w4a16\nparameters:\n  ignore: ["😀x", lm_head]\n', SURVEY)
    assert isinstance(faults, tuple)
    assert [(fault.line, fault.column, fault.end_line, fault.end_column) for fault in faults] == [(4, 12, 4, 16)]


@pytest.mark.parametrize("written", ["1e-3", "0.001", "1.0e-3", ".001"])
def test_that_numbers_are_read_as_people_write_them(written: str) -> None:
    read = read_document(HEAD + f"parameters:\n  dampening_frac: {written}\n")
    assert isinstance(read, RecipeDocument)
    assert read.parameters["dampening_frac"] == 0.001


def test_that_faults_become_one_error_with_file_line_and_column() -> None:
    faults = read_document(HEAD + "parameters:\n  group_size: 100\nsede: 1\n")
    assert isinstance(faults, tuple)
    problem = document_error(faults, "my.yaml").problem
    assert problem.code == "bad-recipe"
    assert [line.split(" ")[0] for line in problem.message.split("\n")] == ["my.yaml:3:15:", "my.yaml:4:1:"]
    alone = document_error(faults[:1], "my.yaml").problem
    assert alone.message == "my.yaml:3:15: group_size cannot be 100."
    assert "Did you mean 128?" in alone.hint


MINE = """# mine
method: gptq-w4a16   # four bits
parameters:
  group_size: 64  # small
  ignore:  # heads
    - lm_head
  # dampening
  dampening_frac: 0.02

calibration:
  samples: 64   # few
"""


def test_that_an_edit_keeps_comments_and_order() -> None:
    recipe = means(MINE, SURVEY)
    assert recipe is not None
    wanted = recipe.model_copy(
        update={
            "parameters": recipe.parameters | {"group_size": 32, "ignore": ["lm_head", "re:.*q_proj$"]},
            "calibration": CalibrationSpec(samples=8),
            "seed": 5,
        }
    )
    changed = edited_text(MINE, wanted, SURVEY)
    assert means(changed, SURVEY) == wanted
    for line in ("# mine", "method: gptq-w4a16   # four bits", "  group_size: 32  # small", "  # dampening"):
        assert line in changed.split("\n")
    assert "  ignore:  # heads\n    - lm_head\n    - re:.*q_proj$\n" in changed
    assert "  samples: 8   # few\n" in changed
    assert edited_text(MINE, recipe, SURVEY) == MINE
    assert edited_text("method: [", recipe, SURVEY) == recipe_text(recipe)


@settings(deadline=None)
@given(recipe=recipes())
def test_that_the_command_asks_for_the_same_recipe(recipe: Recipe) -> None:
    if recipe.calibration is not None:
        # Words on a command line are sources with their signs: what a person names stands there as it is.
        parts = (
            MixPart(source="self-chat", weight=2),
            MixPart(source="/data/it's mine.jsonl"),
            MixPart(source="set:A b"),
        )
        data = CalibrationSpec.model_validate(recipe.calibration.model_dump() | {"mix": parts[: recipe.seed % 3 + 1]})
        recipe = recipe.model_copy(update={"calibration": data})
    assert (read := read_command(recipe_command(recipe, None)))
    assert isinstance(read, RecipeDocument)
    assert read.resolved(None) == recipe


def test_that_what_a_set_held_is_no_part_of_a_document() -> None:
    pinned = CalibrationSpec(source="set:Mine", sets=(PinnedSet(name="Mine", sha256="0" * 64, file="/sets/0"),))
    recipe = resolve_recipe("gptq-w4a16", {}, pinned, SURVEY)
    assert "sha256" not in recipe_text(recipe)
    assert means(recipe_text(recipe), SURVEY) == unpinned(recipe)


def test_that_a_mix_is_written_and_its_faults_are_told_at_their_places() -> None:
    parts = (MixPart(source="self-chat", weight=2), MixPart(source="/data/a.jsonl"))
    recipe = resolve_recipe("gptq-w4a16", {}, CalibrationSpec(mix=parts), SURVEY)
    text = recipe_text(recipe)
    assert means(text, SURVEY) == recipe
    assert "    - source: self-chat\n      weight: 2.0\n" in text
    faults = read_document(HEAD + "calibration:\n  mix:\n    - sorce: a\n    - {source: b, weight: -1}\n")
    assert isinstance(faults, tuple)
    said = {(fault.line, fault.column): fault.text for fault in faults}
    assert "Did you mean source?" in said[4, 7]
    assert "above 0" in said[5, 27]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", [1], "--method"),
        ("--method fp8-dynamc", [10], "Did you mean fp8-dynamic?"),
        ("--method gptq-w4a16 --set group_size=7 --sampels 3", [27, 40], "Did you mean --samples?"),
        ("--method gptq-w4a16 --set 'ignore=lm_head,q_proj'", [43], "Did you mean re:.*q_proj$?"),
        ("--method gptq-w4a16 --samples few --seed -1", [31, 42], "from 1 to 100,000"),
        ("--method gptq-w4a16 --samples 0", [31], "from 1 to 100,000"),
        ("--method gptq-w4a16 --set symmetric=no --set symmetric=yes", [46], "twice"),
        ("--method 'gptq", [10], "not closed"),
        ("--method fp8-dynamic more", [22], "belongs to no option"),
    ],
)
def test_that_a_fault_of_a_command_is_told_at_its_word(text: str, columns: list[int], words: str) -> None:
    faults = read_command(text, SURVEY)
    assert isinstance(faults, tuple)
    assert [fault.column for fault in faults][: len(columns)] == columns
    assert words in " ".join(fault.text for fault in faults)


def test_that_a_whole_command_line_is_read_too() -> None:
    read = read_command("bitpress compress 'my model' \\\n  --method=gptq-w4a16 --set group_size=32 --json --output x")
    assert read == RecipeDocument(method="gptq-w4a16", parameters={"group_size": 32})


def test_that_a_fault_can_be_told_in_one_piece() -> None:
    assert RecipeFault(1, 1, 1, 2, "No.", "Yes?").text == "No. Yes?"


def test_that_the_nearest_name_keeps_the_numbers_that_were_meant() -> None:
    survey = llama_survey()
    assert nearest_pattern(survey, "model.layers.29.mlp.gateproj") == "model.layers.29.mlp.gate_proj"
    assert nearest_pattern(survey, "model.layers.31.mlp.gate_proj") in {
        module.name for module in survey.linears if module.name.endswith("gate_proj")
    }
