import pytest
from measured_values import a_sensitivity, a_sweep, rows_of
from model_values import CONDITIONS, NOTE, a_benchmark, a_fidelity, a_model
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableView,
    QWidget,
)
from pytestqt.qtbot import QtBot

from core.measure.gates import BUILT_IN, Gate, Threshold
from core.measure.results import BenchmarkSuite, EvaluationSuite
from ui.forms.speed_form import read_batches
from ui.forms.suite_form import SuiteForm
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmarks import BenchmarksPage
from ui.theme import apply_theme
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_drawing import spots_of
from ui.widgets.chart_table import FigureTable

SECTIONS = ("Overview", "Divergence", "Tasks", "Speed", "Sweep", "Sensitivity")
MODELS = (
    a_model("small"),
    a_model("big"),
    a_model("fp8", made_from="big"),
    a_model("int4 <b>&", made_from="big"),
    a_model("fp8 of small", made_from="small"),
)
ROWS = (
    BenchmarkRow("/models/big", "big", True, 269_000_000, a_benchmark("/models/big", 20.0), None, 12.2, CONDITIONS),
    BenchmarkRow(
        "/models/fp8",
        "fp8",
        False,
        163_000_000,
        a_benchmark("/models/fp8", 12.0),
        a_fidelity("/models/fp8", 0.006),
        12.4,
        CONDITIONS,
    ),
    BenchmarkRow("/models/int4", "int4 <b>&", False, 113_000_000),
)


@pytest.fixture
def page(qtbot: QtBot) -> BenchmarksPage:
    made = BenchmarksPage()
    qtbot.addWidget(made)
    made.resize(1096, 756)
    made.show()
    return made


def text_of(page: QWidget, name: str) -> str:
    label = page.findChild(QLabel, name)
    assert label is not None
    return label.text()


def button(page: QWidget, name: str) -> QPushButton:
    found = page.findChild(QPushButton, name)
    assert found is not None
    return found


def test_that_without_models_the_page_says_where_to_begin(page: BenchmarksPage) -> None:
    page.show_models(())
    assert page.findChild(QWidget, "benchmarks.empty").isVisible()  # type: ignore[union-attr]
    assert not button(page, "benchmarks.measure").isEnabled()


def test_that_the_artifacts_of_the_original_are_chosen_at_first(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.choose("/models/big", ("/models/fp8", "/models/int4 <b>&"))
    assert page.original() == "/models/big"
    assert page.others() == ("/models/fp8", "/models/int4 <b>&")
    assert button(page, "benchmarks.models").text() == "big and 2 others"


def test_that_a_choice_by_a_person_is_told_and_one_by_the_application_is_not(
    page: BenchmarksPage, qtbot: QtBot
) -> None:
    page.show_models(MODELS)
    with qtbot.assertNotEmitted(page.models_chosen):
        page.choose("/models/big", ("/models/fp8",))
    box = page.findChild(QCheckBox, "benchmarks.others./models/int4 <b>&")
    assert box is not None
    assert box.accessibleName() == "int4 <b>&"
    with qtbot.waitSignal(page.models_chosen) as told:
        box.click()
    assert told.args == ["/models/big", ("/models/fp8", "/models/int4 <b>&")]


def test_that_measure_asks_first_and_tells_both_suites(page: BenchmarksPage, qtbot: QtBot) -> None:
    page.show_models(MODELS)
    page.choose("/models/big", ("/models/fp8",))
    button(page, "benchmarks.measure").click()
    dialog = page.findChild(QDialog, "benchmarks.measure_dialog")
    assert dialog is not None
    batches = dialog.findChild(QLineEdit, "benchmarks.measure.batches")
    assert batches is not None
    batches.setText("1, 8")
    with qtbot.waitSignal(page.measure_requested) as told:
        button(dialog, "benchmarks.measure.start").click()
    assert told.args == [
        "/models/big",
        ("/models/fp8",),
        EvaluationSuite(),
        BenchmarkSuite(batches=(1, 8)),
    ]


def test_that_wrong_batch_sizes_are_refused_with_the_reason(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.choose("/models/big", ("/models/fp8",))
    button(page, "benchmarks.measure").click()
    dialog = page.findChild(QDialog, "benchmarks.measure_dialog")
    assert dialog is not None
    batches = dialog.findChild(QLineEdit, "benchmarks.measure.batches")
    assert batches is not None
    batches.setText("1, many")
    assert not button(dialog, "benchmarks.measure.start").isEnabled()
    assert "whole numbers" in text_of(dialog, "benchmarks.measure.problem")


@pytest.mark.parametrize(
    ("text", "batches"),
    [("1, 4", (1, 4)), ("4;1,4", (1, 4)), ("", None), ("0", None), ("2000", None), ("-1", None), ("1,,2", None)],
)
def test_that_batch_sizes_are_read_strictly(text: str, batches: tuple[int, ...] | None) -> None:
    assert read_batches(text) == batches


def test_that_the_form_keeps_what_it_does_not_show(qtbot: QtBot) -> None:
    form = SuiteForm()
    qtbot.addWidget(form)
    evaluation = EvaluationSuite(texts=("prose", "/data/mine.txt"), tokens=4096, chat_tokens=99, seed=3)
    benchmark = BenchmarkSuite(batches=(2,), warmups=4, seed=5)
    form.set_value(evaluation, benchmark)
    assert form.evaluation() == evaluation
    assert form.benchmark() == benchmark


def test_that_rows_fill_table_charts_and_conditions(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.show_rows(ROWS)
    table = page.findChild(QTableView, "benchmarks.table")
    assert table is not None
    model = table.model()
    assert [model.index(row, 0).data() for row in range(3)] == ["big", "fp8", "int4 <b>&"]
    assert model.index(1, 2).data() == "0.00600"
    assert model.index(2, 2).data() == "–"
    assert model.index(2, 2).data(Qt.ItemDataRole.ToolTipRole) == "<qt>Not measured. Measure… fills it.</qt>"
    assert "&lt;b&gt;&amp;" in model.index(2, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert model.index(1, 1).data(Qt.ItemDataRole.TextAlignmentRole) & int(Qt.AlignmentFlag.AlignRight)
    scatter = page.findChild(ChartCard, "benchmarks.scatter")
    assert scatter is not None
    assert [spot.hint.split("\n")[0] for spot in spots_of(scatter.drawing())] == ["fp8"]
    conditions = text_of(page, "benchmarks.conditions")
    assert conditions.startswith("Speed and memory: transformers 5.17 · cpu, 2 threads · bfloat16")
    assert conditions.endswith(NOTE)


def test_that_no_figure_of_the_table_is_cut_in_a_small_window(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.show_rows(ROWS)
    table = page.findChild(QTableView, "benchmarks.table")
    assert table is not None
    columns = table.model().columnCount()
    assert sum(table.columnWidth(column) for column in range(columns)) <= table.viewport().width()
    for column in range(1, columns):
        for row in range(3):
            text = table.model().index(row, column).data()
            assert table.fontMetrics().horizontalAdvance(text) <= table.columnWidth(column) - 18


def test_that_the_smallest_model_that_passes_the_gate_is_named_in_its_tone(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.show_rows(rows_of())
    card = page.findChild(QWidget, "benchmarks.verdict")
    assert card is not None
    assert card.isVisible()
    assert card.property("tone") == "done"
    assert text_of(page, "benchmarks.verdict.sentence") == "gptq-w4a16 passes production and is the smallest that does."
    page.show_gates(BUILT_IN, "near-lossless")
    assert text_of(page, "benchmarks.verdict.sentence").startswith("fp8-dynamic passes near-lossless")
    page.show_rows(ROWS[:1])
    assert not card.isVisible()


def test_that_a_gate_that_no_model_passes_says_which_is_the_closest(page: BenchmarksPage) -> None:
    strict = Gate(name="strict", title="Strict", thresholds=(Threshold(figure="kl.mean", at_most=1e-5),))
    page.show_models(MODELS)
    page.show_gates((*BUILT_IN, strict), "strict")
    page.show_rows(rows_of())
    assert text_of(page, "benchmarks.verdict.sentence") == "No model passes strict; w8a16 is the closest."
    assert page.findChild(QWidget, "benchmarks.verdict").property("tone") == "failed"  # type: ignore[union-attr]


def test_that_a_gate_chosen_by_a_person_is_told_and_judges_anew(page: BenchmarksPage, qtbot: QtBot) -> None:
    page.show_models(MODELS)
    page.show_rows(rows_of())
    choice = page.findChild(QComboBox, "benchmarks.gate_choice")
    assert choice is not None
    with qtbot.waitSignal(page.gate_chosen) as told:
        choice.setCurrentIndex(0)
    assert told.args == ["near-lossless"]
    button(page, "benchmarks.verdict.why").click()
    table = page.findChild(FigureTable, "benchmarks.gate")
    assert table is not None
    assert table.isVisible()
    assert table.as_text().splitlines()[1].split("\t") == ["w8a16", "all of near-lossless", "pass", "", "", ""]


def test_that_every_section_fits_and_is_painted_in_both_themes(page: BenchmarksPage, qapp: QApplication) -> None:
    page.show_models(MODELS)
    page.show_rows(rows_of())
    page.show_sweep(a_sweep())
    page.show_sensitivity(a_sensitivity())
    for section in SECTIONS:
        page.show_section(section)
        seen = [card for card in page.findChildren(ChartCard) if card.isVisible()]
        assert seen
        for card in seen:
            assert not card.drawing().empty
            assert card.mapTo(page, card.rect().topRight()).x() <= page.width() == 1096
    light = page.grab().toImage()
    apply_theme(qapp, "dark")
    page.resize(1736, 1000)
    dark = page.grab().toImage()
    assert light.pixelColor(5, 5).lightness() > 200 > 60 > dark.pixelColor(5, 5).lightness()


def test_that_a_section_without_figures_says_what_to_do(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.show_rows((BenchmarkRow("/models/big", "big", True, 269_000_000),))
    words = (
        "Measure… scores all models",
        "Measure… scores all models",
        "Choose some under Measure…",
        "Measure… runs each model",
        "Tick several methods on Compress",
        "Measure sensitivity compresses",
    )
    for section, wanted in zip(SECTIONS, words, strict=True):
        page.show_section(section)
        told = [label.text() for label in page.findChildren(QLabel) if label.isVisible()]
        assert any(wanted in text for text in told), section


def test_that_a_section_is_filled_when_it_is_turned_to(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.show_rows(rows_of())
    assert page.findChild(ChartCard, "benchmarks.tasks.accuracy") is None
    page.show_section("Tasks")
    card = page.findChild(ChartCard, "benchmarks.tasks.accuracy")
    assert card is not None
    assert card.drawing().y.names == ("General knowledge, four choices", "Short answers, exact match")


def test_that_a_chart_is_handed_out_as_a_picture_with_a_name(page: BenchmarksPage, qtbot: QtBot) -> None:
    page.show_models(MODELS)
    page.show_rows(rows_of())
    action = page.findChild(QAction, "benchmarks.scatter.export.svg")
    assert action is not None
    with qtbot.waitSignal(page.picture_exported) as told:
        action.trigger()
    name, picture = told.args
    assert name == "kl-divergence-against-size.svg"
    assert bytes(picture).startswith(b"<?xml")


def test_that_measuring_twice_at_once_is_not_offered(page: BenchmarksPage) -> None:
    page.show_models(MODELS)
    page.choose("/models/big", ("/models/fp8",))
    page.show_busy("Scoring fp8 on chat", 0.3)
    assert text_of(page, "benchmarks.busy.text") == "Scoring fp8 on chat"
    assert not button(page, "benchmarks.measure").isEnabled()
    page.show_busy("")
    assert button(page, "benchmarks.measure").isEnabled()


def test_that_export_is_offered_when_there_is_something(page: BenchmarksPage, qtbot: QtBot) -> None:
    page.show_models(MODELS)
    assert not button(page, "benchmarks.export").isEnabled()
    page.show_rows(ROWS)
    with qtbot.waitSignal(page.export_requested):
        button(page, "benchmarks.export").click()
