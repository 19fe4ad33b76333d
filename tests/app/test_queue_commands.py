"""Facts about `bitpress queue`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import run
from app.cli.queue import next_time
from core.errors import BitpressError
from core.jobs.order import ImportOrder, kept_order
from core.jobs.protocol import FinishReason
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.paths import Home

CLOCK = timezone(timedelta(hours=2))
NOW = datetime(2026, 11, 22, 21, 0, tzinfo=CLOCK)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def queued(home: Home, folder: Path, *names: str) -> None:
    with RunStore.open(home.store_file) as store:
        for name in names:
            order = kept_order(ImportOrder(source=folder / "none.gguf", output=folder / name))
            new = NewRun(
                kind=RunKind.IMPORT,
                title=name,
                models=("/m",),
                model_name="m",
                output=str(folder / name),
                order=order,
            )
            store.create(new, owned=False)


def test_that_what_waits_is_listed_in_its_order_and_changed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["queue"]) == 0
    assert "nothing waits" in capsys.readouterr().out
    queued(home, tmp_path, "one", "two", "three")
    for change in (
        ["move", "3", "--first"],
        ["hold", "1"],
        ["after", "2", "3"],
        ["at", "3", "2099-12-24T22:30"],
    ):
        assert run(["queue", *change]) == 0
    capsys.readouterr()
    assert run(["queue", "--json"]) == 0
    assert [(line["id"], line["standing"]) for line in lines(capsys)] == [(3, "early"), (1, "held"), (2, "follows")]
    assert run(["queue", "list"]) == 0
    said = capsys.readouterr().out
    assert "from 2099-12-24 22:30" in said
    assert "after run 3" in said
    for change in (["release", "1"], ["release", "3"], ["cancel", "1"]):
        assert run(["queue", *change]) == 0
    capsys.readouterr()
    assert run(["queue", "list", "--json"]) == 0
    assert [(line["id"], line["standing"]) for line in lines(capsys)] == [(3, "ready"), (2, "follows")]


def test_that_a_run_that_is_over_is_queued_again_beside_what_it_made(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queued(home, tmp_path, "one")
    (tmp_path / "one").mkdir()
    assert run(["queue", "retry", "1", "--json"]) == 1
    assert lines(capsys)[-1]["code"] == "not-over"
    with RunStore.open(home.store_file) as store:
        store.save(store.get(1).model_copy(update={"phase": Phase.FINISHED, "reason": FinishReason.INTERRUPTED}))
    assert run(["queue", "retry", "1", "--json"]) == 0
    assert lines(capsys)[-1] == {"type": "result", "run": 2, "queued": True, "output": str(tmp_path / "one-2")}
    with RunStore.open(home.store_file) as store:
        assert store.get(2).order["output"] == str(tmp_path / "one-2")
        assert store.get(2).phase is Phase.QUEUED


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["hold", "9"], 1, "unknown-run"),
        (["after", "1", "1"], 3, "goes-round"),
        (["at", "1", "soon"], 2, "bad-time"),
        (["move", "1"], 2, "wrong-usage"),
        (["move", "1", "--first", "--last"], 2, "wrong-usage"),
    ],
)
def test_that_a_change_that_cannot_be_made_is_said(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, code: str
) -> None:
    queued(home, tmp_path, "one")
    assert run(["queue", *arguments, "--json"]) == status
    assert lines(capsys)[-1]["code"] == code


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("22:30", datetime(2026, 11, 22, 22, 30, tzinfo=CLOCK)),
        ("06:00", datetime(2026, 11, 23, 6, 0, tzinfo=CLOCK)),
        ("21:00", datetime(2026, 11, 23, 21, 0, tzinfo=CLOCK)),
        ("2026-12-24T22:30", datetime(2026, 12, 24, 22, 30, tzinfo=CLOCK)),
        ("2026-12-24T22:30+00:00", datetime(2026, 12, 25, 0, 30, tzinfo=CLOCK)),
    ],
)
def test_that_a_time_of_day_is_the_next_one(text: str, meant: datetime) -> None:
    assert next_time(text, NOW) == meant


@pytest.mark.parametrize("text", ["", "25:00", "tonight", "2026-13-01T10:00"])
def test_that_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BitpressError) as caught:
        next_time(text, NOW)
    assert caught.value.problem.code == "bad-time"
