"""The section Sensitivity: how a map is asked for, and how its mix gets to Compress."""

from __future__ import annotations

import pytest
from measured_values import a_sensitivity
from model_values import a_model
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot
from run_values import a_run
from window_values import MODELS, ORIGINAL

from core.jobs.run import RunKind
from core.methods.catalogue import METHODS
from core.methods.not_offered import NOT_OFFERED
from core.methods.recipe import Recipe
from ui.humanize import number_text
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmarks import BenchmarksPage
from ui.pages.compress import CompressPage
from ui.pages.run_words import figures, state_words


@pytest.fixture
def page(qtbot: QtBot) -> BenchmarksPage:
    made = BenchmarksPage()
    qtbot.addWidget(made)
    made.resize(1096, 756)
    made.show()
    made.show_models((a_model("big"), a_model("fp8", made_from="big")))
    made.choose("/models/big", ())
    made.show_rows((BenchmarkRow("/models/big", "big", True, 269_000_000),))
    made.show_section("Sensitivity")
    return made


def button(page: BenchmarksPage, name: str) -> QPushButton:
    found = page.findChild(QPushButton, f"benchmarks.sensitivity.{name}")
    assert found is not None
    return found


def test_that_the_original_alone_is_enough_to_measure_its_parts(page: BenchmarksPage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page.sensitivity_requested) as asked:
        button(page, "measure").click()
    assert asked.args == ["/models/big"]
    page.show_busy("Sensitivity: Compress part by part", 0.5)
    assert not button(page, "measure").isEnabled()
    page.show_busy("")
    assert button(page, "measure").isEnabled()


def test_that_a_mix_is_offered_once_there_is_one(page: BenchmarksPage, qtbot: QtBot) -> None:
    assert not button(page, "use_mix").isEnabled()
    result = a_sensitivity()
    page.show_sensitivity(result.model_copy(update={"assignment": None}))
    assert not button(page, "use_mix").isEnabled()
    page.show_sensitivity(result)
    with qtbot.waitSignal(page.mix_requested) as asked:
        button(page, "use_mix").click()
    assert asked.args == [result]


def test_that_a_run_says_what_it_measured_and_what_the_mix_weighs() -> None:
    result = a_sensitivity()
    found = figures(a_run(1, kind=RunKind.SENSITIVITY, result=result.model_dump(mode="json")))
    assert found[0] == ("120", "parts in W4A16 and W8A16")
    assert found[1][1] == "the best mix of them, for the same layers"
    assert found[2] == (number_text(4096), "tokens scored")
    assert state_words(a_run(1, kind=RunKind.SENSITIVITY, result={}))[0] == "measured"


def test_that_a_mix_becomes_the_rules_of_mixed_on_compress(qtbot: QtBot) -> None:
    page = CompressPage()
    qtbot.addWidget(page)
    page.show_methods(METHODS, NOT_OFFERED)
    page.show_models(MODELS)
    rules = {r"re:.*layers\.(0|2)\.mlp\.down_proj$": "W8A16", r"re:.*layers\.1\.mlp\.down_proj$": "W4A16"}
    recipe = Recipe(method="mixed", parameters={"rules": rules, "group_size": 64, "algorithm": "gptq"})
    page.show_recipe(ORIGINAL.path, recipe)
    choice = page.choice()
    assert choice is not None
    assert (choice.model, choice.current) == (ORIGINAL.path, "mixed")
    assert choice.overrides["mixed"]["rules"] == rules
