import re
import warnings
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from report_runs import NOW, MadeUpStore, compress_run, evaluate_run, one_run, sources, three_runs

from core.paths import Home
from core.report import charts
from core.report.collect import collect
from core.report.data import ReportData


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_that_the_original_is_grey_and_runs_follow_the_palette(home: Home) -> None:
    svg = charts.size_bars(three_runs(home))
    fills = re.findall(r"fill: (#[0-9a-f]{6})", svg)
    bars = [fill for fill in dict.fromkeys(fills) if fill.upper() in (charts.ORIGINAL, *charts.SERIES)]
    assert bars == ["#8a8a83", "#0072b2", "#e69f00", "#009e73"]


def test_that_bars_say_their_sizes(home: Home) -> None:
    assert texts(charts.size_bars(one_run(home))) == [
        "original",
        "269\N{NO-BREAK SPACE}MB",
        "GPTQ W4A16",
        "113\N{NO-BREAK SPACE}MB",
    ]


def test_that_markup_in_a_label_stays_text(home: Home) -> None:
    svg = charts.rate_bars([("$x^2$ <b>&\"' \\alpha", 1, 10.0, 9.0, 11.0), ("漢字", 2, 5.0, 4.0, 6.0)])
    assert texts(svg)[0] == "$x^2$ <b>&\"' \\alpha"
    assert "漢字" in texts(svg)


def test_that_a_glyph_which_is_missing_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts.rate_bars([("漢字🙂", 1, 10.0, 9.0, 11.0)])


def test_that_figures_which_are_not_finite_are_left_out() -> None:
    svg = charts.rate_bars([("good", 1, 10.0, 9.0, 11.0), ("broken", 2, float("nan"), 4.0, float("inf"))])
    assert "good" in texts(svg)
    assert "broken" not in texts(svg)


def test_that_telemetry_shows_gaps_stages_and_units(home: Home) -> None:
    telemetry = one_run(home).runs[0].telemetry
    assert telemetry is not None
    shown = texts(charts.telemetry_chart(telemetry, telemetry.devices[0]))
    assert {"Memory of the board, GiB", "Load, %", "Power, W", "Temperature, °C", "1", "5"} <= set(shown)


def test_that_the_same_data_draws_the_same_chart(home: Home) -> None:
    report: ReportData = three_runs(home)
    assert charts.divergence_against_size(report) == charts.divergence_against_size(report)


def test_that_a_divergence_of_zero_can_be_drawn(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MadeUpStore((compress_run(1, "fp8-dynamic"), evaluate_run(2, ["fp8-dynamic"])))
    report = collect([1], store, home, sources=sources(), now=NOW)
    run = report.runs[0]
    assert run.quality is not None
    zero = run.quality.fidelity.kl_interval.model_copy(update={"value": 0.0, "low": 0.0, "high": 0.0})
    fidelity = run.quality.fidelity.model_copy(update={"kl_interval": zero, "histogram": ((0.0, 10),)})
    same = run.model_copy(update={"quality": run.quality.model_copy(update={"fidelity": fidelity})})
    assert "<svg" in charts.divergence_against_size(report.model_copy(update={"runs": (same,)}))
    assert "<svg" in charts.divergence_distribution([(1, same)])
