"""Facts about the command line's contract with scripts, on real processes and a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from bitpress_process import ROOT, Bitpress, Ended, command_of, names

pytestmark = pytest.mark.model

RANGE = {"value", "low", "high"}
SUFFIXES = (".pdf", ".html", ".json", ".csv", ".md")


def artifact_of(run: Ended) -> Path:
    assert run.status == 0, (run.stdout[-2000:], run.stderr)
    return Path(run.last["output"])


def test_that_the_methods_are_listed_one_a_line_with_their_parameters(fresh: Bitpress) -> None:
    ended = fresh("methods", "--json")
    assert ended.status == 0
    methods = ended.of("method")
    assert [line["id"] for line in methods][:3] == ["fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8"]
    assert all(line["title"] and line["parameters"] and line["runs_in"] for line in methods)
    assert all(line["why"] and line["instead"] for line in ended.of("not-offered"))
    assert len(methods) + len(ended.of("not-offered")) == len(ended.lines)


def test_that_the_models_of_a_named_folder_are_listed_one_a_line(fresh: Bitpress, tiny: Path) -> None:
    ended = fresh("models", tiny.parent, "--json")
    assert ended.status == 0
    assert {line["path"] for line in ended.of("model")} >= {str(tiny)}
    assert {"starter", "folder"} <= {line["origin"] for line in ended.lines}


def test_that_inspect_tells_what_is_inside(fresh: Bitpress, tiny: Path) -> None:
    ended = fresh("inspect", tiny, "--json")
    assert ended.status == 0
    assert len(ended.lines) == 1
    assert ended.last["type"] == "result"
    assert ended.last["path"] == str(tiny)
    assert ended.last["architecture"] == "LlamaForCausalLM"
    assert ended.last["parameters"] == 3_219_776
    assert ended.last["bytes"] == (tiny / "model.safetensors").stat().st_size


def test_that_a_plan_says_that_it_can_start_and_what_it_needs(fresh: Bitpress, tiny: Path) -> None:
    ended = fresh("plan", tiny, "--method", "gptq-w4a16", "--json")
    assert ended.status == 0
    result = ended.last
    assert result["type"] == "result"
    assert result["runnable"] is True
    assert {"artifact_bytes", "device_bytes", "host_bytes", "disk_bytes", "seconds"} <= set(result["estimates"])
    assert set(result["estimates"]["seconds"]) == RANGE
    assert all({"code", "severity", "message", "fix"} <= set(finding) for finding in result["findings"])
    assert not (fresh.home / "artifacts").exists()


def test_that_a_plan_that_cannot_start_ends_with_status_3_and_a_fix(surveyed: Bitpress, tiny: Path) -> None:
    ended = surveyed("plan", tiny, "--method", "gptq-w4a16", "--set", "group_size=128", "--json")
    assert ended.status == 3
    assert ended.last["runnable"] is False
    blocking = [finding for finding in ended.last["findings"] if finding["severity"] == "blocks"]
    assert blocking
    assert blocking[0]["fix"] == {"group_size": 64}


def check_compression(ended: Ended, tiny: Path) -> None:
    artifact = artifact_of(ended)
    result = ended.last
    assert result["type"] == "result"
    assert isinstance(result["run"], int)
    assert result["seconds"] > 0
    assert result["bytes"] == (artifact / "model.safetensors").stat().st_size
    assert result["original_bytes"] == (tiny / "model.safetensors").stat().st_size
    assert result["proof"]["passed"] is True
    assert 0 < result["proof"]["seconds"] < result["seconds"]
    assert all({"name", "passed", "detail"} <= set(check) for check in result["proof"]["checks"])
    assert {"hello", "accepted", "stage_started", "stage_finished", "progress"} <= {
        line["type"] for line in ended.lines
    }
    assert not [name for name in artifact.parent.iterdir() if name.name.startswith(".")]


def test_that_a_compression_prints_its_events_and_ends_with_its_result(pressed: Ended, tiny: Path) -> None:
    check_compression(pressed, tiny)


def test_that_a_compression_takes_calibration_data_of_ones_own(
    pressed_with_data: Ended, tiny: Path, calibration: Path
) -> None:
    check_compression(pressed_with_data, tiny)
    assert pressed_with_data.last["calibration"]["samples"] == 4
    assert pressed_with_data.last["calibration"]["source"] == str(calibration)


def test_that_a_proof_gives_its_checks_and_one_that_does_not_hold_fails(
    bitpress: Bitpress, pressed: Ended, tmp_path: Path
) -> None:
    artifact = artifact_of(pressed)
    proved = bitpress("prove", artifact, "--json")
    assert proved.status == 0
    assert proved.last["type"] == "result"
    assert proved.last["passed"] is True
    assert proved.last["seconds"] > 0
    assert all(check["passed"] for check in proved.last["checks"])
    mute = shutil.copytree(artifact, tmp_path / "mute", ignore=shutil.ignore_patterns("tokenizer*"))
    failed = bitpress("prove", mute, "--json")
    assert failed.status == 1
    assert failed.last["type"] == "result"
    assert failed.last["passed"] is False
    assert [check["name"] for check in failed.last["checks"] if not check["passed"]] == ["reopens in transformers"]


def test_that_generate_answers_with_both_models_and_says_where_they_part(
    bitpress: Bitpress, pressed: Ended, tiny: Path
) -> None:
    artifact = artifact_of(pressed)
    ended = bitpress("generate", tiny, artifact, "--prompt", "Why is the sky blue?", "--max-tokens", 12, "--json")
    assert ended.status == 0, ended.stderr
    outputs = ended.last["outputs"]
    assert [output["path"] for output in outputs] == [str(tiny), str(artifact)]
    for output in outputs:
        assert output["tokens"] == 12
        assert output["text"]
        assert output["ttft_ms"] > 0
        assert output["tokens_per_second"] > 0
    ids = [output["token_ids"] for output in outputs]
    parting = next((place for place, (one, other) in enumerate(zip(*ids, strict=True)) if one != other), None)
    assert ended.last["first_difference"] == parting


def test_that_an_evaluation_measures_a_text_of_ones_own_and_judges_it_by_the_gate(
    bitpress: Bitpress, pressed: Ended, tiny: Path, tmp_path: Path
) -> None:
    artifact = artifact_of(pressed)
    text = tmp_path / "letter.txt"
    text.write_text("The miller counts his sacks twice before the rain. " * 30, encoding="utf-8")
    arguments = ("evaluate", tiny, artifact, "--text", text, "--tokens", 128, "--json")
    ended = bitpress(*arguments, "--gate", "near-lossless")
    # FP8 moves noise further than it moves a trained model, so this gate is not met.
    assert ended.status == 3, ended.stderr
    result = ended.last
    assert result["type"] == "result"
    assert 64 <= result["tokens"] <= 128
    (other,) = result["others"]
    assert other["path"] == str(artifact)
    assert other["perplexity"] > 1
    assert set(other["perplexity_ratio"]) >= RANGE
    assert set(other["kl"]) >= {"mean", "median", "p90", "p95", "p99", "p999", "max"}
    assert set(other["same_top1"]) >= RANGE
    assert other["gate"]["name"] == "near-lossless"
    assert other["gate"]["verdict"] in ("fail", "inconclusive")
    assert bitpress("evaluate", tiny, tiny, *arguments[3:], "--gate", "production").status == 0


def test_that_a_benchmark_gives_every_figure_with_its_conditions(
    bitpress: Bitpress, pressed: Ended, tiny: Path
) -> None:
    lengths = ("--prompt-tokens", 8, "--output-tokens", 4, "--repeats", 2, "--batch", 1, "--batch", 2)
    ended = bitpress("bench", tiny, artifact_of(pressed), *lengths, "--json")
    assert ended.status == 0, ended.stderr
    assert [model["path"] for model in ended.last["models"]] == [str(tiny), str(artifact_of(pressed))]
    for model in ended.last["models"]:
        assert model["engine"] == "transformers"
        assert model["device"]
        assert model["dtype"]
        assert model["bytes"] > 1_000_000
        assert model["load_seconds"]
        assert model["peak_bytes"] > 0
        assert [(case["batch"], case["prompt_tokens"], case["output_tokens"]) for case in model["cases"]] == [
            (1, 8, 4),
            (2, 8, 4),
        ]
        for case in model["cases"]:
            assert all(set(case[key]) == RANGE for key in ("ttft_ms", "itl_ms", "tokens_per_second"))


def test_that_kept_runs_are_listed_newest_first_and_shown_whole(
    bitpress: Bitpress, pressed: Ended, pressed_with_data: Ended
) -> None:
    listed = bitpress("runs", "--json")
    assert listed.status == 0
    numbers = [line["id"] for line in listed.of("run")]
    assert numbers == sorted(numbers, reverse=True)
    assert {pressed.last["run"], pressed_with_data.last["run"]} <= set(numbers)
    shown = bitpress("show", pressed.last["run"], "--json")
    assert shown.status == 0
    assert shown.last["reason"] == "completed"
    assert shown.last["result"]["proof"]["passed"] is True
    assert shown.last["settings"]["recipe"]["method"] == "fp8-dynamic"
    assert {"events.jsonl", "telemetry.jsonl", "worker.log"} <= set(names(Path(shown.last["folder"])))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_that_a_report_is_written_in_the_format_of_its_name(
    bitpress: Bitpress, pressed: Ended, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"report{suffix}"
    ended = bitpress("report", pressed.last["run"], "--output", path, "--json")
    assert ended.status == 0, ended.stderr
    assert ended.last == {"type": "result", "output": str(path)}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    content = path.read_bytes()
    if suffix == ".pdf":
        assert content.startswith(b"%PDF-")
    else:
        assert "fp8-dynamic" in content.decode("utf-8").lower().replace(" ", "-")
    if suffix == ".json":
        json.loads(content)


@pytest.mark.parametrize(
    "arguments",
    [
        ("compress", "--json"),
        ("press", "--json"),
        ("inspect", "starter", "--colour", "--json"),
        ("plan", "starter", "--method", "fp8-dynamic", "--samples", "none", "--json"),
    ],
)
def test_that_wrong_usage_is_an_error_line_and_status_2(fresh: Bitpress, arguments: tuple[str, ...]) -> None:
    ended = fresh(*arguments)
    assert ended.status == 2
    assert ended.last["type"] == "error"
    assert ended.last["code"] == "wrong-usage"
    assert "--help" in ended.last["hint"]
    assert "Traceback" not in ended.stderr
    assert not fresh.home.exists()


def test_that_a_person_is_told_in_words_how_a_command_is_used(fresh: Bitpress) -> None:
    ended = fresh("compress")
    assert ended.status == 2
    assert ended.stdout == ""
    assert "Usage: bitpress compress" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_that_help_and_version_are_no_errors(fresh: Bitpress) -> None:
    assert "compress" in fresh("--help").stdout
    version = fresh("--version")
    assert version.status == 0
    assert version.stdout.startswith("bitpress ")


def test_that_a_reader_that_has_seen_enough_is_no_fault(fresh: Bitpress) -> None:
    with subprocess.Popen(
        command_of(("runs", "--json")),
        env=fresh.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        errors = process.stderr.read() if process.stderr else b""
        process.wait(60)
    assert b"Traceback" not in errors


def test_that_a_model_whose_name_is_no_text_is_refused_and_does_not_spoil_the_list(
    fresh: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/models/odd-\xff"))
    shutil.copytree(tiny, folder)
    shutil.copytree(tiny, folder.parent / "even")
    refused = fresh("inspect", folder, "--json")
    assert refused.status == 1
    assert refused.last["code"] == "path-not-text"
    assert "odd-\\xff" in refused.last["message"]
    listed = fresh("models", folder.parent, "--json")
    assert listed.status == 0
    assert {line["name"] for line in listed.of("model")} == {"SmolLM2-135M-Instruct", "even"}
