from dataclasses import replace

from model_values import CONDITIONS, NOTE, a_benchmark, a_fidelity

from core.measure.results import Conditions
from ui.pages.benchmark_charts import MEASURES, bar_groups, scatter_points
from ui.pages.benchmark_row import BenchmarkRow, series_of
from ui.pages.benchmark_words import NOT_MEASURED, Cell, conditions_lines, milliseconds_text, table_columns

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
        "Load": "1.5 s",
        "Peak": "668 MiB",
        "KL mean": "0.00620",
        "99.9 %": "0.124",
        "Top-1": "93.8 %",
        "Perplexity": "12.40",
        "Ratio": "1.018",
        "TTFT": "100 ms",
        "ITL": "25.0 ms",
        "Tokens/s ×1": "12.0",
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
    assert (found["KL mean"].text, found["Top-1"].text, found["Ratio"].text) == ("0", "100 %", "1.000")
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


def test_that_the_scatter_holds_measured_models_and_the_original_at_zero() -> None:
    points = scatter_points((ORIGINAL, FP8, BARE))
    assert [(point.name, point.y, point.series) for point in points] == [("original", 0.0, None), ("fp8", 0.0062, 0)]
    assert (points[1].low, points[1].high) == (0.0062 * 0.9, 0.0062 * 1.1)
    assert scatter_points((ORIGINAL, BARE)) == ()


def test_that_bars_are_grouped_by_batch_and_keep_unmeasured_models() -> None:
    groups = bar_groups((ORIGINAL, FP8, BARE), MEASURES[0])
    assert [group.title for group in groups] == ["batch 1", "batch 4"]
    assert [bar.value.value if bar.value else None for bar in groups[1].bars] == [80.0, 48.0, None]
    assert bar_groups((BARE,), MEASURES[0]) == ()


def test_that_sizes_need_no_measurement() -> None:
    size = next(measure for measure in MEASURES if measure.title == "Size")
    (group,) = bar_groups((ORIGINAL, BARE), size)
    assert [bar.hint for bar in group.bars] == ["big: 269 MB", "int4: 113 MB"]


def test_that_latencies_keep_three_digits() -> None:
    assert [milliseconds_text(value) for value in (8.42, 108.0, 2310.0)] == ["8.4 ms", "108 ms", "2.31 s"]
