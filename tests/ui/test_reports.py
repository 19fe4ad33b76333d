from pathlib import Path

import pytest
import typst
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from run_values import a_failed_run, a_run

from core.errors import Problem
from core.jobs.protocol import FinishReason
from core.jobs.run import RunKind
from core.jobs.snapshot import Phase
from ui.pages.reports import ReportsPage

CHAPTERS = ("Summary", "Quality & speed")


@pytest.fixture
def page(qtbot: QtBot) -> ReportsPage:
    made = ReportsPage()
    qtbot.addWidget(made)
    made.resize(1096, 756)
    made.show()
    return made


@pytest.fixture(scope="session")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    source = folder / "report.typ"
    source.write_text("One\n#pagebreak()\nTwo\n#pagebreak()\nThree")
    typst.compile(str(source), output=str(folder / "report.pdf"))
    return folder / "report.pdf"


def text_of(page: QWidget, name: str) -> str:
    label = page.findChild(QLabel, name)
    assert label is not None
    return label.text()


def button(page: QWidget, name: str) -> QPushButton:
    found = page.findChild(QPushButton, name)
    assert found is not None
    return found


def filled(page: ReportsPage) -> None:
    page.show_runs((a_run(1), a_run(2, kind=RunKind.EVALUATE), a_run(3)))
    page.show_chapters(CHAPTERS)


def test_that_without_runs_the_page_says_what_to_do(page: ReportsPage) -> None:
    page.show_runs(())
    assert page.findChild(QWidget, "reports.empty").isVisible()  # type: ignore[union-attr]
    assert not button(page, "reports.export_pdf").isEnabled()


def test_that_only_finished_runs_can_be_reported(page: ReportsPage) -> None:
    page.show_runs(
        (
            a_run(1),
            a_run(2, Phase.RUNNING),
            a_failed_run(3),
            a_run(4, reason=FinishReason.CANCELLED),
            a_run(5, kind=RunKind.IMPORT),
        )
    )
    boxes = [box.objectName() for box in page.findChildren(QCheckBox)]
    assert boxes == ["reports.runs.1"]


def test_that_a_choice_asks_for_one_preview_with_all_chapters(page: ReportsPage, qtbot: QtBot) -> None:
    filled(page)
    with qtbot.waitSignal(page.preview_requested) as told:
        page.choose((3, 1))
    assert told.args == [(1, 3), CHAPTERS]


def test_that_several_changes_ask_once(page: ReportsPage, qtbot: QtBot) -> None:
    filled(page)
    asked: list[tuple[object, object]] = []
    page.preview_requested.connect(lambda ids, chapters: asked.append((ids, chapters)))
    page.choose((1,))
    box = page.findChild(QCheckBox, "reports.chapters.Quality & speed")
    assert box is not None
    box.click()
    qtbot.waitUntil(lambda: bool(asked))
    qtbot.wait(500)
    assert asked == [((1,), ("Summary",))]


@pytest.mark.parametrize(
    ("name", "suffix"), [("pdf", ".pdf"), ("html", ".html"), ("json", ".json"), ("csv", ".csv"), ("card", ".md")]
)
def test_that_each_export_tells_its_suffix(page: ReportsPage, qtbot: QtBot, name: str, suffix: str) -> None:
    filled(page)
    page.choose((2,))
    with qtbot.waitSignal(page.export_requested) as told:
        button(page, f"reports.export_{name}").click()
    assert told.args == [suffix, (2,), CHAPTERS]


def test_that_a_preview_shows_its_pages_and_can_be_turned(page: ReportsPage, pdf: Path, qtbot: QtBot) -> None:
    filled(page)
    page.choose((1,))
    page.show_preview(pdf)
    assert text_of(page, "reports.page") == "Page 1 of 3"
    button(page, "reports.next").click()
    qtbot.waitUntil(lambda: text_of(page, "reports.page") == "Page 2 of 3")
    page.show_preview(pdf)
    assert text_of(page, "reports.page") == "Page 2 of 3"


def test_that_zoom_and_fit_can_be_pressed_in_any_order(page: ReportsPage, pdf: Path) -> None:
    filled(page)
    page.choose((1,))
    page.show_preview(pdf)
    for name in ("reports.zoom_in", "reports.zoom_out", "reports.fit", "reports.zoom_out"):
        button(page, name).click()
    assert text_of(page, "reports.page") == "Page 1 of 3"


def test_that_a_file_which_is_no_pdf_is_said_so(page: ReportsPage, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_text("no pdf")
    filled(page)
    page.choose((1,))
    page.show_preview(broken)
    assert "not a PDF" in text_of(page, "reports.problem.message")


def test_that_a_problem_takes_the_waiting_away(page: ReportsPage) -> None:
    filled(page)
    page.choose((1,))
    page.show_busy("Making the report …")
    assert text_of(page, "reports.busy") == "Making the report …"
    page.show_problem(Problem(code="x", message="The disk is full.", hint="Make room."))
    assert text_of(page, "reports.problem.message") == "The disk is full."
    assert text_of(page, "reports.busy") == ""


def test_that_checked_runs_stay_checked_when_new_ones_come(page: ReportsPage) -> None:
    filled(page)
    page.choose((1, 3))
    page.show_runs((a_run(1), a_run(2), a_run(3), a_run(4)))
    assert page.ids() == (1, 3)


def test_that_a_gate_asks_for_the_preview_again(page: ReportsPage, qtbot: QtBot) -> None:
    filled(page)
    page.choose((1,))
    page.basis.show_gates([("production", "Production <b>")])
    with qtbot.waitSignal(page.preview_requested):
        pass
    combo = page.findChild(QComboBox, "reports.gate")
    with qtbot.waitSignal(page.preview_requested):
        combo.setCurrentIndex(1)
    assert (page.basis.gate(), page.basis.sweep()) == ("production", "")


def test_that_a_sweep_can_be_chosen_only_where_there_is_one(page: ReportsPage, qtbot: QtBot) -> None:
    combo = page.findChild(QComboBox, "reports.sweep")
    assert combo.isHidden()
    page.basis.show_sweeps([("3", "3: original, 6 methods")])
    assert not combo.isHidden()
    with qtbot.waitSignal(page.basis.sweep_chosen) as told:
        combo.setCurrentIndex(1)
    assert told.args == ["3"]
    page.basis.show_sweeps([("3", "3: original, 6 methods"), ("4", "4: other, 2 methods")])
    assert page.basis.sweep() == "3"
