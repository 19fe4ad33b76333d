"""Per-token scores of an original and another model, turned into the figures that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np

from core.measure.results import (
    Bucket,
    Fidelity,
    KlSummary,
    NoiseFloor,
    PairedDifference,
    TextFidelity,
    TrueToken,
)
from core.measure.statistics import (
    Floats,
    Integers,
    Resamples,
    correlation,
    histogram,
    mapped,
    mean_estimate,
    quantiles,
    resampled,
    share_estimate,
    sums_by_unit,
)
from core.value import Estimate

FEWEST_DOCUMENTS = 8
"""With fewer documents than this in a text, blocks of tokens are resampled instead."""

BLOCK = 64
"""Tokens in such a block: longer than most dependence between neighbours, short enough for 8 blocks in 512 tokens."""

FEWEST_IN_BUCKET = 5
"""With fewer documents than this in a bucket its interval would be wider than the chart that shows it."""

MOST_BLOCKS = 256
"""A long text has longer blocks, not more of them: more would only take time."""

BLOCKS_NOTE = (
    f"A text of fewer than {FEWEST_DOCUMENTS} documents has its intervals over blocks of {BLOCK} or more tokens "
    "instead of over documents: they say how sure the figure is for this text, not for texts like it."
)

POSITIONS = (0, 16, 64, 128, 256, 512)
"""Edges of the buckets by position; from the last one on they double."""

CONFIDENCES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Edges of the buckets by the original's largest probability; the last bucket takes 1 in."""

PROBABILITIES = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Where the change of the true token's probability is read off: llama.cpp's quantiles."""


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """What is known of every scored token, all arrays of one length n and in one order.

    `nll` is the original's negative log-likelihood of the token in nats, `confidence` its largest probability there;
    `text` and `document` are indices, documents being counted over all texts together, and `position` counts the
    tokens before it in its row.
    """

    text: Integers
    document: Integers
    position: Integers
    nll: Floats
    confidence: Floats


@dataclass(frozen=True, slots=True)
class ScoredOther:
    """Another model on the same tokens (n): negative log-likelihood and both divergences in nats, and agreement."""

    path: str
    name: str
    nll: Floats
    kl: Floats
    """KL(original || other)."""
    kl_reverse: Floats
    """KL(other || original)."""
    same: Floats
    """1 where both find the same next token likeliest, else 0."""
    top5: Floats
    """Share of the original's five likeliest next tokens that are among the other's five."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over all texts and text by text. `blocks` says that some text had too few documents to resample them."""

    perplexity: float
    others: tuple[Fidelity, ...]
    texts: tuple[TextFidelity, ...]
    pairs: tuple[PairedDifference, ...]
    blocks: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """The tokens that a figure is over, and how their units are drawn."""

    chosen: Integers
    place: Integers
    """The unit of each chosen token."""
    weights: Floats
    drawn: Resamples

    def sums(self, values: Floats) -> Floats:
        return sums_by_unit(values, self.place, self.weights.size)

    def mean(self, values: Floats, *, positive: bool = False) -> Estimate:
        return mean_estimate(self.sums(values), self.weights, self.drawn, positive=positive)

    def share(self, values: Floats, *, certain: bool) -> Estimate:
        return share_estimate(self.sums(values), self.weights, self.drawn, certain=certain)

    def where(self, held: np.ndarray) -> _Part:
        """Those of the chosen tokens for which `held` is true, drawn as before."""
        place = self.place[held]
        weights = np.bincount(place, minlength=self.weights.size).astype(np.float64)
        return replace(self, chosen=self.chosen[held], place=place, weights=weights)


def summarise(tokens: ScoredTokens, others: Sequence[ScoredOther], names: Sequence[str], *, seed: int) -> Summary:
    """All figures. `names` are the texts' names, by index. Raises ValueError where a text has no scored token."""
    units, strata, blocks = _units(tokens)
    everything = _part(np.arange(tokens.nll.size), units, strata, seed)
    texts = []
    for index, name in enumerate(names):
        part = _part(np.flatnonzero(tokens.text == index), units, strata, seed)
        texts.append(
            TextFidelity(
                text=name,
                tokens=int(part.chosen.size),
                perplexity=perplexity(tokens.nll[part.chosen]),
                others=tuple(_fidelity(tokens, other, part) for other in others),
            )
        )
    return Summary(
        perplexity=perplexity(tokens.nll),
        others=tuple(_fidelity(tokens, other, everything) for other in others),
        texts=tuple(texts),
        pairs=tuple(
            PairedDifference(first=first.path, second=second.path, kl=everything.mean(second.kl - first.kl))
            for first, second in combinations(others, 2)
        ),
        blocks=blocks,
    )


def paired_difference(tokens: ScoredTokens, first: ScoredOther, second: ScoredOther, *, seed: int) -> PairedDifference:
    """Mean KL of the second less that of the first with its interval, both on the same documents of all texts."""
    units, strata, _ = _units(tokens)
    part = _part(np.arange(tokens.nll.size), units, strata, seed)
    return PairedDifference(first=first.path, second=second.path, kl=part.mean(second.kl - first.kl))


def against_noise(summary: Summary, noise: Sequence[NoiseFloor], by_text: Sequence[Sequence[NoiseFloor]]) -> Summary:
    """The summary with its noise floors, and whether each difference is measurable above them.

    `noise` is over all texts, `by_text` in the texts' order.
    """
    texts = tuple(
        text.model_copy(
            update={"noise": tuple(floors), "others": tuple(held_against(other, floors) for other in text.others)}
        )
        for text, floors in zip(summary.texts, by_text, strict=True)
    )
    return replace(summary, others=tuple(held_against(other, noise) for other in summary.others), texts=texts)


def held_against(fidelity: Fidelity, floors: Sequence[NoiseFloor]) -> Fidelity:
    """`measurable` set: True where mean KL is above every noise floor for sure, both sides taken at one-sided 95 %.

    So False says that the difference may as well be rounding, not that there is none.
    """
    if not floors:
        return fidelity
    highest = max(floor.kl_interval.at_most for floor in floors)
    return fidelity.model_copy(update={"measurable": fidelity.kl_interval.at_least > highest})


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
            length = max(BLOCK, -(-members.size // MOST_BLOCKS))
            # Stable, so that tokens of one document stay in reading order and no block mixes two documents.
            order = np.argsort(place, kind="stable")
            first = np.searchsorted(place[order], np.arange(documents.size))
            within = np.empty(members.size, dtype=np.int64)
            within[order] = np.arange(members.size) - first[place[order]]
            _, place = np.unique(place * (within.max() // length + 1) + within // length, return_inverse=True)
        units[members] = place + len(strata)
        strata += [int(text)] * (int(place.max()) + 1)
    return units, np.asarray(strata, dtype=np.int64), blocks


def _part(chosen: Integers, units: Integers, strata: Integers, seed: int) -> _Part:
    used, place = np.unique(units[chosen], return_inverse=True)
    weights = np.bincount(place, minlength=used.size).astype(np.float64)
    return _Part(chosen, place, weights, resampled(strata[used], seed=seed))


def _fidelity(tokens: ScoredTokens, other: ScoredOther, part: _Part) -> Fidelity:
    own, nll, kl = tokens.nll[part.chosen], other.nll[part.chosen], other.kl[part.chosen]
    reverse = other.kl_reverse[part.chosen]
    divergence = part.mean(kl, positive=True)
    backwards = part.mean(reverse, positive=True)
    alike = _alike(own, nll, kl)
    return Fidelity(
        path=other.path,
        name=other.name,
        perplexity=perplexity(nll),
        perplexity_ratio=_ratio(part, own, nll),
        kl=_summary(kl, divergence.value),
        kl_interval=divergence,
        same_top1=part.share(other.same[part.chosen], certain=alike),
        histogram=histogram(kl),
        perplexity_correlation=correlation(own, nll),
        kl_reverse=_summary(reverse, backwards.value),
        kl_reverse_interval=backwards,
        true_token=_true_token(part, own, nll),
        top5=part.share(other.top5[part.chosen], certain=alike),
        by_position=_buckets(tokens, other, part, tokens.position[part.chosen].astype(np.float64), _positions(tokens)),
        by_confidence=_buckets(tokens, other, part, tokens.confidence[part.chosen], CONFIDENCES),
    )


def _ratio(part: _Part, own: Floats, nll: Floats) -> Estimate:
    # The ratio of perplexities is exp of the mean difference, and exp keeps order: the interval goes through it.
    return mapped(part.mean(nll - own), np.exp)


def _alike(own: Floats, nll: Floats, kl: Floats) -> bool:
    """Whether nothing differs at any token: then agreement is no matter of chance."""
    return bool(kl.max(initial=0.0) == 0.0) and np.array_equal(own, nll)


def _summary(kl: Floats, mean: float) -> KlSummary:
    median, p90, p95, p99, p999, largest = quantiles(kl, (0.5, 0.9, 0.95, 0.99, 0.999, 1.0))
    return KlSummary(mean=mean, median=median, p90=p90, p95=p95, p99=p99, p999=p999, max=largest)


def _true_token(part: _Part, own: Floats, nll: Floats) -> TrueToken:
    change = np.exp(-nll) - np.exp(-own)
    return TrueToken(
        mean=part.mean(change),
        rms=mapped(part.mean(change * change, positive=True), np.sqrt),
        quantiles=tuple(zip(PROBABILITIES, quantiles(change, PROBABILITIES), strict=True)),
    )


def _positions(tokens: ScoredTokens) -> tuple[float, ...]:
    """The edges up to the first that no position reaches."""
    edges = [float(edge) for edge in POSITIONS]
    longest = int(tokens.position.max(initial=0))
    while edges[-1] <= longest:
        edges.append(2.0 * edges[-1])
    return tuple(edges)


def _buckets(
    tokens: ScoredTokens, other: ScoredOther, part: _Part, keys: Floats, edges: Sequence[float]
) -> tuple[Bucket, ...]:
    """The buckets in which tokens of FEWEST_IN_BUCKET units or more lie."""
    # The last bucket is closed: a confidence may be 1.
    places = np.clip(np.searchsorted(np.asarray(edges), keys, side="right") - 1, 0, len(edges) - 2)
    found = []
    for index, (low, high) in enumerate(pairwise(edges)):
        inside = part.where(places == index)
        if int((inside.weights > 0).sum()) < FEWEST_IN_BUCKET:
            continue
        own, nll, kl = tokens.nll[inside.chosen], other.nll[inside.chosen], other.kl[inside.chosen]
        found.append(
            Bucket(
                low=low,
                high=high,
                tokens=int(inside.chosen.size),
                kl=inside.mean(kl, positive=True),
                same_top1=inside.share(other.same[inside.chosen], certain=_alike(own, nll, kl)),
                perplexity_ratio=_ratio(inside, own, nll),
            )
        )
    return tuple(found)
