"""The built-in calibration prompts, and which of them a job takes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from importlib.resources import files

from core.value import Value


class Prompt(Value):
    """One prompt: chat messages that end with the user's turn."""

    id: str
    category: str
    language: str
    messages: tuple[dict[str, str], ...]


def prompts() -> tuple[Prompt, ...]:
    """All prompts, in the order of the file."""
    text = files("resources").joinpath("prompts/calibration.jsonl").read_text(encoding="utf-8")
    return tuple(Prompt.model_validate(json.loads(line)) for line in text.splitlines() if line.strip())


def choose(available: Sequence[Prompt], count: int, seed: int) -> tuple[Prompt, ...]:
    """The first `count` prompts of an order that the seed fixes; all, where there are fewer.

    A larger count only adds to a smaller one, so that answers made for the smaller one stay of use. Categories take
    turns: every beginning of the order has them as evenly as they last.
    """
    generator = random.Random(seed)  # noqa: S311
    by_category: dict[str, list[Prompt]] = {}
    for prompt in available:
        by_category.setdefault(prompt.category, []).append(prompt)
    for group in by_category.values():
        generator.shuffle(group)
    categories = list(by_category)
    generator.shuffle(categories)
    longest = max((len(group) for group in by_category.values()), default=0)
    order = [
        by_category[category][turn]
        for turn in range(longest)
        for category in categories
        if turn < len(by_category[category])
    ]
    return tuple(order[:count])
