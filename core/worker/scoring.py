"""Scores an original and others on the same tokens, teacher-forced, in one pass over the text.

For each batch the original is run once and every other model once. From both sets of logits, some rows at a time,
come the negative log-likelihood of each token, the exact divergence KL(original || other) = sum p (ln p - ln q) over
the full vocabulary, and whether both find the same next token likeliest. All in float32, and no more logits are held
than one batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from core.errors import BitpressError
from core.measure.passages import Row
from core.measure.statistics import Floats
from core.worker.decoding import takes_logits_to_keep
from core.worker.loading import Loaded

CPU_ROWS = 8
"""Positions worked on at a time on a CPU: few enough for their float32 rows to stay in its cache.

Measured with a vocabulary of 49,152 on two cores: 8 positions take half the time of 128, and less than half of all.
"""

CUDA_ROWS = 512
"""The same on a GPU: few enough to be small beside the logits, many enough to fill it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of every scored token, in the rows' order; all in nats but `same`, which is 1 or 0.

    `nll` (tokens) is the original's negative log-likelihood; `others_nll`, `kl` and `same` are (others, tokens).
    """

    nll: Floats
    others_nll: Floats
    kl: Floats
    same: Floats


@torch.inference_mode()
def score(
    original: Loaded,
    others: Sequence[Loaded],
    rows: Sequence[Row],
    batches: Sequence[Sequence[int]],
    *,
    after_batch: Callable[[int], None],
    check: Callable[[], None],
) -> Scores:
    """Score all rows; `batches` are indices of rows, and `after_batch` hears how many are done.

    `check` is called between forward passes and may raise: a batch of a slow model takes seconds.
    Raises BitpressError `not-a-number` where a model's logits are not finite.
    """
    device = original.device
    starts = [0]
    for row in rows:
        starts.append(starts[-1] + row.scored)
    count = len(others)
    found = torch.empty((1 + 3 * count, starts[-1]), dtype=torch.float32, device=device)
    chunk = CUDA_ROWS if device.type == "cuda" else CPU_ROWS
    for done, batch in enumerate(batches, start=1):
        length = max(len(rows[index].ids) for index in batch)
        # Padded on the right, where a causal model never looks back from: no mask is needed, which is faster.
        ids = torch.tensor([(*rows[index].ids, *(0,) * (length - len(rows[index].ids))) for index in batch])
        ids = ids.to(device)
        keep = length + 1 - min(rows[index].first for index in batch)
        reference = _logits(original.model, ids, keep)
        compared = []
        for other in others:
            check()
            compared.append(_logits(other.model, ids, keep))
        check()
        skipped = length - reference.shape[1]
        for place, index in enumerate(batch):
            row = rows[index]
            for start in range(row.first, len(row.ids), chunk):
                stop = min(start + chunk, len(row.ids))
                # The logits at a position speak of the token after it.
                window = slice(start - 1 - skipped, stop - 1 - skipped)
                target = slice(starts[index] + start - row.first, starts[index] + stop - row.first)
                found[:, target] = _figures(
                    reference[place, window], [logits[place, window] for logits in compared], ids[place, start:stop]
                )
        after_batch(done)
    values = found.cpu().double().numpy()
    scores = Scores(
        nll=values[0],
        others_nll=values[1 : 1 + count],
        kl=values[1 + count : 1 + 2 * count],
        same=values[1 + 2 * count :],
    )
    _refuse_infinite(found[0], original)
    for index, other in enumerate(others):
        _refuse_infinite(found[[1 + index, 1 + count + index]], other)
    return scores


def _logits(model: Any, ids: torch.Tensor, keep: int) -> torch.Tensor:
    """Logits (batch, `keep` or all positions, vocabulary), in the model's own dtype."""
    options = {"logits_to_keep": keep} if takes_logits_to_keep(model) else {}
    logits: torch.Tensor = model(input_ids=ids, use_cache=False, return_dict=True, **options).logits
    return logits


def _figures(reference: torch.Tensor, compared: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """(1 + 3 others, positions): the original's nll, then each other's nll, KL and agreement, by kind."""
    targets = targets[:, None]
    reference = reference.float()
    log_p = torch.log_softmax(reference, -1)
    p = log_p.exp()
    # Of the float32 copy, which has the same order and ties as the logits: several times as fast as of bfloat16.
    likeliest = reference.argmax(-1)
    own = -log_p.gather(1, targets)[:, 0]
    nll, divergence, agreement = [], [], []
    for narrow in compared:
        logits = narrow.float()
        log_q = torch.log_softmax(logits, -1)
        nll.append(-log_q.gather(1, targets)[:, 0])
        # Rounding may leave a divergence of nothing a hair below zero.
        divergence.append(torch.sub(log_p, log_q, out=log_q).mul_(p).sum(-1).clamp_(min=0.0))
        agreement.append((logits.argmax(-1) == likeliest).float())
    return torch.stack((own, *nll, *divergence, *agreement))


def _refuse_infinite(values: torch.Tensor, model: Loaded) -> None:
    if not bool(torch.isfinite(values).all()):
        raise BitpressError(
            "not-a-number",
            f"{model.path} gives probabilities that are not numbers, so it cannot be scored.",
            "The weights may be damaged; prove the artifact again, or compress it with other settings.",
        )
