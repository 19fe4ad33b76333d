"""Calibration samples rendered as the model will see them, and turned into token ids."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from core.calibration.spec import CalibrationFacts, CalibrationSample, CalibrationSpec, PartFacts
from core.errors import BitpressError
from core.worker.template_limits import TemplateFaultError, apply_template

if TYPE_CHECKING:
    from datasets import Dataset

SHORTEST = 16
"""A rest of a document with fewer tokens than this is dropped, unless it is all there is."""

_OVERSAMPLING = 2
"""At most about this many times the asked tokens are tokenized, so that a large corpus does not cost minutes."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One sample as text and token ids."""

    origin: str
    text: str
    ids: tuple[int, ...]
    lost: int = 0
    """Tokens that were cut off; never of a window of a document."""
    sample: CalibrationSample | None = None
    """What was rendered: the chat, or the window's text."""

    @property
    def truncated(self) -> bool:
        return self.lost > 0


def render_chat(tokenizer: Any, messages: Sequence[dict[str, str]], *, answer_next: bool = False) -> str:
    """The chat as the model's own template writes it, in jinja's sandbox and within `template_limits`.

    A model without a template gets `role: content` lines. `answer_next` ends with the place where an answer begins.
    Raises BitpressError `chat-template-refuses` where the template does not take these messages, and
    `chat-template-endless`.
    """
    if not getattr(tokenizer, "chat_template", None):
        lines = [f"{message['role']}: {message['content']}" for message in messages]
        return "\n\n".join([*lines, "assistant:"] if answer_next else lines)
    try:
        return str(apply_template(tokenizer, messages, tokenize=False, add_generation_prompt=answer_next))
    except TemplateFaultError as error:
        raise BitpressError(
            "chat-template-refuses",
            f"The model's chat template does not take this chat: {error}",
            "Some models know no system message, or want user and assistant in turn. Change the data accordingly.",
        ) from error


def render(
    tokenizer: Any, sample: CalibrationSample, spec: CalibrationSpec, *, answer_next: bool = False
) -> Iterator[Rendered]:
    """One chat as one truncated sample, or one text as consecutive windows of `max_length` tokens."""
    if sample.kind == "chat":
        text = render_chat(tokenizer, sample.messages, answer_next=answer_next)
        ids = chat_ids(tokenizer, text)
        if kept := ids[: spec.max_length]:
            shown = text if len(kept) == len(ids) else tokenizer.decode(kept)
            yield Rendered(sample.origin, shown, tuple(kept), lost=len(ids) - len(kept), sample=sample)
        return
    ids = _ids(tokenizer, sample.text, special=True)
    for start in range(0, len(ids), spec.max_length):
        window = ids[start : start + spec.max_length]
        if start == 0 or len(window) >= SHORTEST:
            shown = sample.text if len(window) == len(ids) else tokenizer.decode(window)
            words = sample if len(window) == len(ids) else sample.model_copy(update={"text": shown})
            yield Rendered(sample.origin, shown, tuple(window), sample=words)


class Listener(Protocol):
    """Whoever hears of a drawing: a job's reporter, or a memory."""

    def check(self) -> None:
        """Raise where the job was cancelled."""

    def warn(self, code: str, message: str) -> None:
        """Hear of something that did not stop the job."""


def choose(
    tokenizer: Any,
    samples: Sequence[CalibrationSample],
    spec: CalibrationSpec,
    report: Listener,
    *,
    answer_next: bool = False,
) -> tuple[Rendered, ...]:
    """`spec.samples` rendered samples, or all where there are fewer, drawn with `spec.seed`, in the order of the data.

    Warns `calibration-skipped` where the template refused some. `answer_next` ends a chat whose last turn is the user's
    with the place where an answer begins. Raises BitpressError `calibration-empty` where nothing is left.
    """
    draw = random.Random(spec.seed)  # noqa: S311
    order = list(range(len(samples)))
    draw.shuffle(order)
    wanted = spec.samples * spec.max_length * _OVERSAMPLING
    found: list[tuple[int, int, Rendered]] = []
    tokens = 0
    refused: list[BitpressError] = []
    for place in order:
        report.check()
        if tokens >= wanted:
            break
        sample = samples[place]
        asks = answer_next and bool(sample.messages) and sample.messages[-1].get("role") == "user"
        try:
            for window, rendered in enumerate(render(tokenizer, sample, spec, answer_next=asks)):
                found.append((place, window, rendered))
                tokens += len(rendered.ids)
        except BitpressError as error:
            if error.problem.code == "chat-template-endless":
                raise
            refused.append(error)
    if not found:
        if refused:
            raise refused[0]
        raise BitpressError(
            "calibration-empty",
            "There is no text in the calibration data.",
            "Choose a file that holds text or chats, or the built-in chat.",
        )
    if refused:
        report.warn(
            "calibration-skipped",
            f"{len(refused)} of {len(samples)} calibration samples were left out: {refused[0].problem.message}",
        )
    drawn = draw.sample(found, min(spec.samples, len(found)))
    return tuple(rendered for _, _, rendered in sorted(drawn, key=lambda item: item[:2]))


def facts(
    spec: CalibrationSpec, chosen: Sequence[Rendered], files: Iterable[str] = (), parts: Sequence[PartFacts] = ()
) -> CalibrationFacts:
    """What was used. `sha256` runs over the samples in order: each one's length, then its token ids, all as
    little-endian 64-bit integers.
    """
    digest = hashlib.sha256()
    for sample in chosen:
        digest.update(struct.pack(f"<{len(sample.ids) + 1}q", len(sample.ids), *sample.ids))
    lengths = [len(sample.ids) for sample in chosen]
    return CalibrationFacts(
        source=spec.source,
        samples=len(chosen),
        tokens=sum(lengths),
        max_length=spec.max_length,
        seed=spec.seed,
        truncated=sum(sample.truncated for sample in chosen),
        sha256=digest.hexdigest(),
        files=tuple(files),
        shortest=min(lengths),
        longest=max(lengths),
        parts=tuple(parts),
        sets=spec.sets,
    )


def dataset(chosen: Sequence[Rendered]) -> Dataset:
    """The samples as llmcompressor takes them without touching them again: `input_ids` and `attention_mask`."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [list(sample.ids) for sample in chosen],
            "attention_mask": [[1] * len(sample.ids) for sample in chosen],
        }
    )


def chat_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered chat: a template writes the special tokens itself, and they must not come twice."""
    return _ids(tokenizer, text, special=not getattr(tokenizer, "chat_template", None))


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
