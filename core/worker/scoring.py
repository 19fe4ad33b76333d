"""Scores an original and others on the same tokens, teacher-forced, in one pass over the text.

For each batch the original's logits are made once and every other's once. From both, some positions at a time, come
the negative log-likelihood of each token, the exact divergences over the full vocabulary in both directions, and how
the likeliest next tokens agree. All in float32, and no more logits of a model are held than one batch's; what is kept
of a token is 4 bytes for each figure (2 of the original, 5 of each other).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from core.errors import BitpressError
from core.measure.fidelity import ScoredOther, ScoredTokens
from core.measure.passages import Row
from core.measure.statistics import Floats
from core.worker.decoding import takes_logits_to_keep

CPU_ROWS = 8
"""Positions worked on at a time on a CPU: few enough for their float32 rows to stay in its cache.

Measured with a vocabulary of 49,152 on two cores: 8 positions take half the time of 128, and less than half of all.
"""

CUDA_ROWS = 512
"""The same on a GPU: few enough to be small beside the logits, many enough to fill it."""

TOP = 5
"""How many of the likeliest next tokens are compared."""

BLOCK = 64
"""Vocabulary entries in a block of which only the largest is looked at first."""

OWN, PER_OTHER = 2, 5
"""Figures of a token: of the original (nll, confidence), and of each other (nll, KL, reverse KL, same, top 5)."""


Figures = npt.NDArray[np.float32]
"""(figures, tokens)."""


class Kept(Protocol):
    """What is known of the first batches already, and who hears of the others."""

    @property
    def found(self) -> Sequence[Figures]:
        """Of the first batches, the tokens of each in the order of its rows."""

    def add(self, done: int, values: Figures) -> None:
        """The figures of the batch with which `done` are done."""


class Source(Protocol):
    """What gives logits for a batch of rows: a model, or what was kept of one."""

    @property
    def path(self) -> str:
        """The model's folder."""

    def logits(self, batch: Sequence[int], ids: torch.Tensor, keep: int) -> torch.Tensor:
        """Logits (rows, at least the last `keep` positions, vocabulary) in the model's own dtype.

        `batch` are the rows' indices, `ids` their tokens (rows, length), padded on the right.
        """


@dataclass(frozen=True, slots=True)
class FromModel:
    """A model in memory, run on the whole batch."""

    path: str
    model: Any

    def logits(self, batch: Sequence[int], ids: torch.Tensor, keep: int) -> torch.Tensor:
        """One forward pass."""
        return forward(self.model, ids, keep)


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of every scored token, in the rows' order.

    `nll` (tokens) is the original's negative log-likelihood in nats, `confidence` (tokens) its largest probability. The
    rest is (others, tokens): `others_nll`, `kl` (original || other) and `kl_reverse` in nats, `same` 1 or 0, `top5` the
    share of the original's five likeliest that are among the other's.
    """

    nll: Floats
    confidence: Floats
    others_nll: Floats
    kl: Floats
    kl_reverse: Floats
    same: Floats
    top5: Floats


@torch.inference_mode()
def score(
    original: Source,
    others: Sequence[Source],
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    *,
    device: torch.device,
    after_batch: Callable[[int], None],
    check: Callable[[], None],
    kept: Kept | None = None,
) -> Scores:
    """Score all rows; `batches` are indices of rows, and `after_batch` hears how many are done.

    What is `kept` of the first batches is taken as it is.

    `check` is called between forward passes and may raise: a batch of a slow model takes seconds.
    Raises BitpressError `not-a-number` where a model's logits are not finite.
    """
    starts = [0]
    for row in rows:
        starts.append(starts[-1] + row.scored)
    count = len(others)
    found = np.empty((OWN + PER_OTHER * count, starts[-1]), dtype=np.float32)
    chunk = CUDA_ROWS if device.type == "cuda" else CPU_ROWS
    known = () if kept is None else tuple(kept.found)
    for values, batch in zip(known, batches, strict=False):
        taken = 0
        for index in batch:
            found[:, starts[index] : starts[index + 1]] = values[:, taken : taken + rows[index].scored]
            taken += rows[index].scored
    if known:
        after_batch(len(known))
    for done, batch in enumerate(batches[len(known) :], start=len(known) + 1):
        ids, keep = padded(rows, batch)
        ids = ids.to(device)
        reference = original.logits(batch, ids, keep)
        compared = []
        for other in others:
            check()
            compared.append(other.logits(batch, ids, keep))
        check()
        length = ids.shape[1]
        for place, index in enumerate(batch):
            row = rows[index]
            figures = []
            for start in range(row.first, len(row.ids), chunk):
                stop = min(start + chunk, len(row.ids))
                # The logits at a position speak of the token after it.
                figures.append(
                    _figures(
                        _window(reference, place, length, start, stop),
                        [_window(logits, place, length, start, stop) for logits in compared],
                        ids[place, start:stop],
                    )
                )
            found[:, starts[index] : starts[index + 1]] = torch.cat(figures, dim=1).cpu().numpy()
        if kept is not None:
            kept.add(done, np.concatenate([found[:, starts[index] : starts[index + 1]] for index in batch], axis=1))
        after_batch(done)
    own, rest = found[:OWN].astype(np.float64), found[OWN:].astype(np.float64).reshape(count, PER_OTHER, starts[-1])
    _refuse_infinite(own, original)
    for index, other in enumerate(others):
        _refuse_infinite(rest[index], other)
    return Scores(own[0], own[1], *(rest[:, figure] for figure in range(PER_OTHER)))


def scored_tokens(rows: Sequence[Row], scores: Scores) -> ScoredTokens:
    """What is known of the rows' scored tokens, in order."""
    return ScoredTokens(
        text=np.concatenate([np.full(row.scored, row.text, dtype=np.int64) for row in rows]),
        document=np.concatenate([np.full(row.scored, row.document, dtype=np.int64) for row in rows]),
        position=np.concatenate([np.arange(row.first, len(row.ids), dtype=np.int64) for row in rows]),
        nll=scores.nll,
        confidence=scores.confidence,
    )


def scored_others(named: Sequence[tuple[str, str]], scores: Scores) -> tuple[ScoredOther, ...]:
    """The others' scores with (path, name) of each."""
    return tuple(
        ScoredOther(
            path=path,
            name=name,
            nll=scores.others_nll[index],
            kl=scores.kl[index],
            kl_reverse=scores.kl_reverse[index],
            same=scores.same[index],
            top5=scores.top5[index],
        )
        for index, (path, name) in enumerate(named)
    )


def padded(rows: Sequence[Row], batch: Sequence[int]) -> tuple[torch.Tensor, int]:
    """Token ids (rows, length) of a batch, and how many of the last positions' logits are needed.

    Padded on the right, where a causal model never looks back from: no mask is needed, which is faster.
    """
    length = max(len(rows[index].ids) for index in batch)
    ids = torch.tensor([(*rows[index].ids, *(0,) * (length - len(rows[index].ids))) for index in batch])
    return ids, length + 1 - min(rows[index].first for index in batch)


def forward(model: Any, ids: torch.Tensor, keep: int) -> torch.Tensor:
    """Logits (batch, `keep` or all positions, vocabulary), in the model's own dtype."""
    options = {"logits_to_keep": keep} if takes_logits_to_keep(model) else {}
    logits: torch.Tensor = model(input_ids=ids, use_cache=False, return_dict=True, **options).logits
    return logits


def _window(logits: torch.Tensor, place: int, length: int, start: int, stop: int) -> torch.Tensor:
    skipped = length - logits.shape[1]
    return logits[place, start - 1 - skipped : stop - 1 - skipped]


def _figures(reference: torch.Tensor, compared: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """(OWN + PER_OTHER * others, positions), the original's figures first, then each other's in turn."""
    targets = targets[:, None]
    reference = reference.float()
    _, likeliest = _largest(reference)
    log_p = torch.log_softmax(reference, -1)
    p = log_p.exp()
    found = [-log_p.gather(1, targets)[:, 0], p.gather(1, likeliest[:, :1])[:, 0]]
    for narrow in compared:
        logits = narrow.float()
        best, places = _largest(logits)
        log_q = torch.log_softmax(logits, -1)
        found.append(-log_q.gather(1, targets)[:, 0])
        found += _divergences(log_p, p, log_q)
        found.append((places[:, 0] == likeliest[:, 0]).float())
        # As many as reach the other's fifth largest: ties, which bfloat16 is full of, count for agreement.
        reached = logits.gather(1, likeliest) >= best[:, -1:]
        found.append(reached.float().mean(-1))
    return torch.stack(found)


def _largest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values of the largest TOP of each row, falling, and their places; of equal largest ones the first stands first.

    Exact: whatever is among the five largest lies in one of the five blocks with the largest maxima. One pass over the
    row instead of a sort of it, which takes four times as long.
    """
    rows, vocabulary = logits.shape
    blocks = vocabulary // BLOCK
    even = blocks * BLOCK
    spots = torch.arange(even if blocks > TOP else 0, vocabulary, device=logits.device).expand(rows, -1)
    if blocks > TOP:
        # In the order of places, so that the first of equal values is the first in the vocabulary.
        chosen = logits[:, :even].reshape(rows, blocks, BLOCK).amax(-1).topk(TOP).indices.sort(dim=1).values
        inside = chosen[:, :, None] * BLOCK + torch.arange(BLOCK, device=logits.device)
        spots = torch.cat((inside.reshape(rows, -1), spots), dim=1)
    candidates = logits.gather(1, spots)
    values, within = candidates.topk(min(TOP, vocabulary))
    # Of equal values topk takes any first; argmax takes the first place.
    first = candidates.argmax(-1, keepdim=True)
    within = torch.where(within == first, within[:, :1], within)
    return values, spots.gather(1, torch.cat((first, within[:, 1:]), dim=1))


def _divergences(log_p: torch.Tensor, p: torch.Tensor, log_q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(p || q) and KL(q || p) of each row, in nats.

    With d = ln q - ln p, KL(p || q) = sum p (e^d - 1 - d): q - p sums to nothing, and with it no term is below zero, so
    that the rounding of float32 is of second order in d and a divergence of 1e-6 has still four digits. The sum of
    both directions is sum (q - p) d = sum p (e^d - 1) d, which leaves the other one.
    """
    change = log_q - log_p
    growth = torch.expm1(change)
    both = (growth * change).mul_(p).sum(-1)
    lost = growth.sub_(change).mul_(p).sum(-1).clamp_(min=0.0)
    made = (both - lost).clamp_(min=0.0)
    if not bool(torch.isfinite(both + lost).all()):
        # e^d beyond float32, or entries that a model excludes (-inf): where a probability is 0 it adds nothing.
        q = log_q.exp()
        lost = torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1).clamp_(min=0.0)
        made = torch.where(q > 0, q * (log_q - log_p), 0.0).sum(-1).clamp_(min=0.0)
    return lost, made


def _refuse_infinite(values: Floats, source: Source) -> None:
    if not bool(np.isfinite(values).all()):
        raise BitpressError(
            "not-a-number",
            f"{source.path} gives probabilities that are not numbers, so it cannot be scored.",
            "The weights may be damaged; prove the artifact again, or compress it with other settings.",
        )
