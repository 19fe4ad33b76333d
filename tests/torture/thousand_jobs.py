"""1,000 short jobs in one window process: `python tests/torture/thousand_jobs.py [JOBS]`.

The window, its queue, store, pages and telemetry are the real ones, and each job is a real process that speaks the real
protocol; it loads no model, so that the window's own doing is what is measured. Jobs complete, fail, die and are
cancelled; the person looks at every page, at runs that are over, and at logs. After the first tenth and at the end the
process is looked at: resident memory, file descriptors, threads, children. Prints all four; the status tells whether
more than a twentieth of memory, or anything of the others, came on top.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT)
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil  # noqa: E402
from fake_worker import finished, launch_fake  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402
from typing_extensions import override  # noqa: E402

from app.page_factories import PageFactories  # noqa: E402
from app.shell import Shell  # noqa: E402
from app.spare_memory import few_arenas  # noqa: E402
from app.window import serve  # noqa: E402
from core.jobs.client import WorkerLaunch  # noqa: E402
from core.jobs.order import ImportOrder, ProveOrder, kept_order  # noqa: E402
from core.jobs.protocol import FinishReason, Prove  # noqa: E402
from core.jobs.run import NewRun, Run, RunKind  # noqa: E402
from core.jobs.snapshot import JobSnapshot  # noqa: E402
from ui.constants_alive import keep_constants_alive  # noqa: E402
from ui.main_window import ENTRIES, MainWindow  # noqa: E402
from ui.pages.runs import RunsPage  # noqa: E402
from ui.theme import use_theme  # noqa: E402

JOBS = 1000
GROWTH = 1.05
"""Of resident memory, from the first tenth of the jobs to the last."""
CONNECTIONS = 5
"""That SQLAlchemy keeps of a store."""
LAYERS = 8

STAGES = [{"id": "read", "title": "Read", "unit": "layer"}, {"id": "save", "title": "Save"}]
METRIC = {"type": "metric", "name": "quantization_error", "relative": 0.01}
STEPS = [
    {"event": {"type": "accepted", "stages": STAGES}},
    {"event": {"type": "stage_started", "stage": "read"}},
    *(
        step
        for layer in range(LAYERS)
        for step in (
            {"event": METRIC | {"value": 0.1 + layer, "layer": f"model.layers.{layer}.mlp.down_proj"}},
            {"event": {"type": "progress", "stage": "read", "done": layer + 1, "total": LAYERS}},
            {"log": f"layer {layer} is pressed"},
        )
    ),
    {"event": {"type": "stage_finished", "stage": "read", "seconds": 0.1}},
    {"event": {"type": "warning", "code": "slow", "message": "The disk is slow."}},
]
PROOF = {"passed": True, "seconds": 0.1, "checks": [{"name": "Opens", "passed": True, "detail": "yes"}], "kl": 0.003}
PROBLEM = {"code": "cannot-load", "message": "It cannot be loaded.", "hint": "Look at it.", "details": "line\n" * 20}
SCRIPT = {
    "import": [*STEPS, {"write": "model.safetensors"}, finished({"bytes": 1000})],
    "prove": [*STEPS, finished(PROOF)],
    "unload": [*STEPS, {"event": {"type": "finished", "reason": "failed", "problem": PROBLEM}}],
    "get_ready": [*STEPS, {"signal": 9}],
    "load": [*STEPS, {"sleep": 60}],
}
"""What each order's command does; a job of ours is told by its number which command it sends."""


@dataclass(frozen=True, slots=True)
class Look:
    """The window's process at one moment."""

    jobs: int
    resident: int
    descriptors: int
    threads: int
    children: int

    def line(self) -> str:
        return (
            f"after job {self.jobs:>4}: {self.resident / 2**20:.1f} MiB resident, {self.descriptors} file descriptors, "
            f"{self.threads} threads, {self.children} children"
        )


class Opened(PageFactories):
    """Remembers the shell that the window works with."""

    shell: Shell | None = None

    @override
    def bind(self, window: MainWindow, shell: Shell) -> None:
        self.shell = shell
        super().bind(window, shell)


def asked(number: int, folder: Path) -> NewRun:
    """An import, or a proof, which may end as `ends` says."""
    if number % 2:
        output = folder / f"made-{number}"
        order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
        return NewRun(
            kind=RunKind.IMPORT,
            title=f"Import {number}",
            models=("/m",),
            model_name="m",
            output=str(output),
            order=order,
        )
    proof = ProveOrder(command=Prove(job="", original=None, artifact="/made"))
    return NewRun(
        kind=RunKind.PROVE, title=f"Proof {number}", models=("/made",), model_name="made", order=kept_order(proof)
    )


def expected(number: int) -> FinishReason:
    """One job in ten breaks, one dies, and one is cancelled."""
    return {4: FinishReason.FAILED, 6: FinishReason.FAILED, 8: FinishReason.CANCELLED}.get(
        number % 10, FinishReason.COMPLETED
    )


def launches(folder: Path) -> Callable[[int], WorkerLaunch]:
    """A worker for each kind of end."""
    ends = {4: "unload", 6: "get_ready", 8: "load"}
    made = {place: launch_fake(folder, SCRIPT | {"prove": SCRIPT[name]}) for place, name in ends.items()}
    usual = launch_fake(folder, SCRIPT)
    return lambda number: made.get(number % 10, usual)


def look(jobs: int) -> Look:
    """After what is not needed any more was thrown away; the least of a few counts, as a file may just be read."""
    gc.collect()
    process = psutil.Process()
    counts = []
    for _ in range(5):
        counts.append((process.num_fds(), process.num_threads(), len(process.children(recursive=True))))
        time.sleep(0.02)
    return Look(jobs, process.memory_info().rss, *map(min, zip(*counts, strict=True)))


async def one(shell: Shell, page: RunsPage, number: int, folder: Path) -> None:
    """One job to its end, watched on the Runs page."""
    queue = shell.engine.queue
    run = await queue.submit(asked(number, folder))
    if expected(number) is FinishReason.CANCELLED:
        await began(shell, run)
        page.cancel_requested.emit(run.id)
    snapshot: JobSnapshot = await queue.wait(run.id)
    assert snapshot.reason is expected(number), (number, snapshot)


async def began(shell: Shell, run: Run) -> None:
    """Wait until the run's worker has said what it is doing."""
    while (snapshot := shell.engine.queue.snapshot(run.id)) is None or len(snapshot.metrics) < LAYERS:
        await asyncio.sleep(0.01)


async def person(window: MainWindow, page: RunsPage, number: int) -> None:
    """Look at the run, now and then at another page, an old run, or a log."""
    page.select(number)
    if number % 10 == 5:
        window.show_page(ENTRIES[number // 10 % len(ENTRIES)].page)
        await asyncio.sleep(0.05)
        window.show_page("runs")
        page.select(max(1, number // 2))
    if number % 10 == 7:
        page.log_requested.emit(number)
    await asyncio.sleep(0)


async def work(window: MainWindow, factories: Opened, jobs: int, folder: Path) -> tuple[Look, Look]:
    """All jobs in a window that is there already."""
    while factories.shell is None:
        await asyncio.sleep(0.05)
    shell = factories.shell
    for entry in ENTRIES:
        window.show_page(entry.page)
        await asyncio.sleep(0.05)
    window.show_page("runs")
    page = window.page("runs")
    assert isinstance(page, RunsPage)
    await warmed(shell)
    launch = launches(folder / "scripts")
    first: Look | None = None
    start = time.monotonic()
    for number in range(1, jobs + 1):
        shell.engine.queue.use(launch(number))
        await one(shell, page, number, folder)
        await person(window, page, number)
        if number % max(1, jobs // 10) == 0:
            await settled(shell)
            seen = look(number)
            first = first or seen
            print(f"{seen.line()}, {(time.monotonic() - start) / number:.2f} s a job", flush=True)
    assert first is not None
    return first, seen


async def warmed(shell: Shell) -> None:
    """Bring to their bounds what grows to a bound and stays: the threads of the loop, the store's kept connections."""
    threads = min(32, (os.cpu_count() or 1) + 4)
    meeting = threading.Barrier(threads)
    await asyncio.gather(*(asyncio.to_thread(meeting.wait, 30) for _ in range(threads)))
    holding = threading.Barrier(CONNECTIONS)

    def hold() -> None:
        with shell.engine.store.transaction("DEFERRED") as connection:
            connection.exec_driver_sql("SELECT count(*) FROM runs")
            holding.wait(30)

    await asyncio.gather(*(asyncio.to_thread(hold) for _ in range(CONNECTIONS)))


async def settled(shell: Shell) -> None:
    """Wait until the window has read what there is to read."""
    for key in ("runs", "models", "open-run", "log"):
        while shell.tasks.running(key):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)


def torture(jobs: int, folder: Path) -> tuple[Look, Look]:
    """Open the window on an empty home in `folder`, do the jobs, and close it."""
    from qasync import QEventLoop

    os.environ["BITPRESS_HOME"] = str(folder / "home")
    few_arenas()
    keep_constants_alive()
    application = QApplication(sys.argv[:1])
    application.setQuitOnLastWindowClosed(False)
    use_theme("light")
    factories = Opened()
    window = MainWindow(factories.all())
    window.show_page("models")
    window.show()

    async def play() -> tuple[Look, Look]:
        serving = asyncio.ensure_future(serve(window, factories))
        working = asyncio.ensure_future(work(window, factories, jobs, folder))
        await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)
        found = await working
        window.close()
        await asyncio.wait_for(serving, 60)
        return found

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        return runner.run(play())


def main() -> int:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    with (
        tempfile.TemporaryDirectory() as scratch,
        # Nothing of the machine's own models belongs into what is measured.
        patch("app.engine.discover", lambda *_: ()),
    ):
        first, last = torture(jobs, Path(scratch))
    grown = last.resident / first.resident
    print(f"memory {100 * (grown - 1):+.1f} % from job {first.jobs} to job {last.jobs}")
    left = last.descriptors > first.descriptors or last.threads > first.threads or last.children > first.children
    # What Python and Qt load and keep once is no leak, and among few jobs it is most of what there is to see.
    return int(left or (jobs >= JOBS and grown > GROWTH))


if __name__ == "__main__":
    sys.exit(main())
