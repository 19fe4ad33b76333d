"""How much of the calibration data is also in a text that a model is judged by."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

from core.calibration.spec import CalibrationSample

WORDS = 13
"""Words in a row that hardly occur twice by chance; the length that GPT-3's contamination study used (2005.14165)."""

_SHORTEST = 5
"""Samples of fewer words are left out: they are in any text."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
"""A word, or one character of a script that writes without spaces."""


def shared_share(samples: Iterable[CalibrationSample], texts: Sequence[str], words: int = WORDS) -> float:
    """Share, 0 to 1, of the samples' word runs that stand in the texts as well; 0 where there are none.

    A sample of fewer words than a run counts as one run of its own length.
    """
    spoken = [_words(text) for text in texts]
    known: dict[int, set[tuple[str, ...]]] = {}
    shared = total = 0
    for sample in samples:
        mine = _words(text_of(sample))
        length = min(words, len(mine))
        if length < _SHORTEST:
            continue
        if length not in known:
            known[length] = {run for text in spoken for run in _runs(text, length)}
        for run in _runs(mine, length):
            total += 1
            shared += run in known[length]
    return shared / total if total else 0.0


def evaluation_texts() -> tuple[str, ...]:
    """The built-in texts and prompts that models are judged by."""
    folder = files("resources")
    texts = [
        entry.read_text(encoding="utf-8") for entry in folder.joinpath("texts").iterdir() if entry.name.endswith(".txt")
    ]
    lines = folder.joinpath("prompts/evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["messages"] for line in lines if line.strip()]
    return (*texts, *(message["content"] for messages in prompts for message in messages))


def text_of(sample: CalibrationSample) -> str:
    """The words of a sample, without roles."""
    if sample.kind == "text":
        return sample.text
    return "\n".join(message.get("content", "") for message in sample.messages)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    for start in range(len(words) - length + 1):
        yield tuple(words[start : start + length])
