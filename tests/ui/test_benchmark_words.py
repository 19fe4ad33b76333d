from dataclasses import replace

from model_values import CONDITIONS, NOTE, a_benchmark, a_fidelity

from core.measure.judgement import Outcome
from core.measure.results import Conditions
from ui.pages.benchmark_charts import MEASURES, bar_drawing
from ui.pages.benchmark_row import BenchmarkRow, series_of
from ui.pages.benchmark_tradeoff import SIZE, row_points
from ui.pages.benchmark_words import NOT_MEASURED, Cell, conditions_lines, milliseconds_text, table_columns
from ui.tone import Tone
from ui.widgets.chart_drawing import spots_of

ORIGINAL = BenchmarkRow(
    "/o",
    "big",
    True,
    269_000_000,
    a_benchmark("/o", 20.0),
    None,
    12.2,
    CONDITIONS,
    evaluation_tokens=12_034,
    evaluation_window=512,
    evaluation_texts=("chat", "prose"),
)
FP8 = replace(
    ORIGINAL,
    path="/a",
    name="fp8",
    is_original=False,
    bytes=163_000_000,
    benchmark=a_benchmark("/a", 12.0),
    fidelity=a_fidelity("/a", 0.0062),
    perplexity=12.4,
)
BARE = BenchmarkRow("/b", "int4", False, 113_000_000)


def cells(row: BenchmarkRow, *rows: BenchmarkRow) -> dict[str, Cell]:
    return {column.title: column.cell(row) for column in table_columns(rows or (row,))}


def test_that_a_measured_row_has_every_figure_with_its_interval() -> None:
    found = cells(FP8)
    assert {title: cell.text for title, cell in found.items()} == {
        "Size": "163 MB",
        "KL mean": "0.00620",
        "99.9 %": "0.124",
        "Top-1": "93.8 %",
        "Ppl ratio": "1.018",
        "TTFT": "100 ms",
        "ITL": "25.0 ms",
        "Tok/s ×1": "12.0",
        "×4": "48.0",
    }
    assert found["KL mean"].hint == "0.00558 to 0.00682 (95 % interval)"
    assert "batch 1, 128 tokens in, 32 out" in found["TTFT"].hint


def test_that_what_was_not_measured_is_a_dash_that_says_so() -> None:
    found = cells(BARE, FP8, BARE)
    assert found["Size"].text == "113 MB"
    assert {cell.text for title, cell in found.items() if title != "Size"} == {"–"}
    assert found["KL mean"].hint == NOT_MEASURED


def test_that_the_original_is_the_reference_once_it_was_scored() -> None:
    found = cells(ORIGINAL)
    assert (found["KL mean"].text, found["Top-1"].text, found["Ppl ratio"].text) == ("0", "100 %", "1.000")
    unscored = cells(replace(ORIGINAL, perplexity=None))
    assert unscored["KL mean"].text == "–"


def test_that_the_original_has_no_series_and_others_are_counted() -> None:
    assert series_of((ORIGINAL, FP8, BARE)) == (None, 0, 1)


def test_that_conditions_are_said_once_where_they_are_the_same() -> None:
    assert conditions_lines((ORIGINAL, FP8, BARE)) == (
        "Speed and memory: transformers 5.17 · cpu, 2 threads · bfloat16 · 128 tokens in, 32 out · median of 3.",
        "Quality: transformers 5.17 · cpu, 2 threads · bfloat16 · 12\u202f034 tokens of chat and prose · window 512"
        " · 95 % intervals over documents.",
        NOTE,
    )


def test_that_different_conditions_name_their_models() -> None:
    gpu = Conditions(engine="vllm", engine_version="0.33", device="H200", dtype="bfloat16")
    other = replace(FP8, benchmark=a_benchmark("/a", 9.0).model_copy(update={"conditions": gpu}))
    lines = conditions_lines((ORIGINAL, other))
    assert lines[0].startswith("Speed and memory of big: transformers 5.17")
    assert lines[1].startswith("Speed and memory of fp8: vllm 0.33 · H200")


def test_that_the_scatter_holds_measured_models_and_what_the_original_costs() -> None:
    points, original = row_points((ORIGINAL, FP8, BARE), SIZE)
    assert [(point.name, point.cost.value, point.kl.value) for point in points] == [("fp8", 163e6, 0.0062)]
    assert original == 269e6
    assert row_points((ORIGINAL, BARE), SIZE)[0] == ()


def test_that_bars_keep_models_that_were_not_measured() -> None:
    memory = next(measure for measure in MEASURES if measure.title == "Memory")
    drawing = bar_drawing((ORIGINAL, FP8, BARE), memory)
    assert drawing.y.names == ("original", "fp8", "int4")
    assert drawing.figures.rows == (("original", "668 MiB"), ("fp8", "668 MiB"), ("int4", "–"))
    assert bar_drawing((BARE,), memory).empty


def test_that_sizes_need_no_measurement() -> None:
    size = next(measure for measure in MEASURES if measure.title == "Size")
    hints = [spot.hint for spot in spots_of(bar_drawing((ORIGINAL, BARE), size))]
    assert hints == [
        "original\nweight files on disk: 269 MB",
        "int4\nweight files on disk: 113 MB\n42 % of the original's",
    ]


def test_that_the_table_shows_the_gate_only_where_models_were_judged() -> None:
    assert "Gate" not in cells(FP8)
    columns = table_columns((ORIGINAL, FP8), {"/a": Outcome.FAIL}, "Production")
    gate = columns[-1]
    assert gate.title == "Gate"
    assert (gate.cell(FP8).text, gate.cell(FP8).tone) == ("fail", Tone.FAILED)
    assert gate.cell(ORIGINAL).text == ""


def test_that_speed_is_shown_at_the_smallest_and_the_largest_batch() -> None:
    row = replace(FP8, benchmark=a_benchmark("/a", 12.0, (1, 4, 16, 64)))
    assert [column.title for column in table_columns((row,))][-2:] == ["Tok/s ×1", "×64"]


def test_that_latencies_keep_three_digits() -> None:
    assert [milliseconds_text(value) for value in (8.42, 108.0, 2310.0)] == ["8.4 ms", "108 ms", "2.31 s"]
