from __future__ import annotations

import shutil
from pathlib import Path

from llama_shapes import gpu

from core.plan.machine import Gpu
from core.plan.read_machine import existing_parent, read_machine


def no_gpus() -> tuple[tuple[Gpu, ...], str]:
    return (), "No NVIDIA driver was found on this machine."


def test_that_this_machine_is_read(tmp_path: Path):
    machine = read_machine(tmp_path / "not" / "yet" / "there", no_gpus, cgroup=tmp_path)
    assert machine.cores >= 1
    assert machine.cpu_name
    assert 0 < machine.memory_available <= machine.memory_total
    assert machine.disk_free > 0
    assert abs(machine.disk_free - shutil.disk_usage(tmp_path).free) < 10**9
    assert machine.no_gpu_reason == "No NVIDIA driver was found on this machine."


def test_that_gpus_come_without_a_reason_for_their_absence(tmp_path: Path):
    machine = read_machine(tmp_path, lambda: ((gpu((9, 0)),), ""), cgroup=tmp_path)
    assert machine.gpus[0].capability == (9, 0)
    assert machine.no_gpu_reason == ""


def test_that_a_containers_limit_is_the_machines_memory(tmp_path: Path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    machine = read_machine(tmp_path, no_gpus, cgroup=tmp_path)
    assert (machine.memory_total, machine.memory_available) == (1_000_000, 700_000)


def test_that_no_limit_is_no_limit(tmp_path: Path):
    (tmp_path / "memory.max").write_text("max\n")
    assert read_machine(tmp_path, no_gpus, cgroup=tmp_path).memory_total > 10**8


def test_that_the_nearest_folder_that_exists_is_found(tmp_path: Path):
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert existing_parent(tmp_path) == tmp_path
