"""What the Benchmarks page draws, as values: no window is needed for these."""

import itertools
import math
from dataclasses import replace

import pytest
from measured_values import (
    KINDS,
    SCORED,
    a_sensitivity,
    a_served,
    a_sweep,
    an_evaluation,
    path_of,
    rows_of,
)

from core.measure.gates import BUILT_IN
from core.measure.judgement import Outcome
from ui.pages.benchmark_distribution import (
    LOST,
    MADE_UP,
    agreement_table,
    histogram_drawing,
    quantile_table,
    tail_drawing,
)
from ui.pages.benchmark_gate import gate_table, judged_rows
from ui.pages.benchmark_groups import (
    BUCKET_FIGURES,
    confidence_drawing,
    position_drawing,
    text_drawing,
    true_token_drawing,
)
from ui.pages.benchmark_sensitivity_view import worst_parts
from ui.pages.benchmark_speed_charts import RELATIVE, SPEED_FIGURES, speed_drawing, speed_sentences
from ui.pages.benchmark_subjects import interval_text
from ui.pages.benchmark_task_charts import accuracy_drawing, flips_drawing, task_sentences, task_table
from ui.pages.benchmark_tradeoff import (
    MEMORY,
    SIZE,
    SPEED,
    front_of,
    row_limits,
    row_points,
    sweep_front,
    sweep_points,
    tradeoff_drawing,
)
from ui.widgets.chart_drawing import Block, Curve, Dot, Drawing, Region, Rule, Stroke, spots_of
from ui.widgets.heat_drawing import heat_drawing, letters_line, scale_of, viridis

ROWS = rows_of()
SWEEP = a_sweep()
MAP = a_sensitivity()


def dots(drawing: Drawing) -> list[Dot]:
    return [mark for mark in drawing.marks if isinstance(mark, Dot)]


def curves(drawing: Drawing) -> list[Curve]:
    return [mark for mark in drawing.marks if isinstance(mark, Curve)]


def size_drawing() -> Drawing:
    points, original = row_points(ROWS, SIZE)
    return tradeoff_drawing(points, SIZE, front_of(points, SIZE), row_limits(ROWS, BUILT_IN[1], original))


def test_that_the_front_goes_through_the_models_that_no_other_beats() -> None:
    drawing = size_drawing()
    (line,) = curves(drawing)
    assert line.points == ((113e6, 0.0214), (163e6, 0.0061), (172e6, 0.00042))
    assert {dot.label for dot in dots(drawing) if dot.faint} == {"w8a8-smoothquant", "rtn-w4a16"}


def test_that_gate_noise_floor_and_original_are_drawn_where_they_are() -> None:
    drawing = size_drawing()
    rules = {(mark.axis, mark.at): mark.label for mark in drawing.marks if isinstance(mark, Rule)}
    assert rules == {("y", 0.03): "Production limit 0.03", ("x", 269e6): "original"}
    noise = next(mark for mark in drawing.marks if isinstance(mark, Region) and mark.label)
    assert (noise.low, noise.label) == (None, "no measurable difference")
    assert noise.high == pytest.approx(0.00031 * (1 + 0.15 * 0.84))


def test_that_a_point_tells_value_interval_and_what_cannot_be_measured() -> None:
    hints = [spot.hint for spot in spots_of(size_drawing())]
    assert hints[1].split("\n") == [
        "fp8-dynamic",
        "mean KL 0.00610 nats per token",
        "0.00567 to 0.00653 (95 % interval)",
        "size 163 MB",
    ]
    assert hints[0].endswith("no measurable difference")


def test_that_a_sweep_marks_its_knee_and_its_own_front() -> None:
    drawing = tradeoff_drawing(
        sweep_points(SWEEP, SIZE), SIZE, SWEEP.front_size, row_limits(ROWS, BUILT_IN[1], None), knee=SWEEP.knee
    )
    assert [dot.label for dot in dots(drawing) if dot.ringed] == ["mixed W4/W8 <b> (knee)"]
    assert len(curves(drawing)[0].points) == 4
    assert len(sweep_points(SWEEP, SPEED)) == 5
    assert sweep_front(SWEEP, MEMORY) == SWEEP.front_memory


def test_that_more_speed_is_better_on_the_front() -> None:
    points, _ = row_points(ROWS, SPEED)
    assert front_of(points, SPEED) == tuple(
        path_of(name) for name in ("w8a16", "fp8-dynamic", "w8a8-smoothquant", "gptq-w4a16")
    )


def test_that_every_axis_begins_where_its_values_are() -> None:
    drawing = size_drawing()
    for dot in dots(drawing):
        assert drawing.x.low < dot.x < drawing.x.high
        assert drawing.y.low < dot.y < drawing.y.high


def test_that_a_histogram_has_a_row_a_model_with_all_its_tokens() -> None:
    drawing = histogram_drawing(ROWS)
    assert drawing.y.names == tuple(kind[0] for kind in KINDS)
    heights = [0.0] * len(KINDS)
    for block in drawing.marks:
        if isinstance(block, Block):
            line = round(block.y[1] - 0.22)
            heights[line] += block.y[1] - block.y[0]
    assert max(heights) / min(heights) < 1.02
    medians = [dot.x for dot in dots(drawing) if dot.shape == "o"]
    assert medians == [one.kl.median for one in an_evaluation().others]


def test_that_the_tail_falls_and_meets_the_quantiles() -> None:
    for direction in (LOST, MADE_UP):
        drawing = tail_drawing(ROWS, direction)
        for curve in curves(drawing):
            shares = [share for _, share in curve.points]
            assert all(before >= after for before, after in itertools.pairwise(shares))
        assert {round(dot.y, 4) for dot in dots(drawing)} == {0.5, 0.1, 0.05, 0.01, 0.001}
    bare = tuple(
        replace(row, fidelity=row.fidelity.model_copy(update={"kl_reverse": None}) if row.fidelity else None)
        for row in ROWS
    )
    assert "not measured" in tail_drawing(bare, MADE_UP).empty


def test_that_the_quantile_table_has_both_directions_and_the_noise_floor() -> None:
    table = quantile_table(ROWS)
    assert len(table.rows) == 2 * len(KINDS) + 2
    assert table.rows[0][:3] == ("w8a16", "Original to compressed", "0.000420 (0.000370–0.000470)")
    assert [row[1] for row in table.rows[-2:]] == ["noise floor, rounding", "noise floor, batch"]


@pytest.mark.parametrize("figure", BUCKET_FIGURES)
def test_that_buckets_stand_in_order_and_intervals_hold_their_values(figure: object) -> None:
    for drawing in (position_drawing(ROWS, figure), confidence_drawing(ROWS, figure)):  # type: ignore[arg-type]
        assert len(drawing.x.names) == 6
        assert len(dots(drawing)) == 6 * len(KINDS)
        for dot in dots(drawing):
            assert dot.y_interval is not None
            assert dot.y_interval[0] <= dot.y <= dot.y_interval[1]
        for curve in curves(drawing):
            assert [point[0] for point in curve.points] == sorted(point[0] for point in curve.points)


def test_that_marks_of_several_models_in_a_row_do_not_cover_each_other() -> None:
    drawing = text_drawing(ROWS)
    assert drawing.y.names == ("chat", "prose", "code", "other languages", "all texts")
    places = [dot.y for dot in dots(drawing)]
    assert len(set(places)) == len(places) == 4 * 6 + 5
    assert all(abs(place - round(place)) < 0.45 for place in places)


def test_that_the_true_tokens_change_has_its_extremes() -> None:
    drawing = true_token_drawing(ROWS)
    assert (drawing.x.names[0], drawing.x.names[-1]) == ("least", "most")
    assert any("the largest fall" in spot.hint for spot in spots_of(drawing))


def test_that_agreement_is_told_with_intervals() -> None:
    row = agreement_table(ROWS).rows[3]
    assert row[0] == "gptq-w4a16"
    assert row[3] == "93.4 (92.8–93.9)"
    assert row[5].startswith("-0.71 (-0.93 to -0.50)")
    assert interval_text(None) == "–"


def test_that_chance_is_drawn_for_a_task_that_can_be_guessed() -> None:
    drawing = accuracy_drawing(ROWS)
    strokes = [mark for mark in drawing.marks if isinstance(mark, Stroke)]
    assert [stroke.start[0] for stroke in strokes] == [0.25]
    assert len(dots(drawing)) == 2 * (len(KINDS) + 1)


def test_that_flips_go_left_and_right_and_tell_the_test() -> None:
    drawing = flips_drawing(ROWS, "short-answer")
    blocks = [mark for mark in drawing.marks if isinstance(mark, Block)]
    assert all(block.x[1] == 0.0 for block in blocks[::2])
    assert all(block.x[0] == 0.0 for block in blocks[1::2])
    assert blocks[-2].label.endswith("lost")
    assert "exact McNemar p" in blocks[-1].hint
    assert "recovered above chance" in blocks[-1].hint
    assert len(task_table(ROWS).rows) == 2 * len(KINDS)
    assert "3.4 % cannot be ruled out" in task_sentences(ROWS)[0]


def test_that_speed_has_a_curve_for_each_model_and_its_spread() -> None:
    drawing = speed_drawing(ROWS, SPEED_FIGURES[0])
    assert len(curves(drawing)) == len(ROWS)
    assert drawing.x.ticks == (1.0, 4.0, 16.0, 64.0, 128.0)
    assert "vllm 0.11.0" in drawing.note
    assert "least and most of 5 repeats" in spots_of(drawing)[0].hint


def test_that_two_engines_are_told_apart_by_their_lines() -> None:
    rows = tuple(replace(row, benchmarks=(*row.benchmarks, a_served(row.path, 0.2, SCORED))) for row in ROWS)
    drawing = speed_drawing(rows, SPEED_FIGURES[1])
    assert {curve.dash for curve in curves(drawing)} == {"solid", "dash"}
    assert [key.name for key in drawing.keys[-2:]] == ["vllm 0.11.0", "transformers 5.17"]


def test_that_speed_over_the_original_crosses_one_where_it_is_slower() -> None:
    drawing = speed_drawing(ROWS, RELATIVE)
    gptq = curves(drawing)[3]
    assert gptq.points[0][1] > 1 > gptq.points[-1][1]
    assert len(curves(drawing)) == len(KINDS)
    sentences = speed_sentences(ROWS)
    assert sentences[3].startswith("gptq-w4a16: Faster than the original at 1 to 16 requests at once")
    assert "slower from 64 requests at once on" in sentences[3]


def test_that_the_heat_map_has_every_part_with_the_letter_of_its_scheme() -> None:
    drawing = heat_drawing(MAP, "W4A16")
    blocks = [mark for mark in drawing.marks if isinstance(mark, Block)]
    assert len(blocks) == 120
    assert drawing.y.names == ("qkv", "o", "gate_up", "down")
    assert {block.label for block in blocks} == {"A", "B"}
    assert blocks[0].hint.split("\n")[0] == "layer 0, qkv"
    assert "(95 % interval)" in blocks[0].hint
    low, high = scale_of(MAP, "W4A16")
    assert low < high
    assert letters_line(MAP).startswith("A = W4A16")
    worst = worst_parts(MAP).rows
    assert [row[1] for row in worst] == ["W4A16"] * 10
    assert worst[0][0] == "layer 0, down"


def test_that_the_colour_map_rises_evenly_in_lightness() -> None:
    def lightness(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        return 116 * math.cbrt(light) - 16 if light > 0.008856 else 903.3 * light

    steps = [lightness(viridis(step / 10)) for step in range(11)]
    rises = [after - before for before, after in itertools.pairwise(steps)]
    assert all(rise > 3 for rise in rises)
    assert max(rises) < 3 * min(rises)


def test_that_every_threshold_is_listed_with_its_answer() -> None:
    judged = judged_rows(ROWS, BUILT_IN[1])
    assert [verdict.outcome for _, verdict in judged] == [Outcome.PASS] * 4 + [Outcome.FAIL]
    lines = gate_table(judged).rows
    assert len(lines) == len(KINDS) * 5
    assert lines[-4][1:] == (
        "Perplexity over the original's",
        "inconclusive",
        "3.2 % higher",
        "≤ 3.8 % higher",
        "≤ 3 % higher",
    )


def test_that_nothing_measured_is_said_by_every_chart() -> None:
    bare = (replace(ROWS[0], benchmark=None, benchmarks=(), evaluation=None, perplexity=None),)
    drawings = (
        histogram_drawing(bare),
        tail_drawing(bare, LOST),
        text_drawing(bare),
        position_drawing(bare),
        true_token_drawing(bare),
        accuracy_drawing(bare),
        flips_drawing(bare),
        speed_drawing(bare, SPEED_FIGURES[0]),
        heat_drawing(None, ""),
    )
    assert all(drawing.empty for drawing in drawings)
