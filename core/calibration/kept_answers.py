"""The model's own answers to the built-in prompts, as they are kept: which there are, and which a job still lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from core.calibration.builtin import Prompt, choose
from core.calibration.spec import CalibrationSample
from core.value import Received

MAX_TOKENS = 128
"""Tokens of an answer. Longer answers cost time in proportion and add little: the layers see the same kind of text."""

FILE = "answers.jsonl"


class Answer(Received):
    """One kept answer; `finished` is False where it was cut off at `max_tokens`."""

    id: str
    messages: tuple[dict[str, str], ...]
    answer: str
    tokens: int
    finished: bool
    seed: int
    max_tokens: int

    @property
    def usable(self) -> bool:
        """An answer of blanks teaches nothing; the next prompt in the order takes its place."""
        return bool(self.answer.strip())


def in_order(available: Sequence[Prompt], seed: int) -> tuple[Prompt, ...]:
    """All prompts in the order in which a job of this seed takes them."""
    return choose(available, len(available), seed)


def kept_answers(folder: Path | None, seed: int, max_tokens: int = MAX_TOKENS) -> dict[str, Answer]:
    """What the folder holds for these settings, by prompt id; a torn or foreign line is skipped."""
    found: dict[str, Answer] = {}
    if folder is None or not (folder / FILE).is_file():
        return found
    for line in (folder / FILE).read_bytes().splitlines():
        try:
            answer = Answer.model_validate_json(line)
        except ValueError:
            continue
        if answer.seed == seed and answer.max_tokens == max_tokens:
            found[answer.id] = answer
    return found


def split(order: Sequence[Prompt], kept: dict[str, Answer], samples: int) -> tuple[list[Answer], list[Prompt]]:
    """The first usable answers in the order, and the prompts that must be answered before there are `samples`."""
    usable: list[Answer] = []
    missing: list[Prompt] = []
    for prompt in order:
        if len(usable) + len(missing) >= samples:
            break
        answer = kept.get(prompt.id)
        if answer is None or answer.messages != tuple(prompt.messages):
            missing.append(prompt)
        elif answer.usable:
            usable.append(answer)
    return usable, missing


def missing_answers(available: Sequence[Prompt], folder: Path | None, samples: int, seed: int) -> int:
    """How many answers a job would still have to make."""
    return len(split(in_order(available, seed), kept_answers(folder, seed), samples)[1])


def ready_answers(available: Sequence[Prompt], folder: Path | None, samples: int, seed: int) -> tuple[Answer, ...]:
    """The answers of a job for which none is missing, without a model."""
    return tuple(split(in_order(available, seed), kept_answers(folder, seed), samples)[0])


def samples_of(answers: Iterable[Answer]) -> tuple[CalibrationSample, ...]:
    """The chats, each prompt with its answer."""
    return tuple(
        CalibrationSample(
            kind="chat",
            messages=(*kept.messages, {"role": "assistant", "content": kept.answer.strip()}),
            origin=kept.id,
        )
        for kept in answers
    )
