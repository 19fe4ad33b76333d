"""Evaluation texts that are too large or too differently licensed to ship, and are fetched when a person asks."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from core.durable import naming
from core.errors import BitpressError
from core.paths import Home
from core.system_errors import DISK_FULL
from core.value import Value

ORIGIN = "ORIGIN.json"
ROOM = 3_000_000
"""Bytes of the largest text: as it is downloaded, and its documents beside it."""
"""Beside the documents of a fetched text: where they come from."""

_HEADING = re.compile(r"^ = (?!= )(.+) = $")
"""An article's title in WikiText; its sections have more signs on either side."""

Download = Callable[["FetchableText", Path], Path]
"""Puts the file of a text into a folder and gives its path; raises OSError where it cannot."""


@dataclass(frozen=True, slots=True)
class FetchableText:
    """A text that can be fetched from the Hugging Face Hub: a Parquet file with a column `text`, a row a line."""

    name: str
    repository: str
    file: str
    revision: str
    licence: str
    language: str

    @property
    def source(self) -> str:
        return f"https://huggingface.co/datasets/{self.repository}"


class FetchedText(Value):
    """What was fetched, and from where. `sha256` is that of the Parquet file, `words` are parted by white space."""

    name: str
    documents: int
    words: int
    language: str
    licence: str
    source: str
    file: str
    sha256: str


WIKITEXT_2 = FetchableText(
    name="wikitext-2",
    repository="Salesforce/wikitext",
    file="wikitext-2-raw-v1/test-00000-of-00001.parquet",
    revision="main",
    licence="CC BY-SA 3.0 and GFDL",
    language="en",
)
"""The test part, unprocessed. It is scored article by article, so its perplexity is not that of one long text, which
papers print."""

FETCHABLE = (WIKITEXT_2,)


def find(name: str) -> FetchableText | None:
    """The text of this name, whether it was fetched or not."""
    return next((text for text in FETCHABLE if text.name == name), None)


def fetched(home: Home, name: str) -> FetchedText | None:
    """What is kept of a text; None where it was not fetched, or the record of it is damaged."""
    try:
        return FetchedText.model_validate_json((home.texts / name / ORIGIN).read_bytes())
    except (OSError, ValidationError):
        return None


def place(name: str, home: Home) -> str:
    """What `documents` can read: the folder of a fetched text, and any other name as it is.

    Raises BitpressError `text-not-fetched`.
    """
    if find(name) is None:
        return name
    if fetched(home, name) is None:
        raise not_fetched(name)
    return str(home.texts / name)


def not_fetched(name: str) -> BitpressError:
    """The error for a text that was asked for before it was fetched."""
    return BitpressError(
        "text-not-fetched",
        f"The text {name} does not ship with Bitpress and was not fetched yet.",
        f"Run `bitpress texts fetch {name}` once, with a network; or choose another text.",
    )


def from_hub(text: FetchableText, folder: Path) -> Path:
    """Download with the Hub's own client, whose settings (mirror, proxy, token, cache) hold."""
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(text.repository, text.file, repo_type="dataset", revision=text.revision, local_dir=folder)
    )


def fetch(name: str, home: Home, *, download: Download = from_hub, again: bool = False) -> FetchedText:
    """Fetch a text, part it into documents and keep them; one that is kept already stays unless `again`.

    Nothing is left where it fails, and an older copy stays whole. Blocks as long as the network takes. Raises
    BitpressError: `unknown-text`, `text-not-fetched`, `text-damaged`.
    """
    text = find(name)
    if text is None:
        raise BitpressError(
            "unknown-text",
            f"There is no text {name} to fetch.",
            f"These can be fetched: {', '.join(one.name for one in FETCHABLE)}.",
        )
    if not again and (kept := fetched(home, name)) is not None:
        return kept
    home.texts.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=home.texts))
    try:
        with naming(home.texts, ROOM):
            file = _downloaded(text, staging / "download", download)
            record = _write(text, file, staging / "documents")
            _take_the_place(staging / "documents", home.texts / name, staging / "older")
            return record
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def articles(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(title, text) of every article in the lines of WikiText, the title's own line included.

    A title stands between empty lines; other lines that look like one, as tables and quotations hold, are left alone.
    Lines before the first title belong to no article and are left out.
    """
    rows = [line.rstrip("\r\n") for line in lines]
    starts = [
        (number, match[1].strip())
        for number, row in enumerate(rows)
        if (match := _HEADING.match(row)) and not _filled(rows, number - 1) and not _filled(rows, number + 1)
    ]
    ends = [*(number for number, _ in starts), len(rows)][1:]
    return tuple(
        (title, "\n".join(rows[start:end]).strip() + "\n") for (start, title), end in zip(starts, ends, strict=True)
    )


def _filled(rows: list[str], number: int) -> bool:
    return 0 <= number < len(rows) and bool(rows[number].strip())


def _downloaded(text: FetchableText, folder: Path, download: Download) -> Path:
    try:
        folder.mkdir()
        return download(text, folder)
    except OSError as error:  # The Hub's errors are of this kind as well, offline mode among them.
        if error.errno in DISK_FULL:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BitpressError(
            "text-not-fetched",
            f"The text {text.name} could not be fetched from {text.source}: {reason[:300]}",
            "Check the network and the proxy, and that HF_HUB_OFFLINE is not set, then try again. The texts that ship "
            "with Bitpress need no network: prose, technical, code and languages.",
        ) from error


def _write(text: FetchableText, file: Path, folder: Path) -> FetchedText:
    found = articles(_lines(text, file))
    if not found:
        raise _damaged(text, "no article was found in it")
    folder.mkdir()
    for number, (title, content) in enumerate(found, 1):
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
        (folder / f"{number:03d}-{slug or 'untitled'}.txt").write_text(content, encoding="utf-8", newline="\n")
    record = FetchedText(
        name=text.name,
        documents=len(found),
        words=sum(len(content.split()) for _, content in found),
        language=text.language,
        licence=text.licence,
        source=text.source,
        file=f"{text.file}@{text.revision}",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    (folder / ORIGIN).write_text(json.dumps(record.model_dump(), indent=2) + "\n", encoding="utf-8")
    return record


def _lines(text: FetchableText, file: Path) -> list[str]:
    from pyarrow import ArrowException, parquet

    try:
        column: list[object] = parquet.read_table(file, columns=["text"]).column("text").to_pylist()
    except (ArrowException, KeyError, OSError) as error:
        raise _damaged(text, str(error)) from error
    lines = [line for line in column if isinstance(line, str)]
    if len(lines) < len(column):
        raise _damaged(text, "its column `text` holds something else than text")
    return lines


def _damaged(text: FetchableText, reason: str) -> BitpressError:
    return BitpressError(
        "text-damaged",
        f"What was fetched as {text.name} is not the expected file: {reason}.",
        "Nothing of it was kept. Try again; if it happens again, the mirror in use serves another file.",
    )


def _take_the_place(new: Path, target: Path, older: Path) -> None:
    """Rename, so that the text is there whole or not at all."""
    if target.exists():
        os.replace(target, older)  # noqa: PTH105
    os.replace(new, target)  # noqa: PTH105
