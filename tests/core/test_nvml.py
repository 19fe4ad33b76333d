"""Facts about reading GPUs, from what a driver answers: recorded by hand where no GPU is at hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.telemetry.nvml import NoNvml, Nvml, open_nvml, read_gpus

DATA = Path(__file__).parents[1] / "data" / "nvml_workstation.json"
READINGS = (
    "memory_used",
    "memory_total",
    "memory_ours",
    "load",
    "memory_load",
    "power",
    "power_limit",
    "temperature",
    "sm_clock",
    "memory_clock",
    "throttle",
)


class NVMLError(Exception):
    """What pynvml raises; its subclasses are named as there."""


def error(name: str) -> NVMLError:
    return type(f"NVMLError_{name}", (NVMLError,), {})(name)


class FakeDriver:
    """Stands where the module pynvml stands; a string for an answer is the name of the error to raise."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    nvmlMemory_v2 = 0x02000028  # noqa: N815
    nvmlClocksThrottleReasonSwPowerCap = 4  # noqa: N815
    nvmlClocksThrottleReasonHwThermalSlowdown = 64  # noqa: N815

    def __init__(self, devices: list[dict[str, Any]], *, init: str = "", old: bool = False) -> None:
        self.devices = devices
        self.init = init
        self.old = old
        self.open = 0

    def nvmlInit(self) -> None:
        if self.init:
            raise error(self.init)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if "refused" in self.devices[index]:
            raise error(self.devices[index]["refused"])
        return self.devices[index]

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any], version: int | None = None) -> Any:
        if self.old and version is not None:
            raise error("FunctionNotFound")
        return self._answer(handle, "nvmlDeviceGetMemoryInfo")

    def nvmlDeviceGetClockInfo(self, handle: dict[str, Any], clock: int) -> Any:
        answer = self._answer(handle, "nvmlDeviceGetClockInfo")
        return vars(answer)[str(clock)]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)
        return lambda handle, *_: self._answer(handle, name)

    @staticmethod
    def _answer(handle: dict[str, Any], name: str) -> Any:
        answer = handle.get(name, "NotSupported")
        if isinstance(answer, str) and name != "nvmlDeviceGetName":
            raise error(answer)
        return json.loads(json.dumps(answer), object_hook=lambda found: SimpleNamespace(**found))


def devices() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DATA.read_text())["devices"]
    return found


def opened(driver: FakeDriver) -> Nvml:
    nvml = open_nvml(driver)
    assert isinstance(nvml, Nvml)
    return nvml


def test_that_every_reading_comes_in_its_unit() -> None:
    sample = opened(FakeDriver(devices())).read({100, 101})[0]
    assert (sample.index, sample.name) == (0, "NVIDIA H200")
    assert (sample.memory_used, sample.memory_total, sample.memory_ours) == (10**10, 150754820096, 7 * 10**9)
    assert (sample.load, sample.memory_load) == (97.0, 41.0)
    assert (sample.power, sample.power_limit, sample.temperature) == (512.34, 700.0, 61.0)
    assert (sample.sm_clock, sample.memory_clock, sample.throttle) == (1980, 3201, "power limit")


def test_that_what_a_board_does_not_support_is_none_and_the_rest_is_read() -> None:
    sample = opened(FakeDriver(devices())).read({100})[1]
    assert (sample.power, sample.power_limit, sample.memory_ours) == (None, None, None)
    assert (sample.temperature, sample.sm_clock, sample.load) == (34.0, 210, 0.0)
    assert sample.throttle is None, "an idle GPU is not throttled"


def test_that_without_a_worker_no_memory_is_ours() -> None:
    assert opened(FakeDriver(devices())).read()[0].memory_ours is None


@pytest.mark.parametrize("failure", ["NotSupported", "NoPermission", "GpuIsLost", "Unknown"])
def test_that_a_board_that_answers_nothing_is_a_row_of_gaps(failure: str) -> None:
    silent = dict.fromkeys(devices()[0], failure) | {"nvmlDeviceGetName": "NVIDIA H200 MIG"}
    nvml = opened(FakeDriver([silent]))
    sample = nvml.read({100})[0]
    assert [getattr(sample, name) for name in READINGS] == [None] * len(READINGS)
    assert nvml.devices() == ()


def test_that_one_refused_board_leaves_the_others_with_their_numbers() -> None:
    driver = FakeDriver([{"refused": "NoPermission"}, devices()[1]])
    assert [sample.index for sample in opened(driver).read()] == [1]


def test_that_planning_gets_capability_and_what_others_hold() -> None:
    first, second = opened(FakeDriver(devices())).devices({100, 101})
    assert (first.index, first.capability, first.others_bytes) == (0, (9, 0), 3 * 10**9)
    assert (second.memory_total, second.memory_free, second.capability) == (12884901888, 12 * 10**9, (8, 6))
    assert second.others_bytes == 500_000_000


def test_that_an_older_driver_without_the_newer_memory_call_is_read() -> None:
    assert opened(FakeDriver(devices(), old=True)).read()[0].memory_total == 150754820096


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("LibraryNotFound", "No NVIDIA driver"),
        ("DriverNotLoaded", "not loaded"),
        ("LibRmVersionMismatch", "restart"),
        ("Unknown", "does not answer"),
    ],
)
def test_that_a_machine_without_nvml_says_why_in_one_sentence(failure: str, said: str) -> None:
    nvml = open_nvml(FakeDriver([], init=failure))
    assert isinstance(nvml, NoNvml)
    assert said in nvml.reason
    assert nvml.reason.endswith(".")
    assert (nvml.read(), nvml.devices()) == ((), ())


def test_that_a_driver_without_gpus_is_given_back_and_says_so() -> None:
    driver = FakeDriver([])
    found, reason = read_gpus(driver)
    assert (found, reason, driver.open) == ((), "The NVIDIA driver sees no GPU.", 0)


def test_that_reading_once_gives_the_driver_back() -> None:
    driver = FakeDriver(devices())
    found, reason = read_gpus(driver)
    assert [gpu.name for gpu in found] == ["NVIDIA H200", "NVIDIA GeForce RTX 3060"]
    assert (reason, driver.open) == ("", 0)


def test_that_this_machine_either_has_gpus_or_a_reason() -> None:
    found, reason = read_gpus()
    assert bool(found) is not bool(reason)
