"""The one widget that paints every chart: hover, zoom, keyboard, words, pictures."""

from typing import Literal

import pytest
from PySide6.QtCore import QByteArray, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from ui.theme import apply_theme
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_drawing import (
    Area,
    Axis,
    Block,
    Curve,
    Dot,
    Drawing,
    Figures,
    Key,
    Mark,
    Region,
    Rule,
    Stroke,
    Words,
    in_words,
    nothing,
    series_ink,
    series_shape,
)
from ui.widgets.chart_plot import ChartPlot
from ui.widgets.chart_table import FigureTable

NAMES = ("int4 <b>bold</b>", "fp8", "int8")
MARKS: tuple[Mark, ...] = (
    Region("y", None, 0.002, "original", "no measurable difference"),
    Rule("y", 0.03, "done", "production limit 0.03"),
    Rule("x", 16.0, "original", "original", "dot"),
    Curve(((5.0, 0.02), (9.0, 0.006)), "quiet", dash="dash"),
    *(
        Dot(x, y, series_ink(index), series_shape(index), f"{name}\nKL {y}", name, y_interval=(y * 0.9, y * 1.1))
        for index, (name, x, y) in enumerate(zip(NAMES, (5.0, 9.0, 9.1), (0.02, 0.006, 0.009), strict=True))
    ),
)
DRAWING = Drawing(
    "KL against size",
    Axis("size, GB", 4.0, 17.0),
    Axis("mean KL, nats (log)", 0.001, 0.1, log=True),
    MARKS,
    keys=tuple(Key(name, series_ink(index), series_shape(index)) for index, name in enumerate(NAMES)),
    figures=Figures(("Model", "KL"), (("int4 <b>bold</b>", "0.02"), ("fp8", "0.006"))),
    note="lower left is better",
)


@pytest.fixture
def plot(qtbot: QtBot) -> ChartPlot:
    made = ChartPlot()
    qtbot.addWidget(made)
    made.resize(560, 340)
    made.show()
    made.show_drawing(DRAWING)
    made.grab()
    return made


@pytest.fixture
def card(qtbot: QtBot) -> ChartCard:
    made = ChartCard("KL against size", "demo")
    qtbot.addWidget(made)
    made.resize(600, 400)
    made.show()
    made.show_drawing(DRAWING)
    return made


def test_that_pointing_at_a_mark_tells_its_name_and_value_as_plain_text(plot: ChartPlot) -> None:
    plot.point(plot.place_of(5.0, 0.02) + QPointF(4, -3))
    assert plot.readout() == "int4 <b>bold</b>\nKL 0.02"
    plot.point(plot.place_of(9.0, 0.006))
    assert plot.readout() == "fp8\nKL 0.006"
    plot.point(plot.place_of(13.0, 0.05))
    assert plot.readout() == ""


def test_that_the_arrow_keys_go_through_all_marks(plot: ChartPlot) -> None:
    told = []
    for _ in range(4):
        QTest.keyClick(plot, Qt.Key.Key_Right)
        told.append(plot.readout().split("\n")[0])
    assert told == [*NAMES, NAMES[0]]
    QTest.keyClick(plot, Qt.Key.Key_Left)
    assert plot.readout().startswith("int8")
    QTest.keyClick(plot, Qt.Key.Key_Escape)
    assert plot.readout() == ""


def test_that_places_follow_the_axes(plot: ChartPlot) -> None:
    left, right = plot.place_of(5.0, 0.01), plot.place_of(9.0, 0.01)
    low, middle, high = (plot.place_of(5.0, value).y() for value in (0.001, 0.01, 0.1))
    assert left.x() < right.x()
    assert low - middle == pytest.approx(middle - high, abs=0.5)
    inside = plot.viewport().rect()
    assert all(inside.contains(plot.place_of(dot.x, dot.y).toPoint()) for dot in MARKS if isinstance(dot, Dot))


def test_that_zoom_shows_less_and_can_be_taken_back(plot: ChartPlot, qtbot: QtBot) -> None:
    before = plot.getViewBox().viewRange()
    with qtbot.waitSignal(plot.zoomed) as told:
        QTest.keyClick(plot, Qt.Key.Key_Plus)
    assert told.args == [True]
    now = plot.getViewBox().viewRange()
    assert now[0][1] - now[0][0] < before[0][1] - before[0][0]
    with qtbot.waitSignal(plot.zoomed) as told:
        QTest.keyClick(plot, Qt.Key.Key_0)
    assert told.args == [False]
    after = plot.getViewBox().viewRange()
    assert [*after[0], *after[1]] == pytest.approx([*before[0], *before[1]])


def turned(plot: ChartPlot, keys: Qt.KeyboardModifier) -> bool:
    """Turns the wheel over the middle of the chart; whether the chart took it."""
    place = QPointF(plot.viewport().rect().center())
    event = QWheelEvent(
        place,
        QPointF(plot.mapToGlobal(place.toPoint())),
        QPoint(0, 0),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        keys,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(plot.viewport(), event)
    return event.isAccepted()


def test_that_the_wheel_scrolls_the_page_and_zooms_with_ctrl(plot: ChartPlot, qtbot: QtBot) -> None:
    plot.clearFocus()
    before = plot.getViewBox().viewRange()
    assert not turned(plot, Qt.KeyboardModifier.NoModifier)
    assert plot.getViewBox().viewRange() == before
    with qtbot.waitSignal(plot.zoomed):
        turned(plot, Qt.KeyboardModifier.ControlModifier)
    assert plot.getViewBox().viewRange() != before


def test_that_a_dragged_box_is_what_is_seen_then(plot: ChartPlot, qtbot: QtBot) -> None:
    corner, other = plot.place_of(6.0, 0.05).toPoint(), plot.place_of(10.0, 0.004).toPoint()
    with qtbot.waitSignal(plot.zoomed):
        qtbot.mousePress(plot.viewport(), Qt.MouseButton.LeftButton, pos=corner)
        qtbot.mouseMove(plot.viewport(), (corner + other) / 2)
        qtbot.mouseMove(plot.viewport(), other)
        qtbot.mouseRelease(plot.viewport(), Qt.MouseButton.LeftButton, pos=other)
    (low, high), _ = plot.getViewBox().viewRange()
    assert (low, high) == (pytest.approx(6.0, abs=0.1), pytest.approx(10.0, abs=0.1))


def test_that_one_cannot_zoom_out_of_the_chart(plot: ChartPlot) -> None:
    before = plot.getViewBox().viewRange()
    for _ in range(5):
        plot.zoom_by(2.0)
    after = plot.getViewBox().viewRange()
    assert after[0] == pytest.approx(before[0])
    assert after[1] == pytest.approx(before[1])


@pytest.mark.parametrize("count", [3, 5, 12])
def test_that_names_of_close_points_cover_neither_each_other_nor_points(plot: ChartPlot, count: int) -> None:
    dots = tuple(
        Dot(5.0, 0.01 + 0.0006 * index, series_ink(index), "s", str(index), f"method-{index}") for index in range(count)
    )
    axes = (Axis("x", 4.0, 8.0), Axis("y", 0.0, 0.05))
    plot.show_drawing(Drawing("close", *axes, dots))
    plot.grab()
    names = [area for _, area in plot.word_places()]
    assert len(names) >= 3
    assert not any(one.intersects(two) for place, one in enumerate(names) for two in names[:place])
    assert not any(area.contains(plot.place_of(dot.x, dot.y)) for area in names for dot in dots)


def test_that_words_stand_inside_the_chart_and_are_no_markup(plot: ChartPlot) -> None:
    words = dict(plot.word_places())
    assert "int4 <b>bold</b>" in words
    assert {"production limit 0.03", "original", "no measurable difference"} <= set(words)
    assert all(plot.viewport().rect().contains(area.toRect()) for area in words.values())
    assert words["production limit 0.03"].bottom() <= plot.place_of(5.0, 0.03).y()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_that_every_kind_of_mark_is_painted_in_both_themes(
    qtbot: QtBot, qapp: QApplication, theme: Literal["light", "dark"]
) -> None:
    apply_theme(qapp, theme)
    plot = ChartPlot()
    qtbot.addWidget(plot)
    plot.resize(400, 300)
    plot.show()
    marks: tuple[Mark, ...] = (
        *MARKS,
        Area(((5.0, 0.002, 0.01), (9.0, 0.003, 0.02)), "series:1"),
        Stroke((6.0, 0.002), (6.0, 0.02), "quiet", "dash"),
        Block((10.0, 12.0), (0.002, 0.01), "#3B528B", "a cell", "A", "middle", interval=(10.5, 13.0)),
        Words(12.0, 0.05, "a note"),
        Dot(7.0, 0.05, "series:2", "star", "ringed", ringed=True, faint=True),
        Region("x", 14.0, None, "accent", "over there"),
    )
    plot.show_drawing(Drawing("all", DRAWING.x, DRAWING.y, marks))
    before = plot.grab().toImage()
    colours = {before.pixelColor(x, y).name() for x in range(0, 400, 2) for y in range(0, 300, 2)}
    assert "#3b528b" in colours
    assert len(colours) > 8
    apply_theme(qapp, "dark" if theme == "light" else "light")
    assert plot.grab().toImage() != before


def test_that_a_list_of_names_runs_from_the_top_down_and_cells_answer_where_they_are(plot: ChartPlot) -> None:
    cells = tuple(Block((0.0, 1.0), (line - 0.4, line + 0.4), "accent", f"cell {line}") for line in range(3))
    plot.show_drawing(Drawing("list", Axis("x", 0.0, 1.2), Axis("", 0, 1, names=("a", "b", "c")), cells))
    plot.grab()
    assert plot.place_of(0.5, 0).y() < plot.place_of(0.5, 2).y()
    plot.point(plot.place_of(0.9, 2.2))
    assert plot.readout() == "cell 2"
    plot.point(plot.place_of(0.9, 2.49))
    assert plot.readout() == ""


def test_that_an_svg_has_title_units_and_names_in_light_colours(card: ChartCard, qapp: QApplication) -> None:
    light = card.picture("svg")
    apply_theme(qapp, "dark")
    dark = card.picture("svg")
    assert QSvgRenderer(QByteArray(dark)).isValid()
    text = dark.decode()
    for words in (
        "KL against size",
        "size, GB",
        "mean KL, nats (log)",
        "int4 &lt;b&gt;bold&lt;/b&gt;",
        "production limit",
    ):
        assert words in text
    assert "#ffffff" in text
    assert "<image" not in text
    assert abs(len(light) - len(dark)) < 200


def test_that_a_png_is_a_picture_with_something_on_it(card: ChartCard) -> None:
    image = QImage.fromData(QByteArray(card.picture("png")))
    assert (image.width(), image.height()) == (1920, 1200)
    seen = {image.pixelColor(x, y).name() for x in range(0, 1920, 3) for y in range(0, 1200, 3)}
    assert {"#ffffff", "#0072b2", "#e69f00"} <= seen


def test_that_the_figures_can_be_read_as_a_table(card: ChartCard) -> None:
    button = card.findChild(QPushButton, "demo.as_table")
    assert button is not None
    button.click()
    table = card.findChild(FigureTable, "demo.table")
    assert table is not None
    assert table.isVisible()
    assert table.as_text() == "Model\tKL\nint4 <b>bold</b>\t0.02\nfp8\t0.006"


def test_that_reset_zoom_is_offered_only_while_zoomed(card: ChartCard) -> None:
    button = card.findChild(QPushButton, "demo.reset")
    plot = card.plot()
    assert button is not None
    assert plot is not None
    assert not button.isVisible()
    plot.zoom_by(0.5)
    assert button.isVisible()
    button.click()
    assert not button.isVisible()


def test_that_a_chart_without_values_says_what_to_do_and_offers_no_picture(card: ChartCard) -> None:
    card.show_drawing(nothing("KL against size", "Not measured yet."))
    export = card.findChild(QPushButton, "demo.export")
    assert export is not None
    assert not export.isVisible()
    assert card.accessibleDescription() == "Not measured yet."


def test_that_a_chart_is_told_in_words() -> None:
    words = in_words(DRAWING)
    assert words.startswith("lower left is better. int4 <b>bold</b>, KL 0.02; fp8, KL 0.006")
    assert in_words(DRAWING, most=1).endswith("and 2 more")


def test_that_no_two_of_many_series_share_colour_and_marker() -> None:
    looks = {(index % 6, series_shape(index)) for index in range(42)}
    assert len(looks) == 42
    assert series_shape(None) not in {series_shape(index) for index in range(7)}
