from pathlib import Path

import pytest
from report_figures import KL, sensitivity, sweep
from report_runs import (
    NOW,
    MadeUpStore,
    benchmark_run,
    compress_run,
    evaluate_run,
    measurement,
    old_runs,
    one_run,
    serving_run,
    six_runs,
    sources,
    three_runs,
)

from core.jobs.run import RunKind
from core.measure.gates import BUILT_IN
from core.measure.results import plain
from core.paths import Home
from core.report.blocks import Block, Callout, Chart, Code, Document, Paragraph, Table
from core.report.chapters import comparison, gate, predicted, quality, speed, tasks
from core.report.chapters import sensitivity as sensitivity_chapter
from core.report.chapters import sweep as sweep_chapter
from core.report.chapters.columns import numbered
from core.report.collect import collect
from core.report.data import Chapter, Level, ReportData
from core.report.document import document

PRODUCTION = next(one for one in BUILT_IN if one.name == "production")
INT4 = "gptq-w4a16"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return six_runs(Home(tmp_path_factory.mktemp("six")))


@pytest.fixture(scope="module")
def pages(six: ReportData) -> Document:
    return document(six)


def said(blocks: tuple[Block, ...]) -> str:
    """All words of the blocks, tables row by row."""
    words = []
    for block in blocks:
        match block:
            case Table():
                words += [" | ".join(column.title for column in block.columns), block.caption]
                words += [" | ".join(f"{cell.text} {cell.note}".strip() for cell in row) for row in block.rows]
            case Callout():
                words += [block.title, *block.lines]
            case Paragraph():
                words.append(block.text)
            case Chart():
                words += [block.alternative, block.caption]
            case _:
                words.append(getattr(block, "text", ""))
    return "\n".join(words).replace("\N{NO-BREAK SPACE}", " ")


def test_that_quality_holds_every_figure_of_fidelity_with_its_interval(home: Home) -> None:
    text = said(quality.blocks(one_run(home)))
    for row in (
        "Mean KL divergence nats per token, 95 % interval | 0.211 0.19 to 0.23",
        "Correlation of log-likelihoods token by token; 1 is the same | 0.97890",
        "Same five likeliest tokens mean share of the five, 95 % interval | 80.9 % 80.4 to 81.4 %",
        "Mean, from the compressed model | 0.226 0.21 to 0.25",
        "99.9 % below | 6.75",
        "Mean 95 % interval | −2.64 −3.16 to −2.11",
        "Rounding of the activations | 4,096 | 0.000323",
    ):
        assert row in text
    assert "Shaded to 0.00355 nats, where 99 % of the noise floor's tokens lie." in text
    assert "Q5_K_M" in text


def test_that_a_model_under_the_noise_floor_is_said_to_show_no_measurable_difference(six: ReportData) -> None:
    text = said(quality.blocks(six))
    assert "No measurable difference: INT8 W8A16" in text
    assert "INT8 W8A16 | 164 MB 61 % | 0.000210 under the floor" in said(comparison.blocks(six))


def test_that_results_of_the_first_versions_make_a_report_without_gaps(home: Home) -> None:
    report = old_runs(home)
    text = said(quality.blocks(report))
    assert "Mean KL divergence" in text
    for missing in ("Correlation", "True token", "Noise floor", "By position", "not measured"):
        assert missing not in text
    chapters = [section.id for section in document(report).sections]
    assert "tasks" not in chapters
    assert {"comparison", "gate", "quality", "speed"} <= set(chapters)


def test_that_tasks_show_flips_tests_and_what_the_items_can_rule_out(home: Home) -> None:
    report = one_run(home)
    text = said(tasks.blocks(report))
    assert "Facts, four choices" in text
    assert "30 | 5 | 44 | < 0.001 | 0.0012 | worse | 4.1 %" in text
    assert report.runs[0].tasks[0].items_file == str(home.run_folder(4) / "tasks/bitpress_facts.jsonl")


def test_that_a_gate_shows_each_limit_with_its_figure_and_bound(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4), evaluate_run(2, [INT4]), benchmark_run(3, [INT4])))
    report = collect([1], store, home, gate=PRODUCTION, sources=sources(), now=NOW)
    found = report.runs[0].gate
    assert found is not None
    assert found.verdict == "fail"
    blocks = gate.blocks(report)
    assert next(block for block in blocks if isinstance(block, Callout)).level is Level.FAILED
    assert "Mean KL divergence | 0.211 0.19 to 0.23 | 0.225 | at most 0.03 | fail" in said(blocks)
    assert report.verdict.level is Level.FAILED


def test_that_a_gate_which_passes_decides_the_verdicts_colour(home: Home) -> None:
    store = MadeUpStore((compress_run(1, "w8a16"), evaluate_run(2, ["w8a16"], old=True)))
    report = collect([1], store, home, gate=PRODUCTION, sources=sources(), now=NOW)
    assert report.runs[0].gate is not None
    assert (report.runs[0].gate.verdict, report.verdict.level) == ("pass", Level.DONE)


def test_that_without_a_gate_the_limits_of_the_level_are_shown(home: Home) -> None:
    assert "No gate was named" in said(gate.blocks(one_run(home)))


def test_that_every_engine_has_its_figures_and_the_serving_one_is_compared(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4), benchmark_run(2, [INT4]), serving_run(3, [INT4])))
    report = collect([1], store, home, sources=sources(), now=NOW)
    run = report.runs[0]
    assert [one.compressed.conditions.engine for one in run.speeds] == ["vllm", "transformers"]
    assert run.speed == run.speeds[0]
    text = said(speed.blocks(report))
    assert "vllm 0.11.2 on NVIDIA Testboard 24: Chat over several turns, 512 tokens in, 256 out" in text
    assert "transformers 5.17.2 on cpu: 128 tokens in, 32 out" in text
    assert "transformers speed is not serving speed" in text
    assert "slower from 64 requests at once on" in text
    assert "Energy per token" in text


def test_that_a_newer_benchmark_in_another_engine_does_not_hide_the_one_that_all_runs_have(home: Home) -> None:
    store = MadeUpStore(
        (
            compress_run(1, INT4),
            compress_run(2, "fp8-dynamic"),
            benchmark_run(3, [INT4, "fp8-dynamic"]),
            serving_run(4, [INT4]),
        )
    )
    report = collect([1, 2], store, home, sources=sources(), now=NOW)
    assert [run.speed.compressed.conditions.engine for run in report.runs if run.speed] == ["transformers"] * 2


def test_that_a_report_on_one_run_compares_nothing_and_one_on_two_does(home: Home) -> None:
    assert comparison.blocks(one_run(home)) == ()
    blocks = comparison.blocks(old_runs(home))
    assert [type(block).__name__ for block in blocks] == ["Table", "Table", "Chart", "Chart"]


def test_that_many_runs_stand_in_one_table_with_verdict_and_gate(six: ReportData) -> None:
    first = next(block for block in comparison.blocks(six) if isinstance(block, Table))
    assert [row[0].text for row in first.rows] == ["original", *(run.label for run in six.runs)]
    assert [column.title for column in first.columns][-3:] == ["Tasks, recovery", "Tokens per second", "Verdict"]
    assert first.rows[3][-1].note == "production: fail"


def test_that_no_table_has_more_columns_than_a_page_can_hold(pages: Document) -> None:
    widest = max(
        len(block.columns) for section in pages.sections for block in section.blocks if isinstance(block, Table)
    )
    assert widest <= 9


def test_that_many_runs_are_shortened_and_say_so(pages: Document, home: Home) -> None:
    def scripts(shown: Document) -> list[str]:
        return [block.label for section in shown.sections for block in section.blocks if isinstance(block, Code)]

    assert "keeps to what can be compared" in said(pages.sections[0].blocks)
    assert "Python" not in scripts(pages)
    assert scripts(document(three_runs(home))).count("Python") == 3


def test_that_a_sweep_shows_its_matrix_fronts_recommendation_and_failures(six: ReportData) -> None:
    text = said(sweep_chapter.blocks(six))
    assert "Take FP8 dynamic: it is the smallest that passes the gate near-lossless" in text
    assert "7 methods: 6 measured, 1 failed" in text
    assert "The machine ran out of memory while layer 12 of 30 was calibrated." in text
    assert "× 2.53 | 377 362 to 392" in text
    assert "Ringed: the knee, FP8 dynamic" in text
    charts = [block for block in sweep_chapter.blocks(six) if isinstance(block, Chart)]
    assert len(charts) == 3


def test_that_an_unmeasured_sweep_still_makes_a_chapter(home: Home) -> None:
    waiting = sweep([INT4], [1])
    rows = tuple(row.model_copy(update={"fidelity": None, "state": "waiting"}) for row in waiting.rows[:1])
    bare = waiting.model_copy(update={"rows": rows, "recommendation": None})
    report = one_run(home).model_copy(update={"sweep": bare})
    assert "waiting" in said(sweep_chapter.blocks(report))


def test_that_sensitivity_shows_the_worst_parts_the_mix_and_the_uniform_schemes(six: ReportData) -> None:
    text = said(sensitivity_chapter.blocks(six))
    assert "model.layers.0.down | W4A16 | 0.0297" in text
    assert "4 to 27 | W4A16 | W4A16 | W4A16 | W8A8" in text
    assert "mixed | 79.6 MB" in text


def test_that_a_map_of_sensitivity_asked_for_by_number_brings_its_chapter(home: Home) -> None:
    found = measurement(7, RunKind.SENSITIVITY, [], plain(sensitivity(layers=4)))
    store = MadeUpStore((compress_run(1, INT4), found))
    assert collect([1, 7], store, home, sources=sources(), now=NOW).sensitivity == sensitivity(layers=4)
    assert collect([1], store, home, sources=sources(), now=NOW).sensitivity is None


def test_that_a_mixed_model_brings_the_map_it_was_chosen_from(home: Home) -> None:
    found = measurement(7, RunKind.SENSITIVITY, [], plain(sensitivity(layers=4)))
    store = MadeUpStore((compress_run(1, "mixed"), found))
    assert collect([1], store, home, sources=sources(), now=NOW).sensitivity == sensitivity(layers=4)


def test_that_the_mixed_model_is_held_against_the_uniform_ones_as_measured(home: Home) -> None:
    methods = ["mixed", INT4, "fp8-dynamic"]
    runs = tuple(compress_run(number, method) for number, method in enumerate(methods, 1))
    found = measurement(7, RunKind.SENSITIVITY, [], plain(sensitivity(layers=4)))
    store = MadeUpStore((*runs, evaluate_run(5, methods, old=True), found))
    text = said(sensitivity_chapter.blocks(collect([1, 2, 3], store, home, sources=sources(), now=NOW)))
    assert "GPTQ W4A16 | 113 MB | 0.211 0.19 to 0.23 | farther" in text
    assert "FP8 dynamic | 163 MB | 0.00610 0.0056 to 0.0066 | closer" in text


def test_that_a_gate_over_nothing_measured_says_so_in_one_line(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4),))
    text = said(gate.blocks(collect([1], store, home, gate=PRODUCTION, sources=sources(), now=NOW)))
    assert "Nothing that this gate asks for was measured." in text
    assert "at most" not in text


def test_that_expected_and_actual_stand_for_every_run_that_kept_estimates(home: Home) -> None:
    report = three_runs(home)
    rows = next(block for block in predicted.blocks(numbered(report)) if isinstance(block, Table)).rows
    assert [row[0].text for row in rows if row[0].text] == [run.label for run in report.runs]
    assert {row[1].text for row in rows} == {"Size on disk", "Time", "Main memory", "Disk while it ran"}
    assert predicted.blocks(numbered(old_runs(home))) == []


def test_that_every_chart_has_an_alternative_and_a_caption(pages: Document) -> None:
    charts = [block for section in pages.sections for block in section.blocks if isinstance(block, Chart)]
    assert len(charts) > 15
    assert all(len(chart.alternative) > 30 and chart.caption for chart in charts)


def test_that_chapters_without_anything_to_say_are_left_out(home: Home) -> None:
    report = collect([1], MadeUpStore((compress_run(1, INT4),)), home, sources=sources(), now=NOW)
    ids = {section.id for section in document(report).sections}
    assert {Chapter.COMPARISON, Chapter.GATE, Chapter.TASKS, Chapter.SWEEP, Chapter.SENSITIVITY}.isdisjoint(ids)


def test_that_made_up_models_cover_all_standings(six: ReportData) -> None:
    verdicts = {run.gate.verdict for run in six.runs if run.gate}
    assert {"pass", "fail"} <= verdicts
    assert len(six.runs) == len(KL)
