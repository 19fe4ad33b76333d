"""The machine that a job will run on, as a value."""

from __future__ import annotations

from core.value import Received


class Gpu(Received):
    """One NVIDIA GPU; bytes, and its CUDA compute capability."""

    index: int
    name: str
    memory_total: int
    memory_free: int
    capability: tuple[int, int] | None = None
    others_bytes: int = 0
    """Held by other processes."""


class Machine(Received):
    """Hardware at one moment; bytes. `no_gpu_reason` is one sentence where `gpus` is empty."""

    cpu_name: str
    cores: int
    memory_total: int
    memory_available: int
    gpus: tuple[Gpu, ...] = ()
    no_gpu_reason: str = ""
    disk_free: int = 0
    """On the disk that the output goes to."""
    jobs_on_gpu: bool = True
    """False where the installed torch is built without CUDA, so that jobs run on the processor all the same."""
