"""`bitpress texts`: what can be scored, as a script sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.main import run
from app.cli.output import DONE, FAILED, WRONG_USAGE
from core.measure.fetched_texts import ORIGIN, FetchedText
from core.paths import Home

Capture = pytest.CaptureFixture[str]


def lines(capture: Capture, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    capture.readouterr()
    status = run(["texts", *arguments, "--json"])
    return status, [json.loads(line) for line in capture.readouterr().out.splitlines()]


def test_that_the_list_tells_what_ships_and_what_can_be_fetched(home: Home, capsys: Capture) -> None:
    status, rows = lines(capsys)
    assert status == DONE
    assert lines(capsys, "list") == (DONE, rows)
    by_name = {row["name"]: row for row in rows}
    assert list(by_name) == ["chat", "prose", "technical", "code", "languages", "wikitext-2"]
    assert (by_name["prose"]["documents"], by_name["prose"]["licence"]) == (20, "Apache-2.0")
    assert by_name["prose"]["words"] > 9000
    assert len(by_name["languages"]["languages"]) >= 10
    assert by_name["wikitext-2"]["state"] == "not fetched"
    assert "bitpress texts fetch wikitext-2" in by_name["wikitext-2"]["source"]


def test_that_a_fetched_text_is_listed_with_its_size_and_not_fetched_again(home: Home, capsys: Capture) -> None:
    record = FetchedText(
        name="wikitext-2",
        documents=2,
        words=31,
        language="en",
        licence="CC BY-SA",
        source="somewhere",
        file="a",
        sha256="0",
    )
    folder = home.texts / "wikitext-2"
    folder.mkdir(parents=True)
    (folder / ORIGIN).write_text(record.model_dump_json())
    last = lines(capsys)[1][-1]
    assert (last["state"], last["documents"], last["words"]) == ("fetched", 2, 31)
    status, (told,) = lines(capsys, "fetch", "wikitext-2")
    assert (status, told["type"], told["sha256"]) == (DONE, "result", "0")


def test_that_a_fetch_without_a_network_or_of_nothing_known_says_what_to_do(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, (problem,) = lines(capsys, "fetch", "wikitext-2")
    assert (status, problem["code"]) == (FAILED, "text-not-fetched")
    assert problem["hint"]
    status, (problem,) = lines(capsys, "fetch", "wikitext-9")
    assert (status, problem["code"]) == (WRONG_USAGE, "unknown-text")
