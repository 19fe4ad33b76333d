"""What the Compress page says of goals, machines, findings and estimates. No Qt."""

from __future__ import annotations

from collections.abc import Callable

from core.methods.method import Method
from core.plan.advice import parts_of
from core.plan.estimates import Estimates
from core.plan.finding import Severity
from core.plan.hardware import where_it_runs
from core.plan.machine import Machine
from core.plan.method_plan import Goal, MethodPlan
from core.value import Range
from ui.humanize import bytes_text, duration_text, memory_text
from ui.tone import Tone

GOALS: tuple[tuple[Goal, str, str], ...] = (
    (Goal.CHAT, "Chat and retrieval", "One request at a time: short waits matter most."),
    (Goal.BATCH, "Batch at full load", "Many requests at once: tokens per second matter most."),
    (Goal.SMALLEST, "As small as can be", "Disk and memory matter most."),
    (Goal.FAITHFUL, "As faithful as can be", "Staying close to the original matters most."),
)

SEVERITY: dict[Severity, tuple[str, Tone]] = {
    Severity.BLOCKS: ("blocks", Tone.FAILED),
    Severity.WARNS: ("look", Tone.ATTENTION),
    Severity.NOTES: ("note", Tone.NEUTRAL),
}


def method_reason(method: Method, plan: MethodPlan | None) -> str:
    """Why the method stands where it does for this goal, and what it does."""
    parts = [method.explanation]
    if plan is not None and plan.reason not in ("", method.explanation):
        parts.insert(0, plan.reason)
    return "\n\n".join(parts)


def method_facts(method: Method, machine: Machine | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Headings with sentences: what it needs, where the result runs, who described it."""
    facts = (
        ("Needs", method.requirements),
        ("The result runs in", where_it_runs(method.scheme, machine, parts_of(method))),
        ("Published figures", method.published),
        ("Sources", tuple(source.title for source in method.sources)),
    )
    return tuple((heading, sentences) for heading, sentences in facts if sentences)


def needs_data(method: Method, plan: MethodPlan | None) -> bool:
    """Whether it needs calibration data with the parameters that are set."""
    return method.calibrates(plan.recipe.parameters if plan else method.defaults(None))


def machine_lines(machine: Machine) -> tuple[str, ...]:
    """The hardware in a few short lines."""
    lines: list[str] = []
    for gpu in machine.gpus:
        lines.append(f"{gpu.name.removeprefix('NVIDIA ')} · {_whole(gpu.memory_total)}")
        if gpu.capability:
            lines.append(f"compute capability {gpu.capability[0]}.{gpu.capability[1]}")
    if not machine.gpus:
        lines.append(machine.no_gpu_reason or "There is no NVIDIA GPU here.")
    lines.append(f"{machine.cpu_name} · {machine.cores} cores")
    lines.append(f"{_whole(machine.memory_total)} RAM, {memory_text(machine.memory_available)} free")
    return tuple(lines)


def need_facts(estimates: Estimates) -> tuple[tuple[str, str], ...]:
    """What a job is expected to need, as ranges."""
    rows = [("Time", _range(estimates.seconds, duration_text))]
    if estimates.device_bytes.high > 0:
        rows.append(("VRAM to make it", _range(estimates.device_bytes, memory_text)))
    rows.append(("RAM to make it", _range(estimates.host_bytes, memory_text)))
    rows.append(("Disk while it runs", bytes_text(estimates.disk_bytes)))
    rows.append(("On disk at the end", bytes_text(estimates.artifact_bytes)))
    return tuple(rows)


def _whole(count: int) -> str:
    return memory_text(count).replace(".0 ", " ")


def _range(span: Range, text: Callable[[float], str]) -> str:
    low, high = text(span.low), text(span.high)
    if low == high:
        return low
    if low.split(" ")[1:] == high.split(" ")[1:]:
        low = low.split(" ")[0]
    return f"{low} to {high}"
