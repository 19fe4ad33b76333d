import shlex
from datetime import timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from report_runs import (
    NOW,
    ORIGINAL,
    MadeUpStore,
    answer,
    benchmark_run,
    compare_run,
    compress_run,
    evaluate_run,
    events,
    inspect,
    one_run,
    output_of,
    proof,
    samples,
    sources,
    three_runs,
    write_events,
)

from core.errors import BitpressError
from core.jobs.protocol import FinishReason
from core.jobs.run import RunKind
from core.jobs.snapshot import Phase
from core.measure.results import plain
from core.paths import Home
from core.report.blocks import Code, Facts
from core.report.chapters.method import blocks as method_blocks
from core.report.chapters.reproduce import blocks
from core.report.collect import collect
from core.report.data import Chapter, Level
from core.report.summary import SCATTERED
from core.report.timeline import POINTS


def _fields() -> dict[str, object]:
    made = sources()
    return {name: getattr(made, name) for name in made.__slots__}


FP8 = "fp8-dynamic"
INT4 = "gptq-w4a16"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_that_one_run_brings_its_measurements_together(home: Home) -> None:
    report = one_run(home)
    run = report.runs[0]
    assert report.title == "Testling-135M-Instruct, 58 % smaller".replace(" %", "\N{NO-BREAK SPACE}%")
    assert (run.quality and run.quality.run, run.speed and run.speed.run) == (4, 5)
    assert run.speed is not None
    assert run.speed.original is not None
    assert [side.run for side in report.comparisons[0].outputs] == [None, 3]
    assert run.bytes == 112_600_000
    assert run.versions["compressed-tensors"] == "0.19.0"
    assert run.warnings == ("576 columns: a group size of 64 was chosen.",)
    assert len(run.layer_errors) == 120


def test_that_parameters_carry_their_titles_in_the_catalogues_order(home: Home) -> None:
    settings = one_run(home).runs[0].method.settings
    assert [(setting.title, setting.value) for setting in settings] == [
        ("Group size", 64),
        ("Activation order", "static"),
        ("Dampening", 0.01),
        ("Left as they are", ["lm_head"]),
    ]


def test_that_what_was_made_smaller_after_memory_ran_out_stands_in_the_method_chapter(home: Home) -> None:
    run = compress_run(1, INT4)
    assert isinstance(run.result, dict)
    parameters = {"group_size": 64, "actorder": "static", "dampening": 0.01, "ignore": ["lm_head"]}
    used = {"method": INT4, "parameters": parameters, "calibration": {"samples": 128, "max_length": 256}, "seed": 9}
    step = {"setting": "max_length", "title": "tokens per sample", "before": 512, "after": 256}
    run = run.model_copy(update={"result": {**run.result, "recipe": used, "reductions": [step]}})
    report = collect([1], MadeUpStore((run,)), home, sources=sources(), now=NOW)
    assert report.runs[0].method.seed == 9, "what was done counts, not what was asked for"
    rows = [row for block in method_blocks(report) if isinstance(block, Facts) for row in block.rows]
    assert "tokens per sample 512 to 256" in dict(rows)["Made smaller"].text


def test_that_a_method_which_the_catalogue_lost_still_shows_its_parameters(home: Home) -> None:
    run = collect([1], MadeUpStore((compress_run(1, "gone-method"),)), home, sources=sources(), now=NOW).runs[0]
    assert not run.method.known
    assert ("group_size", 64) in [(setting.title, setting.value) for setting in run.method.settings]


def test_that_three_runs_make_one_report_with_three_ways(home: Home) -> None:
    report = three_runs(home)
    assert report.title.endswith("three ways smaller")
    assert [run.label for run in report.runs] == ["FP8 dynamic", "SmoothQuant + GPTQ W8A8", "GPTQ W4A16"]
    assert [comparison.run for comparison in report.comparisons] == [6, 7]
    assert "GPTQ W4A16 is the smallest" in report.verdict.headline
    assert "FP8 dynamic stays closest" in report.verdict.headline


def test_that_a_tie_within_the_intervals_is_called_a_tie(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("report_figures").KL, "smoothquant-gptq-w8a8", 0.0063)
    assert "too near each other to tell apart" in three_runs(home).verdict.headline


def test_that_two_runs_of_one_method_are_told_apart_by_their_numbers(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4), compress_run(2, INT4, output="/artifacts/other")))
    report = collect([1, 2], store, home, sources=sources(), now=NOW)
    assert [run.label for run in report.runs] == ["GPTQ W4A16, run 1", "GPTQ W4A16, run 2"]


def test_that_the_newest_measurement_wins(home: Home) -> None:
    store = MadeUpStore(
        (compress_run(1, INT4), evaluate_run(2, [INT4]), evaluate_run(9, [INT4]), evaluate_run(5, [INT4]))
    )
    run = collect([1], store, home, sources=sources(), now=NOW).runs[0]
    assert run.quality is not None
    assert run.quality.run == 9


def test_that_a_measurement_asked_for_by_number_wins_over_a_newer_one(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4), evaluate_run(2, [INT4]), evaluate_run(9, [INT4])))
    report = collect([2], store, home, sources=sources(), now=NOW)
    assert [run.id for run in report.runs] == [1]
    assert report.runs[0].quality is not None
    assert report.runs[0].quality.run == 2


def test_that_an_evaluation_against_another_original_is_not_used(home: Home) -> None:
    other = evaluate_run(2, [INT4])
    changed = other.model_copy(update={"result": {**other.result, "original": "/models/another"}})
    run = collect([1], MadeUpStore((compress_run(1, INT4), changed)), home, sources=sources(), now=NOW).runs[0]
    assert run.quality is None


def test_that_a_benchmark_of_both_is_preferred_to_a_newer_one_of_the_output_alone(home: Home) -> None:
    both, alone = benchmark_run(2, [INT4]), benchmark_run(3, [INT4], original=False)
    used = collect([1], MadeUpStore((compress_run(1, INT4), both, alone)), home, sources=sources(), now=NOW).runs[0]
    only = collect([1], MadeUpStore((compress_run(1, INT4), alone)), home, sources=sources(), now=NOW).runs[0]
    assert used.speed is not None
    assert only.speed is not None
    assert (used.speed.run, used.speed.original is None) == (2, False)
    assert (only.speed.run, only.speed.original is None) == (3, True)


def test_that_nothing_measured_is_none_and_asks_for_attention(home: Home) -> None:
    report = collect([1], MadeUpStore((compress_run(1, FP8),)), home, sources=sources(), now=NOW)
    assert (report.runs[0].quality, report.runs[0].speed, report.comparisons) == (None, None, ())
    assert report.verdict.level is Level.ATTENTION
    assert any(sentence.startswith("Quality was not measured; the short text") for sentence in report.verdict.sentences)


def test_that_a_failed_proof_fails_the_verdict(home: Home) -> None:
    run = compress_run(1, INT4)
    broken = run.model_copy(
        update={"result": {**run.result, "proof": plain(proof(passed=False))}, "reason": FinishReason.FAILED}
    )
    report = collect([1], MadeUpStore((broken, evaluate_run(2, [INT4]))), home, sources=sources(), now=NOW)
    assert report.verdict.level is Level.FAILED
    assert "do not use it" in report.verdict.headline


def test_that_a_folder_that_is_gone_is_said_and_does_not_stop_the_report(home: Home) -> None:
    def gone(path: Path) -> object:
        raise BitpressError("no-config", f"{path} is not there any more.")

    store = MadeUpStore((compress_run(1, INT4),))
    report = collect([1], store, home, sources=sources(inspect_model=gone), now=NOW)
    assert report.original.missing == f"{ORIGINAL} is not there any more."
    assert report.original.bytes == 269_060_552
    assert report.runs[0].compressed.bytes == 112_600_000
    assert any("not there any more" in warning for warning in report.warnings)


def test_that_results_of_an_unknown_shape_leave_gaps_and_no_error(home: Home) -> None:
    bare = compress_run(1, INT4, result={"proof": "yes", "calibration": 7, "bytes": None, "tensors_sha256": 3})
    odd = evaluate_run(2, [INT4]).model_copy(update={"result": {"others": []}})
    run = collect([1], MadeUpStore((bare, odd)), home, sources=sources(), now=NOW).runs[0]
    assert (run.proof, run.calibration, run.quality, run.hashes) == (None, None, None, ())
    assert run.bytes == inspect(Path(output_of(INT4))).bytes
    assert run.seconds == 312.0


def test_that_an_unfinished_run_is_refused(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4, phase=Phase.RUNNING, reason=None, result=None),))
    with pytest.raises(BitpressError, match="is still running") as refused:
        collect([1], store, home, sources=sources(), now=NOW)
    assert refused.value.problem.code == "not-finished"


def test_that_runs_of_different_originals_are_refused(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4), compress_run(2, FP8, models=("/models/another",))))
    with pytest.raises(BitpressError) as refused:
        collect([1, 2], store, home, sources=sources(), now=NOW)
    assert refused.value.problem.code == "different-originals"


def test_that_a_measurement_of_models_not_made_here_gives_nothing_to_report(home: Home) -> None:
    with pytest.raises(BitpressError) as refused:
        collect([2], MadeUpStore((evaluate_run(2, [INT4]),)), home, sources=sources(), now=NOW)
    assert refused.value.problem.code == "nothing-to-report"


def test_that_chapters_keep_the_order_of_the_page_and_unknown_ones_are_refused(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4),))
    report = collect([1], store, home, ["speed", "models"], sources=sources(), now=NOW)
    assert report.chapters == (Chapter.MODELS, Chapter.SPEED)
    with pytest.raises(BitpressError) as refused:
        collect([1], store, home, ["weather"], sources=sources(), now=NOW)
    assert refused.value.problem.code == "unknown-chapter"


def test_that_telemetry_is_thinned_with_its_peaks_gaps_and_stages(home: Home) -> None:
    telemetry = one_run(home).runs[0].telemetry
    assert telemetry is not None
    assert (telemetry.samples, telemetry.seconds) == (622, 310.5)
    assert len(telemetry.times) <= POINTS
    board, host = telemetry.devices
    load = next(series for series in board.series if series.name == "Load")
    assert None in load.values
    memory = next(series for series in board.series if series.name == "Memory of the board")
    assert (memory.peak, memory.limit) == (16 * 2**30, 24 * 2**30)
    assert [(stage.title, stage.start, stage.end) for stage in telemetry.stages][:2] == [
        ("Load the model", 0.0, 6.0),
        ("Write calibration answers", 6.0, 96.0),
    ]
    assert host.name == "This machine"


def test_that_energy_is_the_area_under_the_power_curve(home: Home) -> None:
    telemetry = one_run(home).runs[0].telemetry
    assert telemetry is not None
    powers = [sample.gpus[0].power or 0.0 for sample in samples(0.0, gpu=True)]
    expected = sum((a + b) / 2 * 0.5 for a, b in pairwise(powers))
    assert telemetry.devices[0].energy_joules == pytest.approx(expected)


def test_that_stages_alone_make_a_timeline(home: Home) -> None:
    store = MadeUpStore((compress_run(1, INT4),))
    write_events(home, 1, events(50.0))
    without = type(sources())(**{**_fields(), "read_samples": lambda _: ()})
    telemetry = collect([1], store, home, sources=without, now=NOW).runs[0].telemetry
    assert telemetry is not None
    assert (telemetry.devices, telemetry.seconds, len(telemetry.stages)) == ((), 310.0, 5)


def test_that_the_first_differing_token_parts_the_text(home: Home) -> None:
    original, compressed = one_run(home).comparisons[0].outputs
    assert compressed.first_difference == 12
    assert (original.mark, compressed.mark) == (" in", " and")
    assert original.same == compressed.same
    assert compressed.same.endswith("the river Seine,")


def test_that_tokens_which_do_not_add_up_to_the_text_mark_nothing(home: Home) -> None:
    run = compare_run(2, [INT4])
    outputs = [*run.result["outputs"]]
    outputs[1] = plain(answer(output_of(INT4), "x", ["a", "b"])) | {"text": "something else"}
    changed = run.model_copy(update={"result": {**run.result, "outputs": outputs, "first_difference": [None, 1]}})
    report = collect([1], MadeUpStore((compress_run(1, INT4), changed)), home, sources=sources(), now=NOW)
    side = report.comparisons[0].outputs[1]
    assert (side.same, side.mark, side.rest) == ("something else", "", "")


def test_that_repeats_which_lie_far_apart_are_said(home: Home) -> None:
    run = benchmark_run(2, [INT4])
    models = [dict(model) for model in run.result["models"]]
    first = {**models[0]["cases"][0], "itl_ms": {"value": 216.0, "low": 40.2, "high": 392.0}}
    models[0]["cases"] = [first, *models[0]["cases"][1:]]
    noisy = run.model_copy(update={"result": {"models": models}})
    for measured, said in ((run, False), (noisy, True)):
        report = collect([1], MadeUpStore((compress_run(1, INT4), measured)), home, sources=sources(), now=NOW)
        assert any(SCATTERED in sentence for sentence in report.verdict.sentences) is said


def test_that_a_long_command_is_wrapped_at_its_options_and_means_the_same(home: Home) -> None:
    command = shlex.join(["bitpress", "compress", "/a b --c/" + "x" * 80, "--set", "ignore=re:.*", "--seed", "0"])
    told = type(sources())(**{**_fields(), "command_line": lambda _: command})
    report = collect([1], MadeUpStore((compress_run(1, INT4),)), home, sources=told, now=NOW)
    code = next(block for block in blocks(report) if isinstance(block, Code) and block.label == "Command line")
    assert code.text.splitlines()[1:] == ["  --set 'ignore=re:.*' \\", "  --seed 0"]
    assert shlex.split(code.text.replace("\\\n", "")) == shlex.split(command)


def test_that_times_are_shown_in_the_readers_zone(home: Home) -> None:

    east = NOW.astimezone(timezone(timedelta(hours=9)))
    store = MadeUpStore((compress_run(1, INT4), evaluate_run(2, [INT4])))
    report = collect([1], store, home, sources=sources(), now=east)
    assert report.runs[0].created.utcoffset() == timedelta(hours=9)


def test_that_measurement_kinds_are_the_stores_own() -> None:
    assert {RunKind.EVALUATE, RunKind.BENCHMARK, RunKind.COMPARE} == {
        run.kind for run in (evaluate_run(1, [INT4]), benchmark_run(2, [INT4]), compare_run(3, [INT4]))
    }
