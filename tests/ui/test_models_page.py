"""The Models page."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton, QTableView, QWidget
from pytestqt.qtbot import QtBot
from window_values import ARTIFACT, FAILED_ARTIFACT, GGUF, MODELS, ORIGINAL, PICKLE, STARTER, a_model

from core.models.local_model import Remark
from ui.models.model_table import NAME, PARAMETERS, PRECISION, SIZE, TAGS_ROLE, ModelTable
from ui.pages.models import ModelsPage
from ui.widgets.fact_list import FactList


def a_page(qtbot: QtBot) -> ModelsPage:
    page = ModelsPage()
    qtbot.addWidget(page)
    page.resize(1200, 700)
    page.show()
    page.show_models(MODELS)
    return page


def names(page: ModelsPage) -> list[str]:
    table = page.findChild(QTableView, "models.table")
    assert table is not None
    return [str(table.model().index(row, NAME).data()) for row in range(table.model().rowCount())]


def press(qtbot: QtBot, page: QWidget, name: str) -> None:
    button = page.findChild(QPushButton, name)
    assert button is not None
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def text(page: QWidget, name: str) -> str:
    found = page.findChild(QLabel, name)
    assert found is not None
    return found.text() if found.isVisible() else ""


def test_that_what_was_made_from_a_model_stands_below_it(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    assert names(page) == ["ant-q4.gguf", "Moth", "SmolLM2", "Zebra-135M", "Zebra FP8", "Zebra INT4"]


def test_that_artifacts_stay_with_their_original_whatever_the_order() -> None:
    table = ModelTable()
    table.show_models((a_model("Big", bytes=10**12), ORIGINAL, ARTIFACT, FAILED_ARTIFACT))
    table.sort(SIZE, Qt.SortOrder.DescendingOrder)
    assert [table.model_at(row).name for row in range(4)] == [  # type: ignore[union-attr]
        "Big",
        "Zebra-135M",
        "Zebra INT4",
        "Zebra FP8",
    ]


def test_that_an_artifact_without_its_original_stands_for_itself() -> None:
    table = ModelTable()
    table.show_models((ARTIFACT,))
    assert table.model_at(0) == ARTIFACT


def test_that_models_that_claim_to_come_from_each_other_are_all_reachable() -> None:
    one = a_model("one", made_from="/models/two")
    two = a_model("two", made_from="/models/one")
    table = ModelTable()
    table.show_models((one, two, ORIGINAL))
    assert {table.index(row, NAME).data() for row in range(table.rowCount())} == {"one", "two", "Zebra-135M"}


def test_that_a_row_tells_parameters_size_and_its_tags() -> None:
    table = ModelTable()
    table.show_models((ARTIFACT, PICKLE))
    moth = table.row_of(PICKLE.path)
    made = table.row_of(ARTIFACT.path)
    assert moth is not None
    assert made is not None
    assert table.index(moth, PARAMETERS).data() == "134.5 M"
    assert [word for word, _ in table.index(moth, NAME).data(TAGS_ROLE)] == ["pickle"]
    assert [word for word, _ in table.index(made, PRECISION).data(TAGS_ROLE)] == ["proved"]


def test_that_search_keeps_matches_and_their_originals(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    search = page.findChild(QLineEdit, "models.search")
    assert search is not None
    page.focus_search()
    QTest.keyClicks(search, "fp8")
    assert names(page) == ["Zebra-135M", "Zebra FP8"]
    search.setText("nothing like this")
    assert names(page) == []
    assert any("nothing like this" in found.text() for found in page.findChildren(QLabel) if found.isVisible())


def test_that_selecting_shows_what_is_inside(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    with qtbot.waitSignal(page.selection_changed) as told:
        page.select(ORIGINAL.path)
    assert told.args == [ORIGINAL]
    assert text(page, "models.details.name") == "Zebra-135M"
    facts = page.findChild(FactList, "models.details.facts")
    assert facts is not None
    assert dict(facts.facts())["Layers"] == "30"
    assert dict(facts.facts())["Embeddings"] == "tied"


def test_that_the_chosen_model_stays_chosen_when_the_list_is_read_again(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(PICKLE.path)
    with qtbot.assertNotEmitted(page.selection_changed):
        page.show_models((*MODELS, a_model("Aardvark")))
    assert page.selected == PICKLE
    page.show_models((ORIGINAL,))
    assert text(page, "models.details.name") == "Zebra-135M"


def test_that_selecting_a_model_that_the_search_hides_clears_the_search(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    search = page.findChild(QLineEdit, "models.search")
    assert search is not None
    search.setText("moth")
    page.select(ARTIFACT.path)
    assert search.text() == ""
    assert page.selected == ARTIFACT


def test_that_the_buttons_carry_the_chosen_model(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(ORIGINAL.path)
    for signal, button in (
        (page.compress_requested, "models.compress"),
        (page.compare_requested, "models.compare"),
        (page.show_in_folder_requested, "models.show_in_folder"),
    ):
        with qtbot.waitSignal(signal) as asked:
            press(qtbot, page, button)
        assert asked.args == [ORIGINAL]


def test_that_a_gguf_file_is_imported_and_a_starter_fetched(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(GGUF.path)
    with qtbot.waitSignal(page.import_requested) as asked:
        press(qtbot, page, "models.details.import")
    assert asked.args == [GGUF]
    page.select(STARTER.path)
    with qtbot.waitSignal(page.starter_requested):
        press(qtbot, page, "models.fetch")
    with qtbot.waitSignal(page.import_requested) as asked:
        press(qtbot, page, "models.import")
    assert asked.args == [None]


def test_that_a_model_with_pickles_cannot_be_compressed_and_says_why(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(PICKLE.path)
    button = page.findChild(QPushButton, "models.compress")
    assert button is not None
    assert not button.isEnabled()
    assert any(found.text() == "Its weights are Python pickles." for found in page.findChildren(QLabel))
    menu = {action.text(): action.isEnabled() for action in page.menu(PICKLE).actions()}
    assert menu["Compress…"] is False
    assert menu["Copy path"] is True


def test_that_an_artifact_says_that_it_is_compressed_already(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(ARTIFACT.path)
    assert text(page, "models.details.why_not") == "It is compressed already."


def test_that_enter_compresses_the_chosen_model(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(ORIGINAL.path)
    table = page.findChild(QTableView, "models.table")
    assert table is not None
    with qtbot.waitSignal(page.compress_requested) as asked:
        QTest.keyClick(table, Qt.Key.Key_Return)
    assert asked.args == [ORIGINAL]


def test_that_fits_of_another_model_are_ignored(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.select(ORIGINAL.path)
    page.show_fits(PICKLE.path, (("done", "Pickles fit"),))
    page.show_fits(ORIGINAL.path, (("done", "BF16 runs in 24 GiB"),))
    shown = [found.text() for found in page.findChildren(QLabel) if found.isVisible()]
    assert "BF16 runs in 24 GiB" in shown
    assert "Pickles fit" not in shown
    page.select(PICKLE.path)
    assert "BF16 runs in 24 GiB" not in [found.text() for found in page.findChildren(QLabel) if found.isVisible()]


def test_that_an_empty_page_offers_the_starter_model(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.show_models(())
    with qtbot.waitSignal(page.starter_requested):
        press(qtbot, page, "models.starter")
    page.show_progress("Fetching · 41 of 102 MB", 0.4)
    assert text(page, "models.progress.text") == "Fetching · 41 of 102 MB"
    page.hide_progress()
    assert text(page, "models.progress.text") == ""


def test_that_a_folder_dropped_on_the_page_is_told(qtbot: QtBot, tmp_path: Path) -> None:
    page = a_page(qtbot)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    with qtbot.waitSignal(page.folder_dropped) as dropped:
        page.dropEvent(event)
    assert dropped.args == [tmp_path]


def test_that_markup_in_a_model_name_stays_text(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    evil = a_model("<img src=x onerror=1>", "/models/evil")
    page.show_models((evil,))
    assert text(page, "models.details.name") == "<img src=x onerror=1>"
    assert page.grab().width() > 0


def test_that_columns_give_way_before_the_name_does(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    table = page.findChild(QTableView, "models.table")
    assert table is not None
    page.resize(1700, 800)
    assert not any(table.isColumnHidden(column) for column in range(7))
    page.resize(900, 700)
    assert not table.isColumnHidden(NAME)
    assert any(table.isColumnHidden(column) for column in range(7))
    QGuiApplication.processEvents()


def test_that_code_that_came_with_a_model_can_be_read(qtbot: QtBot) -> None:
    coded = a_model("Coded", remarks=(Remark(code="own-code-unused", level="warns", message="It came with code."),))
    page = ModelsPage()
    qtbot.addWidget(page)
    page.show_models((coded, ORIGINAL))
    read = page.findChild(QPushButton, "models.own_code")
    assert read is not None
    page.select(ORIGINAL.path)
    assert read.isHidden()
    page.select(coded.path)
    assert not read.isHidden()
    with qtbot.waitSignal(page.code_requested) as asked:
        read.click()
    assert asked.args == [coded]
