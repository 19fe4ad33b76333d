"""What a recovery or a training brought: figures before and after, its curve, and what was trained.

Stands under the method.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.methods.recovery import Recovered
from core.report.blocks import Block, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.charts.recovery import recovery_curve
from core.report.wording import counted, interval, nats, seconds, whole

_UNSEEN = "The figures are of samples that neither the training nor the choice of the step has seen."


@dataclass(frozen=True, slots=True)
class _Words:
    """What a training is called, and what it does and did not do."""

    heading: str
    how: str
    unhelpful: str
    caption: str


_RECOVERY = _Words(
    heading="Recovery",
    how=f"The original teaches, on its own probabilities; quantized codes stay as they are. {_UNSEEN}",
    unhelpful="It did not lower the divergence by more than its interval, so the model stays as it was before.",
    caption="The curve of the recovery; the step with the least held-out divergence is kept.",
)

_TRAINING = _Words(
    heading="Training",
    how="Weights were trained while they were rounded to the grid on which they are stored; the original taught, on "
    f"its own probabilities. Before is what rounding alone gives. {_UNSEEN}",
    unhelpful="It did not lower the divergence by more than its interval, so the weights were rounded as they were.",
    caption="The curve of the training; the step with the least held-out divergence is kept.",
)


def recovery_blocks(found: Recovered | None, series: int) -> tuple[Block, ...]:
    """Nothing where there was none."""
    return () if found is None else _blocks(found, series, _RECOVERY)


def training_blocks(found: Recovered | None, series: int) -> tuple[Block, ...]:
    """The same of weights that were trained before they were rounded."""
    return () if found is None else _blocks(found, series, _TRAINING)


def _blocks(found: Recovered, series: int, words: _Words) -> tuple[Block, ...]:
    made: list[Block] = [Heading(text=words.heading), Paragraph(text=words.how)]
    if not found.helped:
        made.append(Paragraph(text=words.unhelpful))
    made.append(_table(found))
    if sum(point.held_out is not None for point in found.curve) > 1:
        held_out = [point.held_out for point in found.curve if point.held_out is not None]
        made.append(
            Chart(
                svg=recovery_curve(found.curve, series),
                alternative=f"Divergence on held-out text over {found.steps} steps: {nats(held_out[0])} nats at first, "
                f"{nats(min(held_out))} at the best.",
                caption=words.caption,
            )
        )
    trained = ", ".join(f"{whole(count)} {kind}" for kind, count in found.trained.items())
    rows = (
        ("Trained parameters", Cell(text=trained or "none")),
        *((("Tensors changed", Cell(text=whole(len(found.changed_tensors)))),) if words is _RECOVERY else ()),
        (
            "Training",
            Cell(text=f"{counted(found.steps, 'step')}, {whole(found.tokens)} tokens, {seconds(found.seconds)}"),
        ),
        ("Kept", Cell(text=f"step {whole(found.best_step)}")),
        (
            "Samples",
            Cell(
                text=f"{whole(found.training_samples)} trained on, {whole(found.watched_samples)} watched, "
                f"{whole(found.judged_samples)} judged ({whole(found.judged_tokens)} tokens)"
            ),
        ),
        ("It ended", Cell(text=found.stopped or "–")),
    )
    return (*made, Facts(rows=rows))


def recovery_line(found: Recovered) -> str:
    """The recovery in one sentence."""
    if not found.helped:
        return "Recovery did not help; the model is as it was before it."
    return (
        f"Recovered: mean KL {nats(found.before.value)} became {nats(found.after.value)} nats on "
        f"{whole(found.judged_tokens)} unseen tokens, the size unchanged."
    )


def training_line(found: Recovered) -> str:
    """The training in one sentence."""
    if not found.helped:
        return "Training the weights did not help; they were rounded as they were."
    return (
        f"Weights trained to be rounded, {counted(found.steps, 'step')} in {seconds(found.seconds)}: mean KL "
        f"{nats(found.before.value)} by rounding alone became {nats(found.after.value)} nats on "
        f"{whole(found.judged_tokens)} unseen tokens."
    )


def _table(found: Recovered) -> Table:
    return Table(
        columns=(Column(title="Mean KL divergence, nats per token", share=2.0), Column(title="", figures=True)),
        rows=tuple(
            (Cell(text=title), Cell(text=nats(value.value), note=interval(value, 2)))
            for title, value in (("Before", found.before), ("After", found.after), ("Change", found.change))
        ),
        small=True,
    )
