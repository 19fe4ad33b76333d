"""Documents cut into the rows of tokens that a model is fed, and rows put together into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Row:
    """One forward pass's tokens of one document. Those from index `first` (at least 1) on are scored.

    `text` and `document` are indices; documents are counted over all texts together.
    """

    text: int
    document: int
    ids: tuple[int, ...]
    first: int

    @property
    def scored(self) -> int:
        """How many tokens of the row are scored."""
        return len(self.ids) - self.first


def even_shares(lengths: Sequence[int], budget: int) -> tuple[int, ...]:
    """How much of each length is used, so that the sum stays within the budget and long ones are cut first.

    All are cut to one height, the highest that fits: every document then says something, which narrows an interval
    over documents more than a few whole documents do.
    """
    shares = [0] * len(lengths)
    left = budget
    for place, index in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shares[index] = min(lengths[index], left // (len(lengths) - place))
        left -= shares[index]
    return tuple(shares)


def document_rows(
    documents: Sequence[Sequence[int]], *, text: int, first_document: int, prefix: Sequence[int], window: int
) -> tuple[Row, ...]:
    """Rows of at most `window` tokens, none overlapping.

    Every row begins with `prefix` (what the tokenizer puts before a text, often one token, often none), because some
    models are lost without it; where there is none, a row's first token has nothing before it and is not scored.
    """
    step = max(1, window - len(prefix))
    first = max(1, len(prefix))
    rows = []
    for index, ids in enumerate(documents):
        for start in range(0, len(ids), step):
            whole = (*prefix, *ids[start : start + step])
            if len(whole) > first:
                rows.append(Row(text=text, document=first_document + index, ids=whole, first=first))
    return tuple(rows)


def answer_rows(
    answers: Sequence[tuple[Sequence[int], Sequence[int]]], *, text: int, first_document: int
) -> tuple[Row, ...]:
    """A row for each (prompt, answer), of which the answer's tokens are scored."""
    return tuple(
        Row(text=text, document=first_document + index, ids=(*prompt, *answer), first=max(1, len(prompt)))
        for index, (prompt, answer) in enumerate(answers)
        if prompt and answer
    )


def batches(rows: Sequence[Row], tokens: int) -> tuple[tuple[int, ...], ...]:
    """Indices of rows, by falling length, at most `tokens` a batch with its padding, and at least one row."""
    found: list[tuple[int, ...]] = []
    batch: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: -len(rows[index].ids)):
        if batch and len(rows[batch[0]].ids) * (len(batch) + 1) > tokens:
            found.append(tuple(batch))
            batch = []
        batch.append(index)
    return (*found, tuple(batch)) if batch else tuple(found)


def reference_bytes(tokens: int, hidden: int, item: int) -> int:
    """Bytes that keeping what an original computes takes: one hidden state a scored token.

    `hidden` is the model's width, `item` the bytes of one of its numbers (2 in bfloat16). The log-probabilities
    themselves would take vocabulary / hidden times as many.
    """
    return tokens * hidden * item


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 over the scored token ids in order, each as four bytes, little-endian."""
    found = hashlib.sha256()
    for row in rows:
        found.update(np.asarray(row.ids[row.first :], dtype="<u4").tobytes())
    return found.hexdigest()
