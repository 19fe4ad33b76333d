"""Facts about sweeps: they survive being killed at any moment, and one failure stops nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bitpress_process import Bitpress, gone, names, state

pytestmark = pytest.mark.model

PROSE = """The harbour lies under fog in the morning, and the boats wait for the wind.
A miller keeps his grain dry, or the whole winter's bread is lost to him.
When two numbers are added, their order makes no difference to the sum.
"""

W8A16 = "rtn-w8a16:group_size=32"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A text to score."""
    path = tmp_path / "text.txt"
    path.write_text(PROSE * 4, encoding="utf-8")
    return path


def sweep_of(model: Path, text: Path, *more: object) -> Sequence[object]:
    methods = ("--methods", "fp8-dynamic,rtn-w8a16,reap", "--grid", "group_size=32")
    return ("sweep", model, *methods, "--text", text, "--tokens", 128, "--json", *more)


def record(home: Path, identity: str = "1") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "sweeps" / identity / "sweep.json").read_text(encoding="utf-8"))
    return found


def test_that_a_sweep_killed_between_rows_inside_a_row_and_while_it_measures_goes_on_where_it_was(
    surveyed: Bitpress, tiny: Path, text: Path, tmp_path: Path
) -> None:
    artifacts = surveyed.home / "artifacts"
    gate = tmp_path / "strict.yaml"
    gate.write_text("thresholds:\n  - {figure: kl.max, at_most: 0}\n", encoding="utf-8")

    # When a row is pressed and nothing of it measured yet.
    with surveyed.running(*sweep_of(tiny, text, "--gate", gate)) as running:
        running.until(lambda event: event["type"] == "row" and event["states"]["fp8-dynamic"] == "compressed")
        running.process.kill()
        running.wait()
    (first,) = names(artifacts)
    before = state(artifacts / first)

    # While it measures; the same command goes on by itself.
    with surveyed.running(*sweep_of(tiny, text, "--gate", gate)) as running:
        running.until(lambda event: event["type"] == "row" and event["sentence"].startswith("Measuring"))
        running.until(lambda event: event["type"] == "stage_started")
        workers = running.workers()
        running.process.kill()
        running.wait()
    assert gone(workers, 10.0)

    # Inside the second row.
    with surveyed.running("sweep", "--resume", "--json") as running:
        running.until(lambda event: event["type"] == "row" and event["sentence"].startswith("2 of 3"))
        running.until(lambda event: event["type"] == "stage_started")
        workers = running.workers()
        running.process.kill()
        running.wait()
    assert gone(workers, 10.0)
    assert [row["state"] for row in record(surveyed.home)["result"]["rows"]] == ["measured", "waiting", "failed"]

    ended = surveyed("sweep", "--resume", 1, "--json")
    # The gate was asked for, and nothing passes it.
    assert ended.status == 3, ended.stderr
    assert "Nothing passes strict" in ended.last["recommendation"]["sentence"]
    rows = {row["key"]: row for row in ended.last["rows"]}
    assert {key: row["state"] for key, row in rows.items()} == {
        "fp8-dynamic": "measured",
        W8A16: "measured",
        "reap": "failed",
    }
    assert rows[W8A16]["label"] == "W8A16 by rounding, group size 32"
    assert rows["reap"]["problem"]["code"] == "blocked"
    # What was there was not made again, and nothing half made is left.
    assert state(artifacts / first) == before
    assert len(names(artifacts)) == 2
    runs = surveyed("runs", "--json").of("run")
    pressed = [run for run in runs if run["kind"] == "compress"]
    assert sorted(str(run["reason"]) for run in pressed) == ["completed", "completed", "interrupted"]
    assert sorted(point["key"] for point in ended.last["chart"]) == ["fp8-dynamic", W8A16]
    assert ended.last["front_size"]
    assert ended.last["recommendation"]["sentence"]
    assert ended.last["finished"]
    assert all(row["gate"] == "fail" and row["gate_sentence"] for row in rows.values() if row["state"] == "measured")

    # Over: nothing runs again, and it can still be read.
    (listed,) = surveyed("sweep", "--list", "--json").of("sweep")
    assert listed["finished"]
    lax = tmp_path / "lax.yaml"
    lax.write_text("thresholds:\n  - {figure: size, at_most: 2}\n", encoding="utf-8")
    again = surveyed("sweep", "--resume", 1, "--gate", lax)
    assert again.status == 0, "judged by another gate"
    assert "Best for size against divergence" in again.stdout
    assert len(surveyed("runs", "--json").of("run")) == len(runs)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--methods", "rtn-w8a16", "--grid", "group_sise=32"], "unknown-parameter", "Did you mean group_size?"),
        (["--resume"], "unknown-sweep", "There is no sweep"),
    ],
)
def test_that_a_slip_of_the_pen_is_told_before_anything_runs(
    fresh: Bitpress, tiny: Path, arguments: list[str], code: str, said: str
) -> None:
    ended = fresh("sweep", tiny, *arguments, "--json")
    assert ended.status == 2
    assert ended.last["code"] == code
    assert said in f"{ended.last['message']} {ended.last['hint']}"
    assert not (fresh.home / "sweeps").exists()
