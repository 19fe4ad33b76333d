"""Scores compressed models against their original on held-out texts."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import BitpressError
from core.jobs.protocol import Evaluate, Stage
from core.measure.evaluation_texts import CHAT, documents, prompts
from core.measure.fidelity import BLOCKS_NOTE, ScoredOther, ScoredTokens, summarise
from core.measure.passages import Row, answer_rows, batches, digest, document_rows, even_shares
from core.measure.results import Conditions, EvaluationResult
from core.value import Json
from core.worker import loading
from core.worker.decoding import context_length, warm_up
from core.worker.footprint import free_bytes, weight_bytes
from core.worker.loading import Loaded
from core.worker.reference_answers import reference_answers
from core.worker.reporter import Reporter
from core.worker.scoring import FromModel, Scores, score

LOAD = Stage(id="load", title="Load the models", unit="model")
ANSWERS = Stage(id="answers", title="Let the original answer", unit="prompt")
SCORE = Stage(id="score", title="Score the texts", unit="batch")

CPU_LOGITS = 2**27
CUDA_LOGITS = 2**28
"""Bytes of one batch's logits of one model. Fixed, and not of what is free or of how many models there are: another
batch size rounds otherwise, and the same evaluation is to give the same figures."""

HEADROOM = 2**31
"""Bytes left free beside the models, for activations and logits."""


@dataclass(frozen=True, slots=True)
class Text:
    """A named text before it is tokenized; the text `chat` has no documents yet."""

    name: str
    documents: tuple[tuple[str, str], ...]


def run(command: Evaluate, report: Reporter) -> Json:
    """The EvaluationResult as JSON.

    Models are held together where memory allows; else the others come one group after the other, and the original is
    run again for each group. Raises BitpressError `nothing-to-compare`, `nothing-to-score`, `different-tokenizer`,
    `not-a-number`, and what reading texts and loading raise.
    """
    if not command.others or not command.suite.texts:
        raise BitpressError(
            "nothing-to-compare", "An evaluation needs another model and a text.", "Choose at least one of each."
        )
    began = time.perf_counter()
    texts = tuple(
        Text(Path(name).name if name != CHAT else CHAT, () if name == CHAT else documents(name))
        for name in dict.fromkeys(command.suite.texts)
    )
    chat = CHAT in command.suite.texts
    report.plan((LOAD, ANSWERS, SCORE) if chat else (LOAD, SCORE))
    original, others, waiting, load_seconds = _load_first(command, report)
    rows = _rows(command, report, original, texts)
    parts: list[Scores] = []
    scored: list[Loaded] = []
    notes: list[str] = []
    with report.stage(SCORE.id):
        groups = 1 + len(waiting)
        plan = batches(rows, batch_tokens(original, command.suite.window))
        for number in range(groups):
            if number:
                _release(original, others)
                others = tuple(_load(path, command.device, original) for path in waiting[number - 1])
                load_seconds += sum(other.seconds for other in others)
            share = len(plan) * number

            def tell(done: int, share: int = share, total: int = len(plan) * groups) -> None:
                report.progress(SCORE.id, share + done, total)

            parts.append(
                score(
                    FromModel(original.path, original.model),
                    [FromModel(other.path, other.model) for other in others],
                    rows,
                    plan,
                    device=original.device,
                    after_batch=tell,
                    check=report.check,
                )
            )
            scored += [_without_model(other) for other in others]
    tokens = ScoredTokens(
        text=np.concatenate([np.full(row.scored, row.text, dtype=np.int64) for row in rows]),
        document=np.concatenate([np.full(row.scored, row.document, dtype=np.int64) for row in rows]),
        position=np.concatenate([np.arange(row.first, len(row.ids)) for row in rows]),
        nll=parts[0].nll,
        confidence=parts[0].confidence,
    )
    figures = summarise(tokens, _others(scored, parts), [text.name for text in texts], seed=command.suite.seed)
    if figures.blocks:
        notes.append(BLOCKS_NOTE)
    result = EvaluationResult(
        original=command.original,
        original_perplexity=figures.perplexity,
        tokens=int(tokens.nll.size),
        documents=len({row.document for row in rows}),
        window=command.suite.window,
        sha256=digest(rows),
        others=figures.others,
        texts=figures.texts,
        pairs=figures.pairs,
        conditions=_conditions(original, scored, notes),
        seconds=time.perf_counter() - began - load_seconds,
        load_seconds=load_seconds,
    )
    return result.model_dump(mode="json")


def batch_tokens(original: Loaded, window: int) -> int:
    """Tokens of one batch, so that its logits stay within bounds; at least one window."""
    vocabulary = int(original.model.config.get_text_config().vocab_size)
    item = torch.finfo(original.model.dtype).bits // 8
    allowed = CUDA_LOGITS if original.device.type == "cuda" else CPU_LOGITS
    return max(window, allowed // (vocabulary * item))


def grouped(paths: Sequence[str], dense: int, free: int) -> tuple[tuple[str, ...], ...]:
    """Others that fit into memory together beside the original, in order, each group at least one.

    `dense` are the bytes of the original's weights: a compressed model takes its file's size, and that again once
    transformers has decompressed it. `free` are the bytes free before the original is loaded.
    """
    groups: list[tuple[str, ...]] = []
    group: list[str] = []
    left = free - HEADROOM - dense
    room = left
    for path in paths:
        need = dense + weight_bytes(path)
        if group and need > room:
            groups.append(tuple(group))
            group, room = [], left
        group.append(path)
        room -= need
    return (*groups, tuple(group))


def _load_first(
    command: Evaluate, report: Reporter
) -> tuple[Loaded, tuple[Loaded, ...], tuple[tuple[str, ...], ...], float]:
    """The original and the first group of others, the groups that wait, and the seconds that loading took."""
    with report.stage(LOAD.id):
        device = loading.pick_device(command.device)
        groups = grouped(command.others, weight_bytes(command.original), free_bytes(device))
        total = 1 + len(groups[0])
        report.progress(LOAD.id, 0, total, Path(command.original).name)
        original = _load(command.original, command.device, None)
        others: list[Loaded] = []
        for path in groups[0]:
            report.progress(LOAD.id, 1 + len(others), total, Path(path).name)
            others.append(_load(path, command.device, original))
        report.progress(LOAD.id, total, total)
    return original, tuple(others), groups[1:], original.seconds + sum(other.seconds for other in others)


def _load(path: str, device: str, original: Loaded | None) -> Loaded:
    """A warm model, the warming counted as loading; it must have the original's vocabulary."""
    loaded = loading.load(path, device)
    loaded.seconds += warm_up(loaded)
    if original is not None and (
        loaded.model.config.get_text_config().vocab_size != original.model.config.get_text_config().vocab_size
        or loaded.tokenizer.get_vocab() != original.tokenizer.get_vocab()
    ):
        raise BitpressError(
            "different-tokenizer",
            f"{path} does not have the tokenizer of {original.path}, so they cannot be compared token by token.",
            "Compare models that were made from the same original.",
        )
    return loaded


def _rows(command: Evaluate, report: Reporter, original: Loaded, texts: Sequence[Text]) -> tuple[Row, ...]:
    """All rows of all texts, in order."""
    suite = command.suite
    context = context_length(original.model)
    window = suite.window if context is None else min(suite.window, context)
    rows: list[Row] = []
    for index, text in enumerate(texts):
        first_document = rows[-1].document + 1 if rows else 0
        if text.name == CHAT and not text.documents:
            with report.stage(ANSWERS.id):
                answers = reference_answers(
                    original,
                    prompts()[: suite.chat_prompts],
                    most=suite.chat_tokens,
                    cache=None if command.cache is None else Path(command.cache),
                    report=report,
                    stage=ANSWERS.id,
                )
            shares = even_shares([len(answer) for _, answer in answers], suite.tokens)
            cut = [(prompt, answer[:share]) for (prompt, answer), share in zip(answers, shares, strict=True)]
            found = answer_rows(cut, text=index, first_document=first_document)
        else:
            tokenized = [_ids(original.tokenizer, content) for _, content in text.documents]
            shares = even_shares([len(ids) for ids in tokenized], suite.tokens)
            found = document_rows(
                [ids[:share] for ids, share in zip(tokenized, shares, strict=True)],
                text=index,
                first_document=first_document,
                prefix=_prefix(original.tokenizer),
                window=window,
            )
        if not found:
            raise BitpressError(
                "nothing-to-score",
                f"The text {text.name} has no token to score.",
                "Choose a longer text, or let more tokens be scored.",
            )
        rows += found
    return tuple(rows)


def _ids(tokenizer: Any, text: str) -> list[int]:
    # verbose=False: a document longer than the context is cut into windows, so a warning about it would be wrong.
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _prefix(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text."""
    plain = _ids(tokenizer, "a")
    whole: list[int] = tokenizer("a")["input_ids"]
    return whole[: whole.index(plain[0])] if plain and plain[0] in whole else []


def _without_model(loaded: Loaded) -> Loaded:
    """What is said of a model after it was scored, so that the model itself can be dropped."""
    return Loaded(
        path=loaded.path,
        model=None,
        tokenizer=None,
        device=loaded.device,
        seconds=loaded.seconds,
        compressed=loaded.compressed,
        conditions=loaded.conditions,
    )


def _release(original: Loaded, others: Sequence[Loaded]) -> None:
    """Give the others' memory back before the next group comes."""
    for other in others:
        other.model = other.tokenizer = None
    gc.collect()
    if original.device.type == "cuda":
        torch.cuda.empty_cache()


def _others(scored: Sequence[Loaded], parts: Sequence[Scores]) -> tuple[ScoredOther, ...]:
    figures = [
        (part.others_nll[index], part.kl[index], part.kl_reverse[index], part.same[index], part.top5[index])
        for part in parts
        for index in range(part.others_nll.shape[0])
    ]
    return tuple(
        ScoredOther(other.path, Path(other.path).name, *figure) for other, figure in zip(scored, figures, strict=True)
    )


def _conditions(original: Loaded, others: Sequence[Loaded], notes: Sequence[str]) -> Conditions:
    said = [note for loaded in (original, *others) for note in loaded.conditions.notes]
    return original.conditions.model_copy(update={"notes": tuple(dict.fromkeys((*said, *notes)))})
