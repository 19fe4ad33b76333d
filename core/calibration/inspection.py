"""What calibration data looks like to the model that will be calibrated with it."""

from __future__ import annotations

from collections.abc import Sequence

from core.calibration.overlap import BLOCK_SHARE, WARN_SHARE
from core.plan.finding import Finding, Severity
from core.value import Received

FEW_SAMPLES = 32
"""Fewer than this many samples leave GPTQ's Hessians poor; 128 and more are usual."""

DUPLICATES_SHARE = 0.1
TRUNCATED_SHARE = 0.25
_BINS = 12


class Bin(Received):
    """Samples of `low` to `high` tokens, both included."""

    low: int
    high: int
    count: int


class Lengths(Received):
    """Token lengths after cutting; quantiles are the nearest sample's."""

    shortest: int = 0
    p10: int = 0
    median: int = 0
    p90: int = 0
    longest: int = 0
    mean: float = 0.0


class Part(Received):
    """What one source gives: `wanted` by its weight, `samples` that it has."""

    source: str
    weight: float
    wanted: int
    samples: int


class Share(Received):
    """A name and its share of all, 0 to 1."""

    name: str
    share: float


class Offender(Received):
    """A sample that is part of a problem; `kind` is overlap, copy, near-copy or cut.

    `share` is that of its words in the evaluation text, of its words in the other sample, or of its tokens lost.
    """

    kind: str
    origin: str
    share: float
    other: str = ""
    """The evaluation text, or the origin of the sample that is repeated."""
    excerpt: str = ""


class ShownToken(Received):
    """A token's number and text."""

    id: int
    text: str


class ShownSample(Received):
    """A sample as the model sees it."""

    text: str
    tokens: tuple[ShownToken, ...] = ()
    truncated: bool = False
    origin: str = ""
    note: str = ""


class CalibrationInspection(Received):
    """The samples that a job would take, looked at from every side. Shares are 0 to 1."""

    source: str
    samples: int
    wanted: int
    """How many were asked for."""
    max_length: int
    parts: tuple[Part, ...] = ()
    tokens: int = 0
    lengths: Lengths = Lengths()
    histogram: tuple[Bin, ...] = ()
    truncated: int = 0
    tokens_lost: int = 0
    tokens_lost_share: float = 0.0
    """Of the tokens that the cut and uncut samples had together."""
    exact_duplicates: int = 0
    near_duplicates: int = 0
    chats: int = 0
    roles: dict[str, int] = {}
    """Messages by role."""
    unanswered: int = 0
    """Built-in prompts that the model answers when the job starts; their figures are without the answer."""
    scripts: tuple[Share, ...] = ()
    """Of the letters."""
    languages: tuple[Share, ...] = ()
    """Of the samples; guessed."""
    overlap: float = 0.0
    """Of the word runs, in any of the texts and prompts that models are judged by."""
    overlaps: tuple[Share, ...] = ()
    """By text, most first."""
    offenders: tuple[Offender, ...] = ()
    shown: tuple[ShownSample, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def blocked(self) -> bool:
        return any(finding.severity is Severity.BLOCKS for finding in self.findings)


def lengths_of(counts: Sequence[int]) -> Lengths:
    """Quantiles of token counts; all 0 where there are none."""
    if not counts:
        return Lengths()
    ordered = sorted(counts)

    def at(share: float) -> int:
        return ordered[round(share * (len(ordered) - 1))]

    return Lengths(
        shortest=ordered[0],
        p10=at(0.1),
        median=at(0.5),
        p90=at(0.9),
        longest=ordered[-1],
        mean=sum(ordered) / len(ordered),
    )


def histogram(counts: Sequence[int], longest: int) -> tuple[Bin, ...]:
    """Equal bins from 1 to `longest`, at most twelve, that hold every count; nothing for no counts."""
    if not counts:
        return ()
    top = max(longest, *counts)
    width = -(-top // _BINS)
    bins = [Bin(low=low, high=min(low + width - 1, top), count=0) for low in range(1, top + 1, width)]
    found = [0] * len(bins)
    for count in counts:
        found[max(0, count - 1) // width] += 1
    return tuple(one.model_copy(update={"count": number}) for one, number in zip(bins, found, strict=True))


def overlap_finding(share: float, source: str = "") -> Finding | None:
    """What to say of data of which such a share stands in the texts that models are judged by; None under 1 %."""
    if share < WARN_SHARE:
        return None
    data = f"the calibration data in {source}" if source else "the calibration data"
    return Finding(
        code="calibration-overlap",
        severity=Severity.BLOCKS if share >= BLOCK_SHARE else Severity.WARNS,
        message=f"{share:.0%} of {data} is also in the texts that models are judged by here, so the evaluation would "
        "flatter the result. Choose other data.",
    )


def findings_of(found: CalibrationInspection, warnings: Sequence[tuple[str, str]] = ()) -> tuple[Finding, ...]:
    """What the figures mean for a job; `warnings` (code, message) are those of reading and drawing."""
    said: list[Finding] = []
    if (copied := overlap_finding(found.overlap)) is not None:
        said.append(copied)
    said += [Finding(code=code, severity=Severity.WARNS, message=message) for code, message in warnings]
    count = max(found.samples, 1)
    if found.samples < FEW_SAMPLES:
        said.append(few_samples(found.samples))
    repeated = found.exact_duplicates + found.near_duplicates
    if repeated / count > DUPLICATES_SHARE:
        said.append(
            Finding(
                code="calibration-duplicates",
                severity=Severity.WARNS,
                message=f"{repeated} of {found.samples} samples repeat another one ({found.exact_duplicates} word for "
                f"word, {found.near_duplicates} nearly). They take the place of others and weigh what they say double.",
            )
        )
    if found.truncated / count > TRUNCATED_SHARE:
        said.append(
            Finding(
                code="calibration-truncated",
                severity=Severity.WARNS,
                message=f"{found.truncated} of {found.samples} samples are cut at {found.max_length:,} tokens, and "
                f"{found.tokens_lost_share:.0%} of the tokens are lost. Ends of answers are missing then: allow longer "
                "samples, or choose shorter ones.",
            )
        )
    if found.unanswered:
        said.append(
            Finding(
                code="calibration-unanswered",
                severity=Severity.NOTES,
                message=f"{found.unanswered} of the samples are prompts that the model answers when the job starts; "
                "lengths and counts here are without the answers.",
            )
        )
    return tuple(said)


def few_samples(count: int) -> Finding:
    """That there are too few."""
    return Finding(
        code="few-samples",
        severity=Severity.WARNS,
        message=f"{count} calibration samples are few: the result may suit only them. 128 are usual.",
    )
