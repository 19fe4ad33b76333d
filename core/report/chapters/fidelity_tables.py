"""Part of chapter 7: every figure of fidelity, with its interval where it has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.measure.results import Fidelity, KlSummary
from core.report.blocks import Block, Cell, Column, Table
from core.report.data import Quality, RunReport
from core.report.wording import interval, nats, percent, share_interval, significant
from core.value import Range

Measured = list[tuple[int, RunReport, Quality]]
"""Series number, run and its figures."""

QUANTILES = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
"""Of the change of the true token's probability: those that the table shows."""
PARTS: tuple[tuple[str, Callable[[KlSummary], float]], ...] = (
    ("Median", lambda kl: kl.median),
    ("90 % of the tokens below", lambda kl: kl.p90),
    ("95 % below", lambda kl: kl.p95),
    ("99 % below", lambda kl: kl.p99),
    ("99.9 % below", lambda kl: kl.p999),
    ("Largest", lambda kl: kl.max),
)

Row = tuple[Cell, ...]


def columns(first: str, measured: Measured) -> tuple[Column, ...]:
    """What it is about, then each model."""
    return (
        Column(title=first, share=1.6),
        *(Column(title=run.label, figures=True, series=index) for index, run, _ in measured),
    )


def tables(measured: Measured) -> list[Block]:
    """Overall, KL in both directions, and the true token's probability; what nobody measured is left out."""
    made: list[Block] = [Table(columns=columns("All texts together", measured), rows=tuple(_overall(measured)))]
    made.append(
        Table(
            columns=columns("KL divergence, nats per token", measured),
            rows=tuple(_divergence(measured)),
            caption="From the original: what is lost where the original expects something. From the other: what the "
            "compressed model makes up."
            if _any(measured, lambda f: f.kl_reverse)
            else "",
            small=True,
        )
    )
    if _any(measured, lambda f: f.true_token):
        made.append(
            Table(
                columns=columns("Change of the true token's probability", measured),
                rows=tuple(_true_token(measured)),
                caption="In percentage points: the probability that the model gives to the token that comes next, "
                "minus the original's.",
                small=True,
            )
        )
    return made


def _any(measured: Measured, read: Callable[[Fidelity], object]) -> bool:
    return any(read(quality.fidelity) is not None for _, _, quality in measured)


def _overall(measured: Measured) -> list[Row]:
    found = [quality for _, _, quality in measured]
    rows: list[Row] = [
        _row("Mean KL divergence", "nats per token, 95 % interval", [_nats(q.fidelity.kl_interval) for q in found]),
        _row(
            "Perplexity over the original's",
            "95 % interval, paired",
            [_quantity(q.fidelity.perplexity_ratio, 4) for q in found],
        ),
        _row("Perplexity", "", [Cell(text=significant(q.fidelity.perplexity, 4)) for q in found]),
        _row("Perplexity of the original", "", [Cell(text=significant(q.original_perplexity, 4)) for q in found]),
    ]
    if _any(measured, lambda f: f.perplexity_correlation):
        rows.append(
            _row(
                "Correlation of log-likelihoods",
                "token by token; 1 is the same",
                [_plain(q.fidelity.perplexity_correlation, lambda value: f"{value:.5f}") for q in found],
            )
        )
    rows.append(_row("Same most likely token", "95 % interval", [_share(q.fidelity.same_top1) for q in found]))
    if _any(measured, lambda f: f.top5):
        rows.append(
            _row(
                "Same five likeliest tokens",
                "mean share of the five, 95 % interval",
                [_share(q.fidelity.top5) for q in found],
            )
        )
    return rows


def _divergence(measured: Measured) -> list[Row]:
    found = [quality.fidelity for _, _, quality in measured]
    rows = [_row("Mean, from the original", "", [_nats(one.kl_interval) for one in found])]
    rows += [_row(title, "", [Cell(text=nats(read(one.kl))) for one in found]) for title, read in PARTS]
    if not _any(measured, lambda f: f.kl_reverse):
        return rows
    rows.append(_row("Mean, from the compressed model", "", [_nats(one.kl_reverse_interval) for one in found]))
    for title, read in PARTS:
        cells = [Cell(text=nats(read(one.kl_reverse))) if one.kl_reverse else UNKNOWN for one in found]
        rows.append(_row(title, "", cells))
    return rows


def _true_token(measured: Measured) -> list[Row]:
    found = [quality.fidelity.true_token for _, _, quality in measured]
    rows = [
        _row("Mean", "95 % interval", [_points(one.mean) if one else UNKNOWN for one in found]),
        _row("Root mean square", "95 % interval", [_points(one.rms, sign=False) if one else UNKNOWN for one in found]),
    ]
    names = {0.0: "Largest loss", 0.5: "Median", 1.0: "Largest gain"}
    kept = [dict(one.quantiles) if one else {} for one in found]
    for probability in QUANTILES:
        if not any(probability in one for one in kept):
            continue
        title = names.get(probability, f"{probability * 100:g} % of the tokens below")
        cells = [Cell(text=_signed(one[probability])) if probability in one else UNKNOWN for one in kept]
        rows.append(_row(title, "", cells))
    return rows


UNKNOWN = Cell(text="not measured")


def _row(title: str, note: str, cells: Sequence[Cell]) -> Row:
    return (Cell(text=title, note=note), *cells)


def _nats(quantity: Range | None) -> Cell:
    return UNKNOWN if quantity is None else Cell(text=nats(quantity.value), note=interval(quantity, 2))


def _quantity(quantity: Range, digits: int) -> Cell:
    return Cell(text=significant(quantity.value, digits), note=interval(quantity, digits))


def _share(quantity: Range | None) -> Cell:
    return UNKNOWN if quantity is None else Cell(text=percent(quantity.value), note=share_interval(quantity))


def _plain(value: float | None, said: Callable[[float], str]) -> Cell:
    return UNKNOWN if value is None else Cell(text=said(value))


def _points(quantity: Range, *, sign: bool = True) -> Cell:
    said = _signed if sign else _unsigned
    return Cell(text=said(quantity.value), note=f"{said(quantity.low)} to {said(quantity.high)}")


def _signed(value: float) -> str:
    shown = _unsigned(abs(value))
    return shown if not float(shown) else f"{'+' if value > 0 else '−'}{shown}"


def _unsigned(value: float) -> str:
    return f"{value * 100:.2f}"
