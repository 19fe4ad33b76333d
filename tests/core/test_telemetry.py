"""Facts about reading the machine: this host really, GPUs through what a driver answers."""

import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from core.telemetry import host
from core.telemetry.host import HostReader, WorkerTree, disk_free
from core.telemetry.recording import TELEMETRY_FILE, Recording, read_samples
from core.telemetry.sample import GpuSample, HostSample, Sample
from core.telemetry.sampler import Sampler, machine_sampler

SAMPLE = Sample(
    time=1.5,
    host=HostSample(cpu=12.5, memory_used=3, memory_total=8),
    gpus=(GpuSample(index=0, name="NVIDIA <b>H200</b>", memory_used=5),),
)


def wait_for(samples: list[Sample], more: int, arrived: threading.Event) -> None:
    wanted = len(samples) + more
    while len(samples) < wanted:
        assert arrived.wait(20)
        arrived.clear()


def test_that_the_host_is_read_with_rates_from_the_second_reading_on(tmp_path: Path) -> None:
    reader = HostReader(tmp_path)
    first, second = reader.read(), reader.read()
    assert 0 <= second.cpu <= 100
    assert 0 < second.memory_used < second.memory_total == psutil.virtual_memory().total
    assert second.worker_memory is None
    assert first.disk_read is None
    assert second.disk_free is not None


def test_that_a_worker_s_memory_counts_its_children(tmp_path: Path) -> None:
    grow = "import sys, time; block = b'x' * 60_000_000; print('ready', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grow!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        tree = WorkerTree(process.pid)
        tree.refresh()
        assert len(tree.pids) == 2
        memory = tree.memory()
        assert memory is not None
        assert memory > 60_000_000 + psutil.Process(process.pid).memory_info().rss
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()


def test_that_a_worker_that_is_gone_is_a_gap_and_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        tree = WorkerTree(process.pid)
        tree.refresh()
        assert tree.memory()
        process.kill()
    sample = HostReader().read(tree)
    assert (sample.worker_memory, sample.worker_cpu) == (None, None)
    never = WorkerTree(2**22 + 1)
    never.refresh()
    assert HostReader().read(never).worker_memory is None


def test_that_the_processor_time_of_a_worker_is_percent_of_one_core() -> None:
    tree = WorkerTree(os.getpid())
    tree.refresh()
    assert tree.cpu() is None
    sum(range(3_000_000))
    percent = tree.cpu()
    assert percent is not None
    assert percent >= 0


def test_that_hidden_disk_counters_are_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> None:
        raise FileNotFoundError("/proc/diskstats")

    monkeypatch.setattr(host.psutil, "disk_io_counters", hidden)
    reader = HostReader()
    reader.read()
    assert reader.read().disk_read is None


def test_that_free_space_is_known_for_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    assert disk_free(tmp_path / "a" / "b") == pytest.approx(disk_free(tmp_path), rel=0.1)


def test_that_this_machine_has_a_name_memory_and_cores() -> None:
    total, available = host.memory()
    assert 0 < available <= total
    assert 1 <= host.cores() <= (os.cpu_count() or 1)
    assert host.cpu_name()


def test_that_samples_survive_the_file_and_a_torn_last_line(tmp_path: Path) -> None:
    assert read_samples(tmp_path) == ()
    for number in range(2):  # a run that is opened again goes on in the same file
        recording = Recording(tmp_path)
        recording.append(SAMPLE.model_copy(update={"time": float(number)}))
        recording.close()
    recording.append(SAMPLE)
    with (tmp_path / TELEMETRY_FILE).open("ab") as stream:
        stream.write(SAMPLE.model_dump_json().encode()[:40])
    assert read_samples(tmp_path) == tuple(SAMPLE.model_copy(update={"time": float(n)}) for n in range(2))


def test_that_the_sampler_reads_on_a_thread_of_its_own_and_stops() -> None:
    samples: list[Sample] = []
    threads: set[int | None] = set()
    pids: list[int | None] = []
    arrived = threading.Event()

    def read(pid: int | None) -> Sample:
        threads.add(threading.get_ident())
        pids.append(pid)
        return SAMPLE

    def listen(sample: Sample) -> None:
        samples.append(sample)
        arrived.set()

    sampler = Sampler(lambda: nullcontext(read), interval=0.01)
    unsubscribe = sampler.subscribe(listen)
    sampler.start()
    sampler.start()
    wait_for(samples, 2, arrived)
    sampler.set_worker(77)
    wait_for(samples, 2, arrived)
    sampler.stop()
    assert not sampler.running
    assert threading.get_ident() not in threads
    assert len(threads) == 1
    assert (pids[0], pids[-1]) == (None, 77)
    count = len(samples)
    sampler.start()
    wait_for(samples, 1, arrived)
    unsubscribe()
    sampler.stop()
    assert len(samples) > count


def test_that_a_reading_or_a_listener_that_fails_leaves_a_gap_and_the_sampler_alive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = 0
    samples: list[Sample] = []
    arrived = threading.Event()

    def read(_: int | None) -> Sample:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise psutil.AccessDenied(1)
        return SAMPLE

    def stumble(_: Sample) -> None:
        raise RuntimeError("a page fell over")

    def listen(sample: Sample) -> None:
        samples.append(sample)
        arrived.set()

    sampler = Sampler(lambda: nullcontext(read), interval=0.01)
    sampler.subscribe(stumble)
    sampler.subscribe(listen)
    sampler.start()
    wait_for(samples, 2, arrived)
    sampler.stop()
    assert "a page fell over" in caplog.text
    assert "gap" in caplog.text


def test_that_this_machine_can_be_sampled_with_a_real_worker(tmp_path: Path) -> None:
    samples: list[Sample] = []
    arrived = threading.Event()
    sampler = machine_sampler(tmp_path)

    def listen(sample: Sample) -> None:
        samples.append(sample)
        arrived.set()

    sampler.subscribe(listen)
    sampler.set_worker(os.getpid())
    sampler.start()
    wait_for(samples, 2, arrived)
    sampler.stop()
    assert samples[0].host.worker_memory
    assert samples[0].host.memory_total > 0
    assert samples[1].time > samples[0].time
