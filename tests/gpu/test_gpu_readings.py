"""Facts about reading a real NVIDIA GPU while a real process computes on it."""

import subprocess
import sys

import pytest

from core.telemetry.nvml import Nvml, open_nvml, read_gpus

pytestmark = pytest.mark.gpu

HELD = 512 * 2**20
HOLD = f"""
import torch
block = torch.zeros({HELD}, dtype=torch.uint8, device="cuda:0")
torch.cuda.synchronize()
print("ready", flush=True)
input()
"""


def test_that_every_gpu_has_a_name_memory_and_capability() -> None:
    found, reason = read_gpus()
    assert found, reason
    for gpu in found:
        assert gpu.name
        assert 0 < gpu.memory_free <= gpu.memory_total
        assert gpu.capability is not None
        assert gpu.capability >= (3, 0)


def test_that_a_process_s_memory_shows_on_the_board_and_goes_with_it() -> None:
    nvml = open_nvml()
    assert isinstance(nvml, Nvml)
    idle = nvml.read()[0].memory_used
    assert idle is not None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sample = nvml.read({process.pid})[0]
        assert sample.memory_used is not None
        assert sample.memory_used - idle >= HELD
        # In a container the driver may know the process by another number, and then nothing is ours.
        assert sample.memory_ours in (0, None) or sample.memory_ours >= HELD
        process.kill()
    nvml.close()


def test_that_load_power_temperature_and_clocks_are_numbers_or_gaps() -> None:
    nvml = open_nvml()
    for sample in nvml.read():
        assert sample.load is None or 0 <= sample.load <= 100
        assert sample.power is None or 0 < sample.power < 5000
        assert sample.temperature is None or 0 < sample.temperature < 150
        assert sample.sm_clock is None or 0 < sample.sm_clock < 10_000
    nvml.close()
