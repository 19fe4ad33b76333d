"""A choice of schemes as a recipe: its patterns name what they must and nothing else."""

from __future__ import annotations

import random

import pytest
from llama_shapes import llama_survey
from test_parts import experts, linear, survey

from core.measure.mix_recipe import mix_document, patterns
from core.measure.parts import parts_of
from core.measure.sensitivity_values import UNQUANTIZED, Assignment, Part, SensitivityResult
from core.methods.catalogue import find
from core.methods.recipe_document import RecipeDocument, document_text, read_document
from core.methods.resolve_recipe import resolve_recipe
from core.methods.targets import assigned, linears_of
from core.models.survey import Survey


def choice(parts: tuple[Part, ...], *schemes: str, seed: int = 0) -> Assignment:
    draw = random.Random(seed)
    chosen = {part.key: draw.choice(schemes) for part in parts}
    return Assignment(budget_bytes=0, bytes=0, schemes=chosen, predicted_kl=0.0, uniform={})


def mixed(chosen: Assignment, parts: tuple[Part, ...], model: Survey, group_size: int) -> RecipeDocument:
    result = SensitivityResult(
        model="",
        parts=parts,
        schemes=(),
        cells=(),
        tokens=0,
        sha256="",
        seconds=0.0,
        assignment=chosen,
        group_size=group_size,
    )
    found = mix_document(result, model)
    assert found is not None
    assert mix_document(result.model_copy(update={"assignment": None}), model) is None
    return found


def pressed(found: RecipeDocument, model: Survey) -> dict[str, str]:
    """What becomes of every Linear by the recipe."""
    recipe = resolve_recipe(found.method, found.parameters, None, model)
    rules = find(found.method).rules(recipe.parameters)
    return {module.name: scheme.name for module, scheme in assigned(model, rules, recipe.parameters["ignore"])}


@pytest.mark.parametrize("seed", range(5))
def test_that_every_layer_gets_the_scheme_of_its_part(seed: int) -> None:
    model = llama_survey()
    parts = parts_of(model, ("lm_head",))
    chosen = choice(parts, "W4A16", "W8A16", UNQUANTIZED, seed=seed)
    found = pressed(mixed(chosen, parts, model, 64), model)
    wanted = {name: chosen.schemes[part.key] for part in parts for name in part.modules}
    assert found == {name: scheme for name, scheme in wanted.items() if scheme != UNQUANTIZED}


def test_that_the_recipe_passes_its_own_checks_and_reads_back_from_its_document() -> None:
    model = llama_survey()
    parts = parts_of(model, ("lm_head",))
    document = mixed(choice(parts, "W4A16", "W8A16"), parts, model, 64)
    recipe = resolve_recipe(document.method, document.parameters, None, model)
    findings = find("mixed").checks(model, recipe.parameters)
    assert {finding.code for finding in findings} <= {"group-size-chosen"}
    assert recipe.calibration is not None
    read = read_document(document_text(document), model)
    assert isinstance(read, RecipeDocument)
    assert read.parameters == document.parameters


def test_that_no_layer_is_named_by_its_class_and_rules_are_few() -> None:
    model = llama_survey()
    parts = parts_of(model, ("lm_head",))
    rules = mixed(choice(parts, "W4A16", "W8A16"), parts, model, 64).parameters["rules"]
    assert all(pattern.startswith("re:") for pattern in rules)
    assert len(rules) <= 8
    uniform = mixed(choice(parts, "W4A16"), parts, model, 64).parameters["rules"]
    assert set(uniform) == {
        r"re:.*layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj)$",
        r"re:.*layers\.\d+\.self_attn\.o_proj$",
        r"re:.*layers\.\d+\.mlp\.(gate_proj|up_proj)$",
        r"re:.*layers\.\d+\.mlp\.down_proj$",
    }


def test_that_a_second_tower_of_the_same_names_is_not_named_along() -> None:
    model = survey(
        linear("model.text.layers.0.mlp.down_proj"),
        linear("model.text.layers.1.mlp.down_proj"),
        linear("model.audio.layers.0.mlp.down_proj"),
    )
    parts = parts_of(model, ())
    assert len(parts) == 3
    (only,) = patterns([parts[0]], linears_of(model))
    assert only == "model.text.layers.0.mlp.down_proj"
    chosen = Assignment(
        budget_bytes=0,
        bytes=0,
        schemes=dict(zip((part.key for part in parts), ("W4A16", "W4A16", "W8A16"), strict=True)),
        predicted_kl=0.0,
        uniform={},
    )
    found = pressed(mixed(chosen, parts, model, 64), model)
    assert found["model.audio.layers.0.mlp.down_proj"] == "W8A16"
    assert found["model.text.layers.0.mlp.down_proj"] == "W4A16"


def test_that_experts_are_named_by_their_block() -> None:
    model = survey(experts("model.layers.0.mlp.experts"), experts("model.layers.1.mlp.experts"))
    parts = parts_of(model, ())
    assert patterns(parts, linears_of(model)) == (r"re:.*layers\.\d+\.mlp\.experts\..*$",)
    chosen = Assignment(
        budget_bytes=0,
        bytes=0,
        schemes={parts[0].key: "W4A16", parts[1].key: "W8A16"},
        predicted_kl=0.0,
        uniform={},
    )
    found = pressed(mixed(chosen, parts, model, 32), model)
    assert {scheme for name, scheme in found.items() if ".0.mlp" in name} == {"W4A16"}
    assert {scheme for name, scheme in found.items() if ".1.mlp" in name} == {"W8A16"}


def test_that_a_mix_within_what_engines_fuse_is_warned_of() -> None:
    model = survey(experts("model.layers.0.mlp.experts"))
    rules = {r"re:.*gate_proj$": "W8A16", r"re:.*(up|down)_proj$": "W4A16"}
    recipe = resolve_recipe("mixed", {"rules": rules, "group_size": 32}, None, model)
    codes = [finding.code for finding in find("mixed").checks(model, recipe.parameters)]
    assert "rules-split" in codes
