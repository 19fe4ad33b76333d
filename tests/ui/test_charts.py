import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.value import Range
from ui.theme import apply_theme
from ui.widgets.chart_bars import Bar, BarChart, BarGroup
from ui.widgets.chart_frame import ChartFrame
from ui.widgets.chart_scatter import ScatterChart, ScatterPoint
from ui.widgets.legend import Legend


def paint(chart: ChartFrame, qtbot: QtBot, width: int = 520, height: int = 300) -> None:
    qtbot.addWidget(chart)
    chart.resize(width, height)
    chart.grab()


def point(name: str, x: float, y: float, series: int | None = 0) -> ScatterPoint:
    return ScatterPoint(name, x, y, y * 0.9, y * 1.1, series, f"{name}\nKL {y}")


def test_that_every_point_answers_the_mouse_inside_the_chart(qtbot: QtBot) -> None:
    chart = ScatterChart(lambda value: f"{value:g}", 1.0)
    chart.show_points((point("original", 16.0, 0.0, None), point("fp8", 9.0, 0.006), point("int4", 5.0, 0.03, 1)))
    paint(chart, qtbot)
    spots = chart.spots()
    assert [spot.text for spot in spots] == ["original\nKL 0.0", "fp8\nKL 0.006", "int4\nKL 0.03"]
    assert all(chart.rect().toRectF().contains(spot.area.center()) for spot in spots)
    original, fp8, int4 = (spot.area.center() for spot in spots)
    assert original.x() > fp8.x() > int4.x()
    assert original.y() > fp8.y() > int4.y()


@pytest.mark.parametrize("count", [1, 2, 12])
def test_that_many_points_in_one_place_can_be_painted(qtbot: QtBot, count: int) -> None:
    chart = ScatterChart(lambda value: f"{value:g}", 1.0)
    chart.show_points(tuple(point(f"a model with a long name {index}", 5.0, 0.01, index) for index in range(count)))
    paint(chart, qtbot, 240, 160)
    assert len(chart.spots()) == count


def test_that_a_chart_without_values_says_what_to_do(qtbot: QtBot) -> None:
    chart = BarChart()
    chart.show_empty("Not measured yet.")
    paint(chart, qtbot)
    assert chart.spots() == ()


def test_that_bars_with_and_without_values_are_painted_and_told(qtbot: QtBot) -> None:
    chart = BarChart()
    bars = (
        Bar("big <b>", Range(value=20.0, low=18.0, high=22.0), None, "big: 20"),
        Bar("int4", None, 0, "int4: not measured"),
    )
    chart.show_groups((BarGroup("batch 1", bars), BarGroup("batch 4", bars)), lambda value: f"{value:.0f}")
    paint(chart, qtbot)
    assert [spot.text for spot in chart.spots()] == ["big: 20", "int4: not measured"] * 2
    assert chart.accessibleDescription() == "big: 20; int4: not measured; big: 20; int4: not measured"


def test_that_charts_follow_the_theme(qtbot: QtBot, qapp: QApplication) -> None:
    chart = ScatterChart(lambda value: f"{value:g}", 1.0)
    chart.show_points((point("fp8", 9.0, 0.006),))
    qtbot.addWidget(chart)
    chart.resize(300, 200)
    light = chart.grab().toImage()
    apply_theme(qapp, "dark")
    assert chart.grab().toImage() != light


def test_that_a_legend_names_its_colours_in_words(qtbot: QtBot) -> None:
    legend = Legend()
    qtbot.addWidget(legend)
    legend.show_entries((("this job", 0), ("in use by all", None)))
    assert legend.accessibleName() == "this job, in use by all"
    assert legend.sizeHint().width() > 100
