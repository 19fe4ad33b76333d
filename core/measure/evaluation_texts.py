"""The texts that an evaluation scores: those that ship with the application, and the user's own files.

None of them is ever calibration data.
"""

from __future__ import annotations

import errno
import json
from importlib.resources import files
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from core.errors import BitpressError
from core.measure.fetched_texts import FETCHABLE, find, not_fetched
from core.regular_file import read_regular
from core.value import Received

CHAT = "chat"
"""The name of the text that the original writes itself; it has prompts instead of documents."""

BUILT_IN = ("prose", "technical", "code", "languages")
"""Names of the texts that ship with the application."""

SUFFIXES = (".txt", ".md")
MOST_BYTES = 64 << 20
"""Of one file: some twenty million tokens, a thousand times what an evaluation scores."""
MOST_FILES, MOST_IN_FOLDER = 10_000, 256 << 20


class EvaluationPrompt(Received):
    """One held-out prompt: chat messages with `role` and `content`, the last one by the user."""

    id: str
    category: str
    language: str
    messages: tuple[dict[str, str], ...]


class TextRecord(Received):
    """What is known of one file in `resources/texts`.

    `words` are parted by white space; of Chinese and Japanese they are characters. `language` is that of the prose,
    by its ISO 639-1 code; `kind` says what kind of document or which programming language it is.
    """

    file: str
    domain: str
    kind: str
    language: str
    words: int
    licence: str
    author: str
    sha256: str


def provenance() -> tuple[TextRecord, ...]:
    """The record of every text that ships. Raises BitpressError `broken-texts` where the file is damaged."""
    content = (files("resources") / "texts" / "PROVENANCE.json").read_text(encoding="utf-8")
    try:
        return tuple(TextRecord.model_validate(entry) for entry in json.loads(content))
    except (ValueError, ValidationError) as error:
        raise BitpressError(
            "broken-texts",
            f"The list of the texts that ship with the application cannot be read: {error}",
            "Install the application again.",
        ) from error


def asked_name(text: str) -> str:
    """What a person typed as a text, as an evaluation keeps it: a known name as it is, a path made absolute."""
    if text in (CHAT, *BUILT_IN) or find(text) is not None:
        return text
    return str(Path(text).expanduser().absolute())


def documents(name: str) -> tuple[tuple[str, str], ...]:
    """(document name, text) of a built-in text or of the user's file, or of every text file under a folder.

    Fetched texts are named by their folder, see `fetched_texts.place`. Raises BitpressError: no-such-text,
    text-not-fetched, unsupported-text, unreadable-text, text-too-large, wrong-encoding, empty-text.
    """
    if name in BUILT_IN:
        folder = files("resources") / "texts"
        found = sorted(
            (entry for entry in folder.iterdir() if entry.name.startswith(f"{name}-") and entry.name.endswith(".txt")),
            key=lambda entry: entry.name,
        )
        return tuple((entry.name.removesuffix(".txt"), entry.read_text(encoding="utf-8")) for entry in found)
    if find(name) is not None:
        raise not_fetched(name)
    path = Path(name).expanduser()
    if path.is_dir():
        every = (entry for entry in path.rglob("*") if entry.suffix.lower() in SUFFIXES and entry.is_file())
        paths = sorted(islice(every, MOST_FILES + 1))
        if len(paths) > MOST_FILES or sum(entry.stat().st_size for entry in paths) > MOST_IN_FOLDER:
            raise BitpressError(
                "text-too-large",
                f"{path} holds more than {MOST_FILES:,} text files or {MOST_IN_FOLDER >> 20} MiB of text.",
                "Choose a folder with fewer of them: an evaluation reads some thousand tokens of each text.",
            )
        if not paths:
            raise BitpressError(
                "empty-text", f"{path} holds no .txt or .md file.", "Choose a file, or a folder that holds text files."
            )
        return tuple((str(entry.relative_to(path)), _read(entry)) for entry in paths)
    if not path.is_file():
        known = (CHAT, *BUILT_IN, *(text.name for text in FETCHABLE))
        raise BitpressError(
            "no-such-text",
            f"There is no text {name}: it is neither a file nor one of {', '.join(known)}.",
            "Name a .txt or .md file, a folder of them, or a built-in text.",
        )
    if path.suffix.lower() not in SUFFIXES:
        raise BitpressError(
            "unsupported-text",
            f"{path.name} is not a text file: only {' and '.join(SUFFIXES)} can be scored.",
            "Save the text as a .txt file in UTF-8.",
        )
    return ((path.name, _read(path)),)


def prompts() -> tuple[EvaluationPrompt, ...]:
    """The held-out prompts, in their fixed order. Raises BitpressError `broken-prompts` where the file is damaged."""
    lines = (files("resources") / "prompts" / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    try:
        return tuple(EvaluationPrompt.model_validate(json.loads(line)) for line in lines if line.strip())
    except (ValueError, ValidationError) as error:
        raise BitpressError(
            "broken-prompts",
            f"The evaluation prompts that ship with the application cannot be read: {error}",
            "Install the application again.",
        ) from error


def _read(path: Path) -> str:
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        large = error.errno == errno.EFBIG
        raise BitpressError(
            "text-too-large" if large else "unreadable-text",
            f"{path.name} cannot be scored: {error.strerror or error}.",
            "Score a part of it: an evaluation reads some thousand tokens of each text."
            if large
            else "Check that it is a plain file and that you may read it.",
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BitpressError(
            "wrong-encoding",
            f"{path.name} is not UTF-8: byte {error.start} (0x{content[error.start]:02x}) cannot be read.",
            "Save the file again as UTF-8.",
        ) from error
    if not text.strip():
        raise BitpressError("empty-text", f"{path.name} is empty.", "Choose a file with some text in it.")
    return text
