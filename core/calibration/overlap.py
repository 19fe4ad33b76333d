"""How much of the calibration data is also in a text that a model is judged by."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from core.calibration.spec import CalibrationSample

WORDS = 13
"""Words in a row that hardly occur twice by chance; the length that GPT-3's contamination study used (2005.14165)."""

WARN_SHARE, BLOCK_SHARE = 0.01, 0.1
"""From these shares on a person is warned, and a job does not start."""

_SHORTEST = 5
"""Samples of fewer words are left out: they are in any text."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
"""A word, or one character of a script that writes without spaces."""


@dataclass(frozen=True, slots=True)
class SampleOverlap:
    """A sample that shares word runs with a text: its place, the share of its runs, and the text with most of them."""

    place: int
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """Share, 0 to 1, of all samples' word runs that stand in any text, in each text by name, and by sample."""

    share: float
    by_text: Mapping[str, float]
    by_sample: tuple[SampleOverlap, ...]


def overlap(samples: Iterable[CalibrationSample], texts: Mapping[str, str], words: int = WORDS) -> Overlap:
    """Compares runs of words, whatever their case and punctuation.

    A sample of fewer words than a run counts as one run of its own length. `by_text` and `by_sample` hold only what
    shares anything, the most first.
    """
    spoken = {name: words_of(text) for name, text in texts.items()}
    known: dict[int, dict[tuple[str, ...], str]] = {}
    total = shared = 0
    by_text: dict[str, int] = {}
    by_sample: list[SampleOverlap] = []
    for place, sample in enumerate(samples):
        mine = words_of(text_of(sample))
        length = min(words, len(mine))
        if length < _SHORTEST:
            continue
        if length not in known:
            known[length] = {run: name for name, text in spoken.items() for run in runs(text, length)}
        where: dict[str, int] = {}
        count = 0
        for run in runs(mine, length):
            count += 1
            if (name := known[length].get(run)) is not None:
                where[name] = where.get(name, 0) + 1
        total += count
        if not where:
            continue
        found = sum(where.values())
        shared += found
        for name, hits in where.items():
            by_text[name] = by_text.get(name, 0) + hits
        by_sample.append(SampleOverlap(place, found / count, max(where, key=lambda name: where[name])))
    return Overlap(
        share=shared / total if total else 0.0,
        by_text={name: hits / total for name, hits in sorted(by_text.items(), key=lambda item: -item[1])},
        by_sample=tuple(sorted(by_sample, key=lambda one: -one.share)),
    )


def evaluation_texts() -> dict[str, str]:
    """The built-in texts, prompts and task items that models are judged by, by the name of their file or kind."""
    folder = files("resources")
    entries = sorted(folder.joinpath("texts").iterdir(), key=lambda entry: entry.name)
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in entries if entry.name.endswith(".txt")}
    lines = folder.joinpath("prompts/evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    for number, messages in enumerate((json.loads(line)["messages"] for line in lines if line.strip()), 1):
        texts[f"evaluation prompt {number}"] = "\n".join(message["content"] for message in messages)
    for entry in sorted(folder.joinpath("tasks").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".jsonl"):
            items = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines() if line.strip()]
            texts[entry.name] = "\n".join(item["question"] for item in items)
    proof = json.loads(folder.joinpath("prompts/proof.json").read_text(encoding="utf-8"))["prompts"]
    return texts | {f"proof prompt {number}": prompt for number, prompt in enumerate(proof, 1)}


def text_of(sample: CalibrationSample) -> str:
    """The words of a sample, without roles."""
    if sample.kind == "text":
        return sample.text
    return "\n".join(message.get("content", "") for message in sample.messages)


def words_of(text: str) -> list[str]:
    """Words in lower case, and single characters of scripts that write without spaces."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    """All runs of so many words, in order."""
    for start in range(len(words) - length + 1):
        yield tuple(words[start : start + length])
