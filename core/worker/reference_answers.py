"""The original's own greedy answers to held-out prompts: the text on which a compressed chat model must not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria

from core.durable import write_whole
from core.measure.evaluation_texts import EvaluationPrompt
from core.value import Json
from core.worker.decoding import end_ids, prompt_ids
from core.worker.keeper import Keeper, surroundings
from core.worker.loading import Loaded
from core.worker.reference_known import KnownModel
from core.worker.reporter import Reporter

BATCH = 8
"""Prompts answered at a time; the prompts of a batch are of similar length, so that little is padding."""

VERSION = 1
"""Of batches that are kept while the original answers; raised when answering changes."""

Answers = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
"""(prompt ids, answer ids) for each prompt; an answer that ended has its end token."""


def kept_answers(
    known: KnownModel, prompts: Sequence[EvaluationPrompt], *, most: int, cache: Path | None
) -> Answers | None:
    """The answers of an evaluation before, or None where the same model was not asked the same."""
    asked = _asked(known, prompts)
    answers = None if cache is None else _read(cache / f"{_key(known, asked, most)}.json", asked)
    return None if answers is None else tuple(zip(asked, answers, strict=True))


def reference_answers(
    known: KnownModel,
    loaded: Loaded,
    prompts: Sequence[EvaluationPrompt],
    *,
    most: int,
    cache: Path | None,
    report: Reporter,
    stage: str,
    keeper: Keeper | None = None,
) -> Answers:
    """At most `most` tokens for each prompt by the loaded original, kept in the cache.

    Reports progress in `stage` by prompt. JobCancelledError comes between two tokens. With a keeper, batches that a
    run before has answered are taken up.
    """
    asked = _asked(known, prompts)
    kept = _Kept(keeper, [VERSION, "answers", _key(known, asked, most), BATCH, str(loaded.model.dtype)], loaded)
    answers = _answer(loaded, asked, most, report, stage=stage, kept=kept)
    if cache is not None:
        _write(cache / f"{_key(known, asked, most)}.json", answers)
    return tuple(zip(asked, answers, strict=True))


def fingerprint(model: str) -> str:
    """SHA-256 over the configs, and name, size and time of change of each weight file.

    Good enough to know a folder again on this machine, without reading gigabytes.
    """
    found = hashlib.sha256()
    folder = Path(model)
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            found.update((folder / name).read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        facts = path.stat()
        found.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return found.hexdigest()


class _Watch(StoppingCriteria):
    """Tells after every token how many were written; never stops by itself, but what it tells may raise."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._written = 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self._written += 1
        self._tell(self._written)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class _Kept:
    """Answers of batches, by their number in the order that they are asked in."""

    def __init__(self, keeper: Keeper | None, facts: Sequence[Json], loaded: Loaded) -> None:
        self._keeper = keeper
        around = surroundings(loaded.device, loaded.conditions.device)
        self._pieces = None if keeper is None else keeper.pieces([*facts, around])
        self.found: list[list[tuple[int, ...]]] = []
        try:
            for content in () if self._pieces is None else self._pieces.found:
                self.found.append([tuple(int(identity) for identity in answer) for answer in json.loads(content)])
        except (ValueError, TypeError):
            self.found.clear()
            if self._pieces is not None:
                self._pieces.restart()
        if keeper is not None and self.found:
            keeper.took_up(f"at answer {sum(map(len, self.found)) + 1} of the original")

    def add(self, answers: Sequence[Sequence[int]], done: int, total: int) -> None:
        if self._keeper is not None and self._pieces is not None:
            self._keeper.stands(f"at prompt {min(done + 1, total)} of {total} that the original answers")
            self._pieces.add(json.dumps(answers).encode())


def _answer(
    loaded: Loaded, asked: Sequence[tuple[int, ...]], most: int, report: Reporter, *, stage: str, kept: _Kept
) -> tuple[tuple[int, ...], ...]:
    ends = sorted(end_ids(loaded.model, loaded.tokenizer))
    padding = loaded.tokenizer.pad_token_id
    if padding is None:
        padding = ends[0] if ends else 0
    # Named one by one: what is left out would be taken from the model's own generation config.
    greedy = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=ends or None,
        pad_token_id=padding,
    )
    answers: dict[int, tuple[int, ...]] = {}
    order = sorted(range(len(asked)), key=lambda index: len(asked[index]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        if start // BATCH < len(kept.found) and len(kept.found[start // BATCH]) == len(chosen):
            answers.update(zip(chosen, kept.found[start // BATCH], strict=True))
            continue
        length = max(len(asked[index]) for index in chosen)
        gaps = [length - len(asked[index]) for index in chosen]
        ids = torch.tensor([(padding,) * gap + asked[index] for gap, index in zip(gaps, chosen, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (length - gap) for gap in gaps])

        def tell(written: int, start: int = start, count: int = len(chosen)) -> None:
            report.progress(stage, start + count * written / (most + 1), len(asked))

        written = loaded.model.generate(
            ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            generation_config=greedy,
            stopping_criteria=[_Watch(tell)],
        )
        for index, row in zip(chosen, written[:, length:].tolist(), strict=True):
            end = next((place for place, identity in enumerate(row) if identity in ends), len(row) - 1)
            answers[index] = tuple(row[: end + 1])
        kept.add([answers[index] for index in chosen], start + len(chosen), len(asked))
    return tuple(answers[index] for index in range(len(asked)))


def _asked(known: KnownModel, prompts: Sequence[EvaluationPrompt]) -> list[tuple[int, ...]]:
    return [tuple(prompt_ids(known.tokenizer, [dict(message) for message in prompt.messages])) for prompt in prompts]


def _key(known: KnownModel, asked: Sequence[tuple[int, ...]], most: int) -> str:
    facts = {
        "model": fingerprint(known.path),
        "prompts": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        "most": most,
        "ends": sorted(end_ids(known, known.tokenizer)),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(path: Path, asked: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...] | None:
    """Kept answers, or None where there are none or they cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        answers = tuple(tuple(int(identity) for identity in answer) for answer in kept["answers"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answers if len(answers) == len(asked) else None


def _write(path: Path, answers: tuple[tuple[int, ...], ...]) -> None:
    # A full disk costs the place in the cache, and nothing else.
    with suppress(OSError):
        write_whole(path, json.dumps({"answers": answers}).encode())
