"""Part of chapter 7: the original against itself, and what lies under that."""

from __future__ import annotations

from collections.abc import Sequence

from core.measure.results import NoiseFloor
from core.report.blocks import Block, Callout, Cell, Column, Heading, Table
from core.report.chapters.fidelity_tables import Measured
from core.report.data import Level, Quality
from core.report.wording import interval, nats, percent, significant, whole

MEANING = (
    "The noise floor: the original held against itself under changes that mean nothing, such as rounding and another "
    "batch shape. What a compressed model shows under it is no measurable difference."
)


def mean_floor(noise: Sequence[NoiseFloor]) -> float | None:
    """The mean KL in nats under which nothing is measurable: the highest end of the noise's intervals."""
    return max((one.kl_interval.high for one in noise), default=None)


def token_floor(found: Sequence[Quality]) -> float | None:
    """The KL of a single token in nats under which 99 % of the noise lies."""
    return max((one.kl.p99 for quality in found for one in quality.noise), default=None)


def callout(measured: Measured) -> list[Block]:
    """The models that cannot be told from their original."""
    under = [run.label for _, run, quality in measured if quality.fidelity.measurable is False]
    if not under:
        return []
    return [
        Callout(
            level=Level.DONE,
            title=f"No measurable difference: {', '.join(under)}",
            lines=("The mean KL divergence lies within what the original shows against itself.",),
        )
    ]


def table(measured: Measured) -> list[Block]:
    """The noise floor of every evaluation that measured one."""
    made: list[Block] = []
    for quality in {quality.run: quality for _, _, quality in measured}.values():
        if not quality.noise:
            continue
        made += [
            Heading(text="Noise floor"),
            Table(
                columns=(
                    Column(title="The original against itself", share=1.7),
                    Column(title="Tokens", figures=True, share=0.7),
                    Column(title="Mean KL, nats", figures=True, share=1.5),
                    Column(title="99 % of KL below", figures=True),
                    Column(title="Same likeliest token", figures=True),
                    Column(title="Perplexity ratio", figures=True, share=1.3),
                ),
                rows=tuple(_row(one) for one in quality.noise),
                caption=MEANING,
                small=True,
            ),
        ]
    return made


def _row(one: NoiseFloor) -> tuple[Cell, ...]:
    return (
        Cell(text=one.title),
        Cell(text=whole(one.tokens)),
        Cell(text=nats(one.kl_interval.value), note=interval(one.kl_interval, 2)),
        Cell(text=nats(one.kl.p99)),
        Cell(text=percent(one.same_top1.value, 2)),
        Cell(text=significant(one.perplexity_ratio.value, 5), note=interval(one.perplexity_ratio, 5)),
    )
