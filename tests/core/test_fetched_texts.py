"""Evaluation texts that are fetched on request; the network is played by a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.errors import BitpressError
from core.measure.evaluation_texts import documents
from core.measure.fetched_texts import WIKITEXT_2, FetchableText, articles, fetch, fetched, from_hub, place
from core.paths import Home

LINES = [
    "",
    " = Grey heron = \n",
    "",
    " The grey heron ( Ardea cinerea ) stands 90 – 100 cm tall . \n",
    "",
    " = = Voice = = \n",
    "",
    " It croaks . \n",
    " = not a title = \n",
    " It croaks again . \n",
    "",
    " = Ångström / unit = \n",
    "",
    " A tenth of a nanometre . \n",
    "",
]


class Mirror:
    """A download that copies a file, and counts how often it was asked."""

    def __init__(self, file: Path) -> None:
        self.file, self.calls = file, 0

    def __call__(self, text: FetchableText, folder: Path) -> Path:
        assert text is WIKITEXT_2
        self.calls += 1
        return Path(shutil.copy(self.file, folder / "part.parquet"))


def parquet_file(path: Path, lines: list[str] | list[int], column: str = "text") -> Path:
    parquet.write_table(pyarrow.table({column: lines}), path)
    return path


def code_of(caught: pytest.ExceptionInfo[BitpressError]) -> str:
    assert caught.value.problem.hint
    return caught.value.problem.code


def left(home: Home) -> list[str]:
    return sorted(entry.name for entry in home.texts.iterdir()) if home.texts.exists() else []


def test_that_articles_begin_at_titles_and_nowhere_else() -> None:
    found = articles(["Before any title.\n", *LINES])
    assert [title for title, _ in found] == ["Grey heron", "Ångström / unit"]
    assert found[0][1].startswith("= Grey heron =")
    assert " = = Voice = = " in found[0][1]
    assert found[0][1].endswith("It croaks again . \n".rstrip() + "\n")
    assert "Before" not in found[0][1]
    assert articles([]) == ()


def test_that_a_fetched_text_is_kept_as_documents_that_an_evaluation_reads(home: Home, tmp_path: Path) -> None:
    mirror = Mirror(parquet_file(tmp_path / "a.parquet", LINES))
    record = fetch("wikitext-2", home, download=mirror)
    assert record.documents == 2
    assert record.words == sum(len(text.split()) for _, text in articles(LINES))
    assert len(record.sha256) == 64
    assert fetched(home, "wikitext-2") == record
    assert [name for name, _ in documents(place("wikitext-2", home))] == ["001-grey-heron.txt", "002-ngstr-m-unit.txt"]
    assert left(home) == ["wikitext-2"]


def test_that_a_text_is_fetched_once_unless_asked_again(home: Home, tmp_path: Path) -> None:
    mirror = Mirror(parquet_file(tmp_path / "a.parquet", LINES))
    first = fetch("wikitext-2", home, download=mirror)
    assert fetch("wikitext-2", home, download=mirror) == first
    assert mirror.calls == 1
    parquet_file(tmp_path / "a.parquet", LINES[:9])
    again = fetch("wikitext-2", home, download=mirror, again=True)
    assert (mirror.calls, again.documents) == (2, 1)
    assert len(documents(place("wikitext-2", home))) == 1
    assert left(home) == ["wikitext-2"]


def test_that_a_failed_fetch_leaves_nothing_and_keeps_what_was_there(home: Home, tmp_path: Path) -> None:
    def offline(_text: FetchableText, _folder: Path) -> Path:
        raise ConnectionError("no route to host")

    with pytest.raises(BitpressError, match="no route to host") as caught:
        fetch("wikitext-2", home, download=offline)
    assert code_of(caught) == "text-not-fetched"
    assert left(home) == []
    record = fetch("wikitext-2", home, download=Mirror(parquet_file(tmp_path / "a.parquet", LINES)))
    with pytest.raises(BitpressError):
        fetch("wikitext-2", home, download=offline, again=True)
    assert fetched(home, "wikitext-2") == record
    assert left(home) == ["wikitext-2"]


def test_that_the_hubs_own_client_says_that_it_may_not_use_the_network(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BitpressError) as caught:
        fetch("wikitext-2", home, download=from_hub)
    assert code_of(caught) == "text-not-fetched"
    assert "huggingface.co/datasets/Salesforce/wikitext" in caught.value.problem.message
    assert left(home) == []


@pytest.mark.parametrize("kind", ["not parquet", "other column", "no articles", "numbers"])
def test_that_a_wrong_file_is_refused(home: Home, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.parquet"
    match kind:
        case "not parquet":
            path.write_bytes(b"<html>Please log in</html>")
        case "other column":
            parquet_file(path, LINES, column="page")
        case "no articles":
            parquet_file(path, ["just a line\n"])
        case _:
            parquet_file(path, [1, 2, 3])
    with pytest.raises(BitpressError) as caught:
        fetch("wikitext-2", home, download=Mirror(path))
    assert code_of(caught) == "text-damaged"
    assert left(home) == []


def test_that_a_text_which_was_not_fetched_names_the_command(home: Home) -> None:
    for asked in (lambda: place("wikitext-2", home), lambda: documents("wikitext-2")):
        with pytest.raises(BitpressError) as caught:
            asked()
        assert code_of(caught) == "text-not-fetched"
        assert "bitpress texts fetch wikitext-2" in caught.value.problem.hint
    assert place("prose", home) == "prose"
    with pytest.raises(BitpressError) as caught:
        fetch("wikitext-3", home)
    assert code_of(caught) == "unknown-text"


def test_that_a_damaged_record_counts_as_not_fetched(home: Home, tmp_path: Path) -> None:
    mirror = Mirror(parquet_file(tmp_path / "a.parquet", LINES))
    fetch("wikitext-2", home, download=mirror)
    record = home.texts / "wikitext-2" / "ORIGIN.json"
    assert json.loads(record.read_text())["licence"] == WIKITEXT_2.licence
    record.write_text("{}")
    assert fetched(home, "wikitext-2") is None
    fetch("wikitext-2", home, download=mirror)
    assert fetched(home, "wikitext-2") is not None
