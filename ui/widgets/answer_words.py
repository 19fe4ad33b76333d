"""What the Compare page says about two answers, without Qt."""

from __future__ import annotations

from collections.abc import Sequence

from core.measure.results import Conditions, GeneratedToken, Sampling

_HIDDEN = str.maketrans({"\r": None, "\0": "\ufffd", "\ufdd0": "\ufffd", "\ufdd1": "\ufffd"})
"""Characters that a text document would swallow or take as its own marks."""


def shown(text: str) -> str:
    """A piece of an answer as the page shows it; every piece is treated alike, so that offsets add up."""
    return text.translate(_HIDDEN)


def span_of(tokens: Sequence[GeneratedToken], index: int) -> tuple[int, int]:
    """Where a token stands in the shown text: start and end in UTF-16 units, which is how Qt counts.

    Blanks before a word are left out. Past the end, or for a token without text, both are the same place.
    """
    start = sum(_units(token.text) for token in tokens[:index])
    if index >= len(tokens):
        return start, start
    text = tokens[index].text
    blanks = len(text) - len(text.lstrip()) if text.strip() else 0
    return start + _units(text[:blanks]), start + _units(text)


def _units(text: str) -> int:
    return len(shown(text).encode("utf-16-le", errors="surrogatepass")) // 2


def quoted(text: str) -> str:
    """A token in quotation marks, with what cannot be seen said in words."""
    if text == "":
        return "the end"
    if text.strip() == "":
        if "\n" in text:
            return "a line break"
        return "a tab" if "\t" in text else "a space"
    return f"“{' '.join(shown(text).split())}”"


def difference_words(
    original: Sequence[GeneratedToken], other: Sequence[GeneratedToken], index: int | None, complete: bool
) -> str:
    """One or two sentences on where an answer parts from the original's.

    `index` counts tokens from zero and is None where none differs; `complete` says that both answers have ended.
    """
    if index is None:
        words = "The one token is" if len(other) == 1 else f"All {len(other)} tokens are"
        return f"{words} the original's." if complete and other else ""
    place = f"At token {index + 1}"
    if index >= len(other):
        return f"{place} the original goes on with {quoted(original[index].text)}; here the answer has ended."
    here = other[index]
    if index >= len(original):
        return f"{place} the original has ended; here it goes on with {quoted(here.text)}{_share(here.probability)}."
    there = original[index]
    second = next((share for text, share in there.alternatives if text == here.text and text != there.text), None)
    words = f"{place} the original gave {quoted(there.text)}{_share(there.probability)}"
    if second is not None:
        words += f" and {quoted(here.text)}{_share(second)}"
    return f"{words}; here {quoted(here.text)}{_has(here.probability)}."


def _share(probability: float | None) -> str:
    return "" if probability is None else f" {probability:.2f}"


def _has(probability: float | None) -> str:
    return "" if probability is None else f" has {probability:.2f}"


def sampling_words(sampling: Sampling) -> str:
    """Settings in one line: greedy · 256 tokens · seed 0."""
    if sampling.temperature == 0:
        parts = ["greedy"]
    else:
        parts = [f"temperature {sampling.temperature:g}"]
        if sampling.top_p < 1:
            parts.append(f"top-p {sampling.top_p:g}")
        if sampling.top_k > 0:
            parts.append(f"top-k {sampling.top_k}")
    parts.append(f"{sampling.max_tokens} tokens")
    parts.append(f"seed {sampling.seed}")
    if not sampling.chat:
        parts.append("no template")
    elif sampling.system:
        parts.append("system prompt")
    return " · ".join(parts)


def conditions_words(conditions: Conditions) -> str:
    """Engine, device and dtype in one line; a figure is never shown without it."""
    parts = [f"{conditions.engine} {conditions.engine_version}".strip(), "batch 1"]
    device = conditions.device
    if conditions.threads:
        device += f", {conditions.threads} threads"
    parts.extend((device, conditions.dtype))
    return " · ".join(part for part in parts if part)
