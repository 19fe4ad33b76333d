import re
import warnings
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from report_figures import sensitivity, served
from report_runs import one_run, three_runs

from core.paths import Home
from core.report.charts import bars, canvas, divergence, heat_map, pareto, speed, telemetry
from core.value import Range


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_that_the_original_is_grey_and_runs_follow_the_palette(home: Home) -> None:
    svg = bars.size_bars(three_runs(home))
    fills = re.findall(r"fill: (#[0-9a-f]{6})", svg)
    drawn = [fill for fill in dict.fromkeys(fills) if fill.upper() in (canvas.ORIGINAL, *canvas.SERIES)]
    assert drawn == ["#8a8a83", "#0072b2", "#e69f00", "#009e73"]


def test_that_bars_say_their_sizes(home: Home) -> None:
    assert texts(bars.size_bars(one_run(home))) == [
        "original",
        "269\N{NO-BREAK SPACE}MB",
        "GPTQ W4A16",
        "113\N{NO-BREAK SPACE}MB",
    ]


def test_that_markup_in_a_label_stays_text(home: Home) -> None:
    svg = bars.rate_bars([("$x^2$ <b>&\"' \\alpha", 1, 10.0, 9.0, 11.0), ("漢字", 2, 5.0, 4.0, 6.0)])
    assert texts(svg)[0] == "$x^2$ <b>&\"' \\alpha"
    assert "漢字" in texts(svg)


def test_that_a_glyph_which_is_missing_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bars.rate_bars([("漢字🙂", 1, 10.0, 9.0, 11.0)])


def test_that_figures_which_are_not_finite_are_left_out() -> None:
    svg = bars.rate_bars([("good", 1, 10.0, 9.0, 11.0), ("broken", 2, float("nan"), 4.0, float("inf"))])
    assert "good" in texts(svg)
    assert "broken" not in texts(svg)


def test_that_telemetry_shows_gaps_stages_and_units(home: Home) -> None:
    found = one_run(home).runs[0].telemetry
    assert found is not None
    shown = texts(telemetry.telemetry_chart(found, found.devices[0]))
    assert {"Memory of the board, GiB", "Load, %", "Power, W", "Temperature, °C", "1", "5"} <= set(shown)


def spread(value: float, width: float = 0.1) -> Range:
    return Range(value=value, low=value * (1 - width), high=value * (1 + width))


def points() -> list[pareto.Point]:
    found = ((100.0, 0.2), (101.0, 0.21), (160.0, 0.01), (161.0, 0.011), (165.0, 0.3))
    return [pareto.Point(str(i), f"model {i}", i, cost, spread(kl)) for i, (cost, kl) in enumerate(found, 1)]


def test_that_the_same_data_draws_the_same_chart() -> None:
    plane = pareto.Plane("size, MB", ("3", "1"), "3", 0.05, "gate production", 0.004, 260.0)
    assert pareto.pareto(points(), plane) == pareto.pareto(points(), plane)


def test_that_front_knee_gate_floor_and_original_are_drawn_with_every_name() -> None:
    plane = pareto.Plane("size, MB", ("3", "1"), "3", 0.05, "gate production", 0.004, 260.0)
    shown = texts(pareto.pareto(points(), plane))
    assert {"gate production", "noise floor", "original", "model 1", "model 3, the knee", "model 5"} <= set(shown)


def test_that_the_front_holds_what_nothing_beats_in_both() -> None:
    assert pareto.front_of(points()) == ("3", "1")
    assert pareto.front_of(points(), more_is_better=True) == ("3", "4", "5")


def test_that_names_beside_near_points_do_not_lie_on_each_other() -> None:
    near = [pareto.Point(str(i), f"model number {i}", i, 100.0 + i, spread(0.2 + i / 500)) for i in range(8)]
    places = re.findall(
        r'<text style="[^"]*?text-anchor: (\w+)[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>model number',
        pareto.pareto(near, pareto.Plane("size, MB")),
    )
    assert len(places) == 8
    boxes = []
    for anchor, left, base in places:
        width = 14 * 7.5 * 0.5
        start = float(left) - {"start": 0, "end": width, "middle": width / 2}[anchor]
        boxes.append((start, float(base) - 6, start + width, float(base)))
    crossing = [
        (a, b) for a, b in combinations(boxes, 2) if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    assert crossing == []


def test_that_a_divergence_of_zero_can_be_drawn() -> None:
    zero = Range(value=0.0, low=0.0, high=0.0)
    assert "<svg" in pareto.pareto([pareto.Point("1", "same", 1, 10.0, zero)], pareto.Plane("size, MB"))
    assert "<svg" in divergence.distribution([divergence.Spread(1, "same", ((0.0, 10),))], 0.1)
    assert "<svg" in divergence.by_text([divergence.Row("chat", ((1, zero),))], [(1, "same")])


def test_that_a_distribution_says_where_the_noise_floor_ends(home: Home) -> None:
    found = one_run(home).runs[0].quality
    assert found is not None
    shown = texts(divergence.distribution([divergence.Spread(1, "GPTQ W4A16", found.fidelity.histogram)], 0.001))
    assert {"noise floor", "% of tokens at or below", "% of tokens in a bin"} <= set(shown)


def test_that_a_heat_map_names_its_schemes_kinds_and_scale() -> None:
    result = sensitivity(layers=4)
    assert result.assignment is not None
    shown = texts(heat_map.sensitivity_map(result))
    assert {"W4A16", "W8A16", "qkv", "gate_up", "layer", "mean KL, nats per token"} <= set(shown)
    assert "<image" not in heat_map.sensitivity_map(result)
    chosen = heat_map.assignment_map(result.parts, result.assignment.schemes, result.schemes)
    assert {"W4A16", "W8A16", "W8A8"} <= set(texts(chosen))


def test_that_speed_is_drawn_against_concurrency_in_three_readings() -> None:
    cases = served("/m", "m", "gptq-w4a16").cases
    shown = texts(speed.against_concurrency([speed.Load(1, "GPTQ W4A16", 1, cases)], "requests at once"))
    assert {"time to first token, ms", "inter-token latency, ms", "requests at once", "64", "GPTQ W4A16"} <= set(shown)
