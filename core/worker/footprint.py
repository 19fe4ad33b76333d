"""How much room a model takes: on disk, and in memory while it works."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch


def weight_bytes(model: str) -> int:
    """Bytes of the safetensors files in a model's folder."""
    return sum(path.stat().st_size for path in Path(model).glob("*.safetensors"))


def free_bytes(device: torch.device) -> int:
    """Memory that a model may still take on the device: the GPU's free memory, else the machine's available memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def resident_bytes() -> int:
    """Resident memory of this process now, in bytes."""
    import psutil

    return int(psutil.Process(os.getpid()).memory_info().rss)


class PeakMemory:
    """Peak memory from the moment of making: the device's on CUDA, else this process's above its level then.

    Linux can forget the earlier peak of a process; elsewhere the peak is the process's whole life's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._level = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _forget_peak()
            self._level = resident_bytes()

    def bytes(self) -> int:
        """The peak so far, in bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return max(0, peak_resident() - self._level)


def memory_now(device: torch.device) -> int:
    """The device's peak since it was last reset on CUDA, else this process's resident memory now, in bytes."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else resident_bytes()


def wait(device: torch.device) -> None:
    """Return when the device has done all that it was given; a clock read before that measures only the asking."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak() -> None:
    try:
        # proc(5): writing 5 sets the peak resident size back to the current one.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def process_peaks() -> dict[str, int]:
    """The largest memory that this process had: resident, and what torch held on its devices; in bytes."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "host_peak_bytes": peak_resident(),
        "device_peak_bytes": max(map(torch.cuda.max_memory_reserved, devices), default=0),
    }


def peak_resident() -> int:
    """Largest resident memory of this process, in bytes.

    Not getrusage's figure where it can be helped: on Linux that survives exec, so a worker would inherit the peak of
    the process that started it.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # getrusage counts bytes on macOS and kibibytes elsewhere.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
