"""Per-token scores of an original and another model, turned into the figures that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.measure.results import Fidelity, KlSummary, TextFidelity
from core.measure.statistics import (
    Floats,
    Integers,
    histogram,
    mean_interval,
    quantiles,
    resample_counts,
    sums_by_unit,
)
from core.value import Estimate

FEWEST_DOCUMENTS = 8
"""With fewer documents than this in a text, blocks of tokens are resampled instead."""

BLOCK = 64
"""Tokens in such a block: longer than most dependence between neighbours, short enough for 8 blocks in 512 tokens."""

BLOCKS_NOTE = (
    f"A text of fewer than {FEWEST_DOCUMENTS} documents has its intervals over blocks of {BLOCK} tokens instead of "
    "over documents: they say how sure the figure is for this text, not for texts like it."
)


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """What is known of every scored token, all arrays of one length n and in one order.

    `nll` is the original's negative log-likelihood of the token in nats; `text` and `document` are indices, documents
    being counted over all texts together.
    """

    text: Integers
    document: Integers
    nll: Floats


@dataclass(frozen=True, slots=True)
class ScoredOther:
    """Another model on the same tokens (n): negative log-likelihood and KL(original || other) in nats, same top-1."""

    path: str
    name: str
    nll: Floats
    kl: Floats
    same: Floats
    """1 where both find the same next token likeliest, else 0."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over all texts and text by text. `blocks` says that some text had too few documents to resample them."""

    perplexity: float
    others: tuple[Fidelity, ...]
    texts: tuple[TextFidelity, ...]
    blocks: bool


def summarise(tokens: ScoredTokens, others: Sequence[ScoredOther], names: Sequence[str], *, seed: int) -> Summary:
    """All figures. `names` are the texts' names, by index. Raises ValueError where a text has no scored token."""
    units, strata, blocks = _units(tokens)
    everything = np.arange(tokens.nll.size)
    texts = []
    for index, name in enumerate(names):
        chosen = np.flatnonzero(tokens.text == index)
        texts.append(
            TextFidelity(
                text=name,
                tokens=int(chosen.size),
                perplexity=perplexity(tokens.nll[chosen]),
                others=_fidelities(tokens, others, chosen, units=units, strata=strata, seed=seed),
            )
        )
    return Summary(
        perplexity=perplexity(tokens.nll),
        others=_fidelities(tokens, others, everything, units=units, strata=strata, seed=seed),
        texts=tuple(texts),
        blocks=blocks,
    )


def perplexity(nll: Floats) -> float:
    """exp of the mean negative log-likelihood; raises ValueError for no tokens."""
    if nll.size == 0:
        raise ValueError("perplexity of nothing")
    return float(np.exp(nll.mean()))


def _units(tokens: ScoredTokens) -> tuple[Integers, Integers, bool]:
    """What is resampled: the unit of each token (n), the text of each unit, and whether any unit is a block."""
    units = np.zeros(tokens.nll.size, dtype=np.int64)
    strata: list[int] = []
    blocks = False
    for text in np.unique(tokens.text):
        members = np.flatnonzero(tokens.text == text)
        documents, place = np.unique(tokens.document[members], return_inverse=True)
        if documents.size < FEWEST_DOCUMENTS:
            blocks = True
            # Stable, so that tokens of one document stay in reading order and no block mixes two documents.
            order = np.argsort(place, kind="stable")
            first = np.searchsorted(place[order], np.arange(documents.size))
            within = np.empty(members.size, dtype=np.int64)
            within[order] = np.arange(members.size) - first[place[order]]
            _, place = np.unique(place * (within.max() // BLOCK + 1) + within // BLOCK, return_inverse=True)
        units[members] = place + len(strata)
        strata += [int(text)] * (int(place.max()) + 1)
    return units, np.asarray(strata, dtype=np.int64), blocks


def _fidelities(
    tokens: ScoredTokens,
    others: Sequence[ScoredOther],
    chosen: Integers,
    *,
    units: Integers,
    strata: Integers,
    seed: int,
) -> tuple[Fidelity, ...]:
    used, place = np.unique(units[chosen], return_inverse=True)
    counts = resample_counts(strata[used], seed=seed)
    weights = np.bincount(place, minlength=used.size).astype(np.float64)

    def interval(values: Floats) -> tuple[float, float, float]:
        return mean_interval(sums_by_unit(values, place, used.size), weights, counts)

    found = []
    for other in others:
        kl = other.kl[chosen]
        median, p90, p95, p99, p999 = quantiles(kl, (0.5, 0.9, 0.95, 0.99, 0.999))
        # The ratio of perplexities is exp of the mean difference, and exp keeps order: the interval goes through it.
        ratio, lowest, highest = np.exp(interval(other.nll[chosen] - tokens.nll[chosen]))
        mean, kl_low, kl_high = interval(kl)
        share, share_low, share_high = interval(other.same[chosen])
        found.append(
            Fidelity(
                path=other.path,
                name=other.name,
                perplexity=perplexity(other.nll[chosen]),
                perplexity_ratio=Estimate(value=float(ratio), low=float(lowest), high=float(highest)),
                kl=KlSummary(
                    mean=mean, median=median, p90=p90, p95=p95, p99=p99, p999=p999, max=float(kl.max(initial=0.0))
                ),
                kl_interval=Estimate(value=mean, low=kl_low, high=kl_high),
                same_top1=Estimate(value=share, low=share_low, high=share_high),
                histogram=histogram(kl),
            )
        )
    return tuple(found)
