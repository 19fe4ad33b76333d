"""Rows of a sweep with figures as a test wants them."""

from __future__ import annotations

from core.measure.results import Fidelity, KlSummary
from core.measure.sweep_values import RowState, SweepRow
from core.value import Estimate, Range


def fidelity(kl: float, spread: float, same: float = 0.95, ratio: float = 1.005) -> Fidelity:
    return Fidelity(
        path="/pressed",
        name="pressed",
        perplexity=10.0 * ratio,
        perplexity_ratio=Estimate(value=ratio, low=ratio, high=ratio),
        kl=KlSummary(mean=kl, median=kl, p90=kl, p95=kl, p99=kl, p999=kl, max=kl),
        kl_interval=Estimate(value=kl, low=kl - spread, high=kl + spread),
        same_top1=Estimate(value=same, low=same, high=same),
    )


def row(
    key: str,
    size: int | None,
    kl: float | None,
    *,
    spread: float = 0.0001,
    same: float = 0.95,
    speed: float | None = None,
    memory: int | None = None,
) -> SweepRow:
    return SweepRow(
        key=key,
        label=key.upper(),
        method=key,
        parameters={},
        state=RowState.MEASURED if kl is not None else RowState.COMPRESSED,
        bytes=size,
        device_bytes=memory,
        fidelity=None if kl is None else fidelity(kl, spread, same),
        tokens_per_second=None if speed is None else Range(value=speed, low=speed, high=speed),
        output=f"/out/{key}",
    )
