"""Which of the machine's devices a job would run on."""

from __future__ import annotations

from collections.abc import Iterator

from core.plan.finding import Finding, Severity
from core.plan.machine import Machine


def job_machine(machine: Machine, device: str) -> Machine:
    """The machine as a job on this device sees it: `auto`, `cpu`, `cuda` or `cuda:N`. The chosen GPU comes first."""
    if device == "cpu":
        return machine.model_copy(update={"jobs_on_gpu": False})
    index = _index(device)
    if index is None or not 0 < index < len(machine.gpus):
        return machine
    chosen = machine.gpus[index]
    return machine.model_copy(update={"gpus": (chosen, *(gpu for gpu in machine.gpus if gpu is not chosen))})


def device_findings(machine: Machine, device: str) -> Iterator[Finding]:
    """Whether the device is there; `machine` as it was read, before `job_machine`."""
    index = _index(device)
    if index is None:
        return
    if not machine.gpus:
        why = machine.no_gpu_reason or "There is no NVIDIA GPU."
    elif not machine.jobs_on_gpu:
        why = "The installed torch is built without CUDA."
    elif index >= len(machine.gpus):
        why = f"There {'is 1 GPU' if len(machine.gpus) == 1 else f'are {len(machine.gpus)} GPUs'}, counted from 0."
    else:
        return
    yield Finding(
        code="no-such-device",
        severity=Severity.BLOCKS,
        message=f"The job is to run on {device}, which is not there. {why} Choose the device auto or cpu, in the "
        "settings or with --device.",
    )


def _index(device: str) -> int | None:
    """The number of the wanted GPU; None where none is asked for."""
    if device == "cuda":
        return 0
    return int(device.removeprefix("cuda:")) if device.startswith("cuda:") else None
