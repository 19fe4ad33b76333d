"""Whether this machine has room for a job, and can run what comes out."""

from __future__ import annotations

from collections.abc import Iterator

from core.methods.catalogue import METHODS
from core.methods.method import Method
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.plan.hardware import PROCESSOR_SCHEMES, runs_at_all, runs_natively
from core.plan.machine import Gpu, Machine
from core.plan.words import duration, memory, size

_WORTH_SAYING = 512 * 2**20
"""Memory of other programs on the GPU that is worth a line, in bytes."""

_USABLE = 0.9
"""Share of a GPU's memory that vLLM takes by default."""


def room_findings(estimates: Estimates, machine: Machine) -> Iterator[Finding]:
    """Findings about disk and memory for making the artifact."""
    if estimates.disk_bytes > machine.disk_free:
        yield Finding(
            code="disk-too-small",
            severity=Severity.BLOCKS,
            message=f"The output's disk has {size(machine.disk_free)} free and the job needs "
            f"{size(estimates.disk_bytes)}. Free some space or choose another output folder.",
        )
    elif estimates.disk_bytes * 1.1 > machine.disk_free:
        yield Finding(
            code="disk-tight",
            severity=Severity.WARNS,
            message=f"The output's disk has {size(machine.disk_free)} free, hardly more than the "
            f"{size(estimates.disk_bytes)} that the job needs.",
        )
    need = estimates.host_bytes
    least = estimates.host_least_bytes or need.low
    if least > machine.memory_available:
        yield Finding(
            code="memory-too-small",
            severity=Severity.BLOCKS,
            message=f"The job needs at least {memory(least)} of memory and {memory(machine.memory_available)} of "
            f"{memory(machine.memory_total)} are available. "
            + (
                "Close other programs."
                if need.high < machine.memory_total
                else "Use a machine with more memory, or a smaller model."
            ),
        )
    elif need.high > machine.memory_available:
        yield Finding(
            code="memory-tight",
            severity=Severity.WARNS,
            message=f"The job is expected to take {memory(need.low)} to {memory(need.high)} of memory, and "
            f"{memory(machine.memory_available)} are available. Close other programs, or use fewer or shorter "
            "calibration samples.",
        )
    if machine.gpus and machine.jobs_on_gpu:
        yield from _gpu_room(estimates, machine.gpus[0])


def kernel_findings(method: Method, estimates: Estimates, machine: Machine) -> Iterator[Finding]:
    """Findings about where the job runs and whether this machine can run the artifact with kernels of its own."""
    if not machine.gpus:
        serves = (
            "vLLM's processor build can serve the artifact here."
            if method.scheme in PROCESSOR_SCHEMES
            else "The artifact is for a GPU elsewhere; on processors choose "
            f"{' or '.join(each.title for each in METHODS if each.scheme in PROCESSOR_SCHEMES)}."
        )
        yield Finding(
            code="no-gpu",
            severity=Severity.NOTES,
            message=f"{machine.no_gpu_reason or 'There is no NVIDIA GPU.'} The job runs on the processor "
            f"({machine.cores} cores) and takes about {duration(estimates.seconds.value)}. {serves}",
        )
        return
    gpu = machine.gpus[0]
    if not machine.jobs_on_gpu:
        yield Finding(
            code="torch-without-cuda",
            severity=Severity.NOTES,
            message=f"{gpu.name} is here, but the installed torch is built without CUDA, so the job runs on the "
            f"processor ({machine.cores} cores). Install a CUDA build of torch to use the GPU.",
        )
    if gpu.capability is None:
        return
    native, sentence = runs_natively(method.scheme, gpu.capability)
    if not native:
        others = [each.title for each in METHODS if runs_natively(each.scheme, gpu.capability)[0]]
        instead = f" To run it here, {' or '.join(others)} suit {gpu.name} better." if others else ""
        if len(others) == 1:
            instead = instead.replace(" suit ", " suits ")
        yield Finding(
            code="no-kernels",
            severity=Severity.NOTES if runs_at_all(method.scheme, gpu.capability) else Severity.WARNS,
            message=sentence + instead,
        )
    total = sum(each.memory_total for each in machine.gpus)
    if estimates.run_bytes > _USABLE * total:
        yield Finding(
            code="too-large-to-run",
            severity=Severity.WARNS,
            message=f"To run, the artifact needs about {memory(estimates.run_bytes)} with 8,192 tokens of context, and "
            f"the GPU{'s have' if len(machine.gpus) > 1 else ' has'} {memory(total)}."
            + ("" if (method.weight_bits or 16) <= 4 else " A 4-bit method may fit."),
        )


def _gpu_room(estimates: Estimates, gpu: Gpu) -> Iterator[Finding]:
    need = estimates.device_bytes
    if need.low > gpu.memory_free:
        holds = (
            f" Other programs hold {memory(gpu.others_bytes)}: close them."
            if need.low <= gpu.memory_total and gpu.others_bytes
            else ""
        )
        yield Finding(
            code="gpu-too-small",
            severity=Severity.BLOCKS,
            message=f"The job needs at least {memory(need.low)} on {gpu.name} and {memory(gpu.memory_free)} of "
            f"{memory(gpu.memory_total)} are free.{holds} Or choose the device cpu in the settings.",
        )
        return
    if need.high > gpu.memory_free:
        yield Finding(
            code="gpu-tight",
            severity=Severity.WARNS,
            message=f"The job is expected to take {memory(need.low)} to {memory(need.high)} on {gpu.name}, and "
            f"{memory(gpu.memory_free)} are free. Use fewer or shorter calibration samples if it runs out.",
        )
    if gpu.others_bytes > _WORTH_SAYING:
        yield Finding(
            code="gpu-shared",
            severity=Severity.NOTES,
            message=f"Other programs hold {memory(gpu.others_bytes)} of {gpu.name}'s memory.",
        )
