"""What a recovery brought: figures before and after, its curve, and what was trained. Stands under the method."""

from __future__ import annotations

from core.methods.recovery import Recovered
from core.report.blocks import Block, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.charts.recovery import recovery_curve
from core.report.wording import counted, interval, nats, seconds, whole

_HOW = (
    "The original teaches, on its own probabilities; quantized codes stay as they are. The figures are of samples that "
    "neither the training nor the choice of the step has seen."
)
_UNHELPFUL = "It did not lower the divergence by more than its interval, so the model stays as it was before."


def recovery_blocks(found: Recovered | None, series: int) -> tuple[Block, ...]:
    """Nothing where there was none."""
    if found is None:
        return ()
    made: list[Block] = [Heading(text="Recovery"), Paragraph(text=_HOW)]
    if not found.helped:
        made.append(Paragraph(text=_UNHELPFUL))
    made.append(_table(found))
    if sum(point.held_out is not None for point in found.curve) > 1:
        held_out = [point.held_out for point in found.curve if point.held_out is not None]
        made.append(
            Chart(
                svg=recovery_curve(found.curve, series),
                alternative=f"Divergence on held-out text over {found.steps} steps: {nats(held_out[0])} nats at first, "
                f"{nats(min(held_out))} at the best.",
                caption="The curve of the recovery; the step with the least held-out divergence is kept.",
            )
        )
    trained = ", ".join(f"{whole(count)} {kind}" for kind, count in found.trained.items())
    rows = (
        ("Trained parameters", Cell(text=trained or "none")),
        ("Tensors changed", Cell(text=whole(len(found.changed_tensors)))),
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


def _table(found: Recovered) -> Table:
    return Table(
        columns=(Column(title="Mean KL divergence, nats per token", share=2.0), Column(title="", figures=True)),
        rows=tuple(
            (Cell(text=title), Cell(text=nats(value.value), note=interval(value, 2)))
            for title, value in (("Before", found.before), ("After", found.after), ("Change", found.change))
        ),
        small=True,
    )
