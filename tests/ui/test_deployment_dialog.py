"""The deployment dialog: a form, a table, and what they say."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QLineEdit, QPushButton, QSpinBox, QTableView, QWidget
from pytestqt.qtbot import QtBot
from window_values import ARTIFACT, GGUF, MODELS, ORIGINAL, PICKLE, STARTER

from app.deployment import Subject
from app.pages.deployment import planned, show_deployment
from core.paths import Home
from core.plan.architecture import PRESETS, THIS_ARTIFACT, architecture_of, stored_weights
from core.plan.gpu_kinds import GPU_KINDS
from ui.dialogs.deployment import DeploymentDialog
from ui.forms.deployment_form import DeploymentChoice
from ui.pages.models import ModelsPage

SCOUT = Subject(PRESETS["llama-4-scout"])


def a_dialog(qtbot: QtBot, subject: Subject = SCOUT, choice: DeploymentChoice | None = None) -> DeploymentDialog:
    """Answers its own form, as the application does."""
    dialog = DeploymentDialog("Llama 4 Scout", GPU_KINDS)
    qtbot.addWidget(dialog)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    dialog.changed.connect(lambda changed: dialog.show_deployment(planned(subject, changed)))
    dialog.set_value(choice or DeploymentChoice(scheme="BF16", concurrency=1))
    dialog.show_deployment(planned(subject, dialog.value()))
    dialog.resize(1200, 700)
    dialog.show()
    return dialog


def text(dialog: QWidget, name: str) -> str:
    found = dialog.findChild(QLabel, name)
    assert found is not None
    return found.text()


def table(dialog: QWidget) -> QTableView:
    found = dialog.findChild(QTableView, "deployment.table")
    assert found is not None
    return found


def row(dialog: QWidget, title: str) -> list[str]:
    model = table(dialog).model()
    rows = [
        [str(model.index(at, column).data()) for column in range(model.columnCount())] for at in range(model.rowCount())
    ]
    return next(cells for cells in rows if cells[0] == title)


def test_that_each_scheme_is_a_row_with_memory_gpus_and_where_it_runs(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot)
    assert row(dialog, "BF16") == ["BF16", "218 GB", "1.6 GB", "228 GB", "3", "4", "native"]
    assert row(dialog, "W4A16")[4:6] == ["1", "1"]
    assert row(dialog, "MXFP8")[-1] == "does not run"
    assert table(dialog).model().rowCount() == 16


def test_that_the_chosen_row_is_explained_with_what_was_published(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot)
    assert text(dialog, "deployment.chosen") == "BF16: 4 × H100 80 GB"
    notes = text(dialog, "deployment.notes")
    assert "Published for Llama 4 Scout (Red Hat Developer, 9 May 2025)" in notes
    assert "3 by memory, 4 for tensor parallelism" in notes
    assert "0.9 x memory" in text(dialog, "deployment.formulas")


def test_that_choosing_a_row_and_choosing_a_scheme_are_one_thing(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot)
    view = table(dialog)
    scheme = dialog.findChild(QComboBox, "deployment.scheme")
    assert scheme is not None
    view.setCurrentIndex(view.model().index(3, 0))
    assert scheme.currentText() == view.model().index(3, 0).data()
    assert text(dialog, "deployment.chosen").startswith(scheme.currentText())
    scheme.setCurrentText("W4A16")
    assert text(dialog, "deployment.chosen") == "W4A16: 1 × H100 80 GB"
    chosen = view.selectionModel().selectedRows()
    assert [view.model().index(index.row(), 0).data() for index in chosen] == ["W4A16"]


def test_that_a_price_adds_a_column_and_what_is_saved(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot, choice=DeploymentChoice(scheme="W4A16", concurrency=1))
    assert len(row(dialog, "BF16")) == 7
    price, currency = dialog.findChild(QDoubleSpinBox, "deployment.price"), dialog.findChild(QLineEdit)
    currency = dialog.findChild(QLineEdit, "deployment.currency")
    assert price is not None
    assert currency is not None
    price.setValue(2.5)
    currency.setText("EUR")
    assert row(dialog, "BF16")[-1] == "10.00 EUR"
    assert row(dialog, "MXFP8")[-1] == "–"
    assert "2.50 EUR an hour, 1\u202f825 EUR a month; 75 % less than BF16" in text(dialog, "deployment.notes")


def test_that_more_requests_need_a_larger_cache(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot)
    concurrency = dialog.findChild(QSpinBox, "deployment.concurrency")
    cache = dialog.findChild(QComboBox, "deployment.kv_cache")
    assert concurrency is not None
    assert cache is not None
    concurrency.setValue(8)
    assert row(dialog, "BF16")[2] == "12.9 GB"
    cache.setCurrentIndex(1)
    assert row(dialog, "BF16")[2] == "6.4 GB"


def test_that_an_artifact_stands_first_as_it_lies_on_the_disk(qtbot: QtBot) -> None:
    subject = Subject(architecture_of(ARTIFACT, None), stored_weights(ARTIFACT, "fp8-dynamic"))
    dialog = a_dialog(qtbot, subject, DeploymentChoice(gpu="rtx-4090", scheme=THIS_ARTIFACT))
    assert table(dialog).model().index(0, 0).data() == THIS_ARTIFACT
    assert row(dialog, THIS_ARTIFACT)[1] == "163 MB"
    assert "FP8" in text(dialog, "deployment.notes")


def test_that_the_form_gives_back_what_it_was_given(qtbot: QtBot) -> None:
    choice = DeploymentChoice("b200", "NVFP4", 4096, 32, 8, 3.75, "USD")
    assert a_dialog(qtbot, choice=choice).value() == choice


def test_that_no_column_is_cut_at_its_usual_size_with_prices(qtbot: QtBot) -> None:
    dialog = a_dialog(
        qtbot, Subject(PRESETS["llama-4-maverick"]), DeploymentChoice(concurrency=64, price_per_hour=12, currency="USD")
    )
    assert not table(dialog).horizontalScrollBar().isVisible()


def test_that_markup_in_a_name_stays_text(qtbot: QtBot) -> None:
    dialog = DeploymentDialog("<b>bold</b>", GPU_KINDS)
    qtbot.addWidget(dialog)
    assert any(label.text() == "Plan deployment: <b>bold</b>" for label in dialog.findChildren(QLabel))
    assert all(label.textFormat() is Qt.TextFormat.PlainText for label in dialog.findChildren(QLabel))


def test_that_the_models_page_offers_it_for_what_has_parameters(qtbot: QtBot) -> None:
    page = ModelsPage()
    qtbot.addWidget(page)
    page.resize(1096, 700)
    page.show()
    page.show_models(MODELS)
    button = page.findChild(QPushButton, "models.deploy")
    assert button is not None
    for model in (ORIGINAL, ARTIFACT, PICKLE):
        page.select(model.path)
        with qtbot.waitSignal(page.deployment_requested) as asked:
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert asked.args == [model]
    page.select(STARTER.path)
    assert not button.isVisible()


def test_that_the_keyboard_moves_through_rows(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot)
    view = table(dialog)
    view.selectionModel().setCurrentIndex(view.model().index(0, 0), QItemSelectionModel.SelectionFlag.SelectCurrent)
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert text(dialog, "deployment.chosen").startswith("FP8_DYNAMIC")


def test_that_the_application_opens_it_with_a_plan_for_the_model(qtbot: QtBot, home: Home) -> None:
    page = ModelsPage()
    qtbot.addWidget(page)
    page.show()
    shell = SimpleNamespace(engine=SimpleNamespace(home=home))
    dialog = asyncio.run(show_deployment(page, shell, GGUF))  # type: ignore[arg-type]
    assert dialog.isVisible()
    assert row(dialog, "BF16")[1] == "269 MB"
    concurrency = dialog.findChild(QSpinBox, "deployment.concurrency")
    assert concurrency is not None
    before = row(dialog, "BF16")[2]
    concurrency.setValue(64)
    assert row(dialog, "BF16")[2] != before
    dialog.close()
