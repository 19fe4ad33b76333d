"""Which row of a sweep to take, in a sentence with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from core.measure.figures import significant
from core.measure.gates import Gate
from core.measure.judgement import GateVerdict, Outcome
from core.measure.pareto import measured
from core.measure.sweep_values import Recommendation, SweepRow

_FRACTIONS = (
    (0.1, "a tenth"),
    (0.2, "a fifth"),
    (0.25, "a quarter"),
    (1 / 3, "a third"),
    (0.5, "half"),
    (2 / 3, "two thirds"),
)

SAME_SIZE = 0.03
"""Sizes within this share of each other are called the same, then the closer one is taken: nobody chooses a format for
a few percent, and scales and headers alone make that much."""

FASTER = 1.1
"""A speed is worth a word from this many times another on."""


def recommendation(
    rows: Sequence[SweepRow], original_bytes: int, gate: Gate, verdicts: dict[str, GateVerdict]
) -> Recommendation:
    """The smallest row that passes the gate, and what the next larger step would give for its bytes.

    `verdicts` are by row key. Where nothing passes: what may pass and what would tell, else the closest and by how
    much it misses; `key` is then None.
    """
    known = [row for row in rows if measured(row) and row.bytes]
    if not known:
        return Recommendation(key=None, sentence="Nothing can be recommended: no method was pressed and measured.")
    passing = [row for row in known if _outcome(verdicts, row) is Outcome.PASS]
    if not passing:
        return Recommendation(key=None, sentence=_none_passes(known, gate, verdicts, original_bytes))
    least = min(row.bytes or 0 for row in passing)
    same = [row for row in passing if (row.bytes or 0) <= least * (1 + SAME_SIZE)]
    chosen = min(same, key=_kl)
    parts = [
        f"{chosen.label} is the {_rank(passing, same)} {gate.title.lower()}: "
        f"{_share(chosen, original_bytes)} of the size, mean KL {significant(_kl(chosen))}{_unmeasurable(chosen)}"
    ]
    if (step := _step(chosen, known)) is not None:
        parts.append(step)
    sentence = "; ".join(parts) + "." + _faster(chosen, passing) + _open_smaller(chosen, known, verdicts)
    return Recommendation(key=chosen.key, sentence=sentence)


def _rank(passing: list[SweepRow], same: list[SweepRow]) -> str:
    if len(passing) == 1:
        return "only one that passes"
    return "smallest that passes" if len(same) == 1 else "closest of the smallest that pass"


def _step(chosen: SweepRow, known: list[SweepRow]) -> str | None:
    """The smallest larger row that is surely closer to the original: what its bytes buy."""
    larger = [
        row
        for row in known
        if (row.bytes or 0) > (chosen.bytes or 0) * (1 + SAME_SIZE) and _high(row) < _low(chosen) and row is not chosen
    ]
    if not larger:
        closer = [row for row in known if _kl(row) < _kl(chosen)]
        return None if closer else "nothing measured here is closer to the original"
    step = min(larger, key=lambda row: (row.bytes or 0, _kl(row)))
    times = (step.bytes or 0) / (chosen.bytes or 1)
    size = f"{times:.2g} times as large" if times >= 1.15 else f"{(times - 1) * 100:.0f} % larger"
    return f"{step.label} is {size} for {_fraction(_kl(step) / _kl(chosen))} of the divergence"


def _fraction(share: float) -> str:
    near, words = min(_FRACTIONS, key=lambda one: abs(one[0] - share))
    return words if abs(near - share) <= 0.12 * near else f"{share * 100:.2g} %"


def _faster(chosen: SweepRow, passing: list[SweepRow]) -> str:
    """Another row that passes and serves faster, as measured in a server or, where none was, as expected."""
    served = [row for row in passing if _served(row)]
    if _served(chosen):
        best = max(served, key=_served)
        times = _served(best) / _served(chosen)
        if times >= FASTER:
            return f" Where speed counts more, {best.label} served {times:.2g} times as fast."
        return ""
    best = max(passing, key=lambda row: row.expected_speed or 1.0)
    if (best.expected_speed or 1.0) >= FASTER * (chosen.expected_speed or 1.0):
        return (
            f" Where speed counts more, {best.label} is expected to serve {best.expected_speed:.2g} times as fast as "
            "the original."
        )
    return ""


def _served(row: SweepRow) -> float:
    """Tokens per second in a server; 0 for none, and for transformers, where formats have no kernels of their own."""
    if row.speed is None or row.tokens_per_second is None or row.speed.conditions.engine == "transformers":
        return 0.0
    return row.tokens_per_second.value


def _open_smaller(chosen: SweepRow, known: list[SweepRow], verdicts: dict[str, GateVerdict]) -> str:
    """A smaller row that might pass too, had more text been scored."""
    open_ = [
        row
        for row in known
        if (row.bytes or 0) < (chosen.bytes or 0) * (1 - SAME_SIZE) and _outcome(verdicts, row) is Outcome.INCONCLUSIVE
    ]
    if not open_:
        return ""
    smaller = min(open_, key=lambda row: row.bytes or 0)
    return f" {smaller.label} is smaller and may pass too, which this much measuring cannot tell."


def _none_passes(known: list[SweepRow], gate: Gate, verdicts: dict[str, GateVerdict], original_bytes: int) -> str:
    open_ = [row for row in known if _outcome(verdicts, row) is Outcome.INCONCLUSIVE]
    if open_:
        chosen = min(open_, key=lambda row: (row.bytes or 0, _kl(row)))
        reasons = [
            row.sentence for row in verdicts[chosen.key].rows if row.outcome is Outcome.INCONCLUSIVE and not row.guard
        ]
        return (
            f"Nothing surely passes {gate.title.lower()}. {chosen.label} may, at {_share(chosen, original_bytes)} of "
            f"the size: {' '.join(reasons)}"
        )
    closest = min(known, key=_kl)
    missed = [row.sentence for row in verdicts[closest.key].rows if row.outcome is Outcome.FAIL]
    return (
        f"Nothing passes {gate.title.lower()}. {closest.label} comes closest to the original, at "
        f"{_share(closest, original_bytes)} of the size: {' '.join(missed)}"
    )


def _outcome(verdicts: dict[str, GateVerdict], row: SweepRow) -> Outcome | None:
    found = verdicts.get(row.key)
    return found.outcome if found else None


def _share(row: SweepRow, original_bytes: int) -> str:
    return f"{(row.bytes or 0) / original_bytes * 100:.0f} %" if original_bytes else "an unknown share"


def _unmeasurable(row: SweepRow) -> str:
    return " (no measurable difference)" if row.fidelity and row.fidelity.measurable is False else ""


def _kl(row: SweepRow) -> float:
    return row.fidelity.kl_interval.value if row.fidelity else float("inf")


def _low(row: SweepRow) -> float:
    return row.fidelity.kl_interval.low if row.fidelity else float("inf")


def _high(row: SweepRow) -> float:
    return row.fidelity.kl_interval.high if row.fidelity else float("inf")
