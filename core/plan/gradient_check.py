"""Whether a pass for gradients fits into this machine's memory."""

from __future__ import annotations

from collections.abc import Iterator

from core.plan.finding import Finding, Severity
from core.plan.job import Job
from core.plan.machine import Machine
from core.plan.memory import asks_gradients, gradient_least
from core.plan.words import memory


def gradient_findings(job: Job, machine: Machine) -> Iterator[Finding]:
    """A backward pass that cannot fit, with the measure that needs none."""
    if not asks_gradients(job) or gradient_least(job) <= machine.memory_available:
        return
    yield Finding(
        code="gradients-too-large",
        severity=Severity.BLOCKS,
        message="To measure how sensitive weights are by gradients takes the weights and one sum in 32 bits for each "
        f"weight that is compressed, {memory(gradient_least(job))} at the least, and "
        f"{memory(machine.memory_available)} are available. Measure it by activations instead: activation-weighted, "
        "about 0.3 perplexity worse in the paper's D.4.",
        fix={"sensitivity": "activation"},
    )
