"""From which batch on a compressed model is slower than its original."""

from __future__ import annotations

from core.report.data import Speed


def slower_above(speed: Speed) -> str:
    """A sentence about tokens per second where the compressed model falls behind; empty where it never does."""
    beside = {(c.batch, c.prompt_tokens, c.output_tokens): c for c in speed.original.cases} if speed.original else {}
    compared = [
        (case.batch, case.tokens_per_second.high < other.tokens_per_second.low)
        for case in sorted(speed.compressed.cases, key=lambda one: one.batch)
        if (other := beside.get((case.batch, case.prompt_tokens, case.output_tokens)))
    ]
    slower = [batch for batch, behind in compared if behind]
    if not slower:
        return ""
    if len(slower) == len(compared):
        return "fewer tokens per second than the original at every batch measured."
    faster = [batch for batch, behind in compared if not behind and batch < slower[0]]
    rising = all(behind for batch, behind in compared if batch >= slower[0])
    if faster and rising:
        return f"fewer tokens per second than the original above batch {max(faster)}."
    return f"fewer tokens per second than the original at batch {', '.join(str(batch) for batch in slower)}."
