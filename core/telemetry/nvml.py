"""The one door to NVML: whatever the driver cannot or will not tell becomes None."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from core.plan.machine import Gpu
from core.telemetry.sample import GpuSample

T = TypeVar("T")

THROTTLES = (
    ("nvmlClocksThrottleReasonHwThermalSlowdown", "too hot (hardware)"),
    ("nvmlClocksThrottleReasonSwThermalSlowdown", "too hot"),
    ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", "power brake"),
    ("nvmlClocksThrottleReasonHwSlowdown", "hardware slowdown"),
    ("nvmlClocksThrottleReasonSwPowerCap", "power limit"),
    ("nvmlClocksThrottleReasonSyncBoost", "kept in step with another GPU"),
)
"""NVML's bits that mean a GPU is slower than it could be, the worst first; an idle GPU is not one of them."""

REASONS = {
    "NVMLError_LibraryNotFound": "No NVIDIA driver was found on this machine.",
    "NVMLError_DriverNotLoaded": "The NVIDIA driver is installed but not loaded.",
    "NVMLError_NoPermission": "This user may not ask the NVIDIA driver about its GPUs.",
    "NVMLError_LibRmVersionMismatch": "The NVIDIA driver was updated; restart the machine to use its GPUs.",
}


@dataclass(frozen=True, slots=True)
class NoNvml:
    """A machine without an NVIDIA GPU that can be asked; `reason` is one sentence."""

    reason: str
    driver: str = ""

    def read(self, ours: Collection[int] = ()) -> tuple[GpuSample, ...]:
        return ()

    def devices(self, ours: Collection[int] = ()) -> tuple[Gpu, ...]:
        return ()

    def close(self) -> None:
        """Nothing to give back."""


class Nvml:
    """NVML, initialised; readings may be taken from any thread. `library` is the module pynvml or one like it."""

    reason = ""

    def __init__(self, library: Any, handles: tuple[tuple[int, Any], ...]) -> None:
        self._library = library
        self._handles = handles

    def close(self) -> None:
        """Give the driver back."""
        self._ask("nvmlShutdown")

    @property
    def driver(self) -> str:
        """The driver's version; empty where it does not tell."""
        found = self._ask("nvmlSystemGetDriverVersion")
        return found.decode(errors="replace") if isinstance(found, bytes) else str(found or "")

    def read(self, ours: Collection[int] = ()) -> tuple[GpuSample, ...]:
        """One sample a GPU; `ours` are the process ids whose memory counts as ours."""
        return tuple(self._sample(index, handle, ours) for index, handle in self._handles)

    def devices(self, ours: Collection[int] = ()) -> tuple[Gpu, ...]:
        """The GPUs for planning; one whose memory cannot be read (as under MIG without permission) is left out."""
        found = []
        for index, handle in self._handles:
            memory = self._memory(handle)
            if memory is None:
                continue
            capability = self._ask("nvmlDeviceGetCudaComputeCapability", handle)
            mine = self._memory_of(handle, ours) or 0
            found.append(
                Gpu(
                    index=index,
                    name=self._name(index, handle),
                    memory_total=int(memory.total),
                    memory_free=int(memory.free),
                    capability=None if capability is None else (int(capability[0]), int(capability[1])),
                    others_bytes=max(0, int(memory.used) - mine),
                )
            )
        return tuple(found)

    def _sample(self, index: int, handle: Any, ours: Collection[int]) -> GpuSample:
        memory = self._memory(handle)
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        return GpuSample(
            index=index,
            name=self._name(index, handle),
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            memory_ours=self._memory_of(handle, ours) if ours else None,
            load=None if rates is None else float(rates.gpu),
            memory_load=None if rates is None else float(rates.memory),
            power=_watts(self._ask("nvmlDeviceGetPowerUsage", handle)),
            power_limit=_watts(self._ask("nvmlDeviceGetEnforcedPowerLimit", handle)),
            temperature=_number(
                self._ask("nvmlDeviceGetTemperature", handle, self._constant("NVML_TEMPERATURE_GPU", 0)), float
            ),
            sm_clock=_number(self._ask("nvmlDeviceGetClockInfo", handle, self._constant("NVML_CLOCK_SM", 1)), int),
            memory_clock=_number(self._ask("nvmlDeviceGetClockInfo", handle, self._constant("NVML_CLOCK_MEM", 2)), int),
            throttle=self._throttle(handle),
        )

    def _ask(self, function: str, *arguments: Any, **named: Any) -> Any:
        """What NVML answers, or None: not supported, no permission, a lost GPU, or a function of a newer driver."""
        try:
            return getattr(self._library, function)(*arguments, **named)
        except (self._library.NVMLError, AttributeError):
            return None

    def _constant(self, name: str, fallback: int) -> int:
        return int(getattr(self._library, name, fallback))

    def _memory(self, handle: Any) -> Any:
        """Version 2 does not count what the driver reserves for itself as used; older drivers know version 1 only."""
        version = getattr(self._library, "nvmlMemory_v2", None)
        newer = None if version is None else self._ask("nvmlDeviceGetMemoryInfo", handle, version=version)
        return newer if newer is not None else self._ask("nvmlDeviceGetMemoryInfo", handle)

    def _memory_of(self, handle: Any, pids: Collection[int]) -> int | None:
        """Bytes that processes hold; None where the driver does not say (WDDM, some MIG set-ups, containers)."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses", handle)
        if processes is None:
            return None
        held = [process.usedGpuMemory for process in processes if process.pid in pids]
        return None if any(bytes_ is None for bytes_ in held) else sum(int(bytes_) for bytes_ in held)

    def _name(self, index: int, handle: Any) -> str:
        name = self._ask("nvmlDeviceGetName", handle)
        if isinstance(name, bytes):  # what pynvml gave before version 11.5
            name = name.decode(errors="replace")
        return str(name or f"GPU {index}")

    def _throttle(self, handle: Any) -> str | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        if bits is None:
            return None
        return next((said for name, said in THROTTLES if int(bits) & self._constant(name, 0)), None)


def open_nvml(library: Any = None) -> Nvml | NoNvml:
    """NVML ready to be asked, or why not. Loads the driver's library: some hundred milliseconds where there is one."""
    if library is None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            return NoNvml("The package nvidia-ml-py is not installed.")
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return NoNvml(REASONS.get(type(error).__name__, f"The NVIDIA driver does not answer: {error}."))
    handles = []
    refused = ""
    try:
        for index in range(library.nvmlDeviceGetCount()):
            try:
                handles.append((index, library.nvmlDeviceGetHandleByIndex(index)))
            except library.NVMLError as error:
                refused = f"The NVIDIA driver does not give access to GPU {index}: {error}."
    except library.NVMLError as error:
        refused = f"The NVIDIA driver does not list its GPUs: {error}."
    if not handles:
        library.nvmlShutdown()
        return NoNvml(refused or "The NVIDIA driver sees no GPU.")
    return Nvml(library, tuple(handles))


def read_gpus(library: Any = None) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs, and one sentence on why there are none."""
    nvml = open_nvml(library)
    try:
        found = nvml.devices()
    finally:
        nvml.close()
    return found, "" if found else nvml.reason or "The NVIDIA driver does not tell the memory of its GPUs."


def _watts(milliwatts: Any) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _number(value: Any, kind: Callable[[Any], T]) -> T | None:
    return None if value is None else kind(value)
