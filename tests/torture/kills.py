"""Real windows and workers killed at random moments: `python tests/torture/kills.py [KILLS [SEED]]`.

A window without a screen carries on what is queued in a home of its own: FP8, rounding, GPTQ and SmoothQuant with
GPTQ to 8 bits of a tiny Llama, and evaluations of it, by real workers. At random moments the worker, the window or
both get SIGKILL. After each kill no process may be left that belonged to the dead, the store must pass SQLite's check,
what stands under a final name must be whole, and no run may be lost or done twice. In the end everything that waits is
finished, and the places hold nothing but what completed. Prints what it killed and when.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
sys.path[:0] = [str(ROOT), str(TESTS), str(TESTS / "worker"), str(TESTS / "torture")]
# Found by windows and workers too, wherever this is started.
os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "packaging" / "codebook")))

from core.calibration.spec import CalibrationSpec  # noqa: E402
from core.jobs.checkpoint import resume_point  # noqa: E402
from core.jobs.order import CompressOrder, EvaluateOrder, kept_order  # noqa: E402
from core.jobs.protocol import FinishReason  # noqa: E402
from core.jobs.queue_store import QueueStore  # noqa: E402
from core.jobs.run import NewRun, Run, RunKind  # noqa: E402
from core.jobs.snapshot import Phase  # noqa: E402
from core.jobs.store import RunStore  # noqa: E402
from core.measure.results import EvaluationSuite  # noqa: E402
from core.methods.catalogue import find  # noqa: E402
from core.methods.recipe import Recipe  # noqa: E402
from core.models.artifact import read_manifest  # noqa: E402
from core.models.safetensors_header import read_header  # noqa: E402
from core.paths import Home  # noqa: E402

METHODS = ("fp8-dynamic", "rtn-w8a16", "gptq-w8a8", "smoothquant-gptq-w8a8", "fp8-dynamic")
WAITING = 3
"""So many runs wait at least whenever something is killed."""
UNPROVED = ".unproved"
LONGEST = 15.0
"""Seconds after which a kill comes at the latest, counted from the sight of a worker."""
A_RUN = 300.0
"""Seconds within which a run must end, on however busy a machine."""
GONE = 20.0
"""Seconds within which the workers of a dead window must have noticed."""


@dataclass
class Stage:
    """A home, the model that is pressed in it, another that it is compared with, and where artifacts go."""

    home: Home
    model: Path
    other: Path
    text: Path
    made: Path
    asked: list[int] = field(default_factory=list)

    def fill(self, count: int) -> None:
        """So many more runs, each with a place of its own."""
        with RunStore.open(self.home.store_file) as store:
            for _ in range(count):
                self.asked.append(store.create(self._next(len(self.asked)), owned=False).id)

    def _next(self, number: int) -> NewRun:
        name = f"run-{number}"
        if number % 6 == 5:
            suite = EvaluationSuite(texts=("prose",), tokens=512, window=128)
            others = (str(self.other),)
            evaluation = EvaluateOrder(original=str(self.model), others=others, suite=suite, device="cpu")
            return NewRun(
                kind=RunKind.EVALUATE,
                title=name,
                models=(str(self.model), str(self.other)),
                model_name="tiny",
                order=kept_order(evaluation),
            )
        method = find(METHODS[number % len(METHODS)])
        parameters = {each.name: each.default for each in method.parameters} | method.defaults(None)
        if "group_size" in parameters:
            parameters["group_size"] = 32
        spec = (
            CalibrationSpec(source=str(self.text), samples=6, max_length=64) if method.calibrates(parameters) else None
        )
        order = CompressOrder(
            model=self.model,
            original_bytes=sum(path.stat().st_size for path in self.model.glob("*.safetensors")),
            output=self.made / name,
            recipe=Recipe(method=method.id, parameters=parameters, calibration=spec),
            device="cpu",
        )
        return NewRun(
            kind=RunKind.COMPRESS,
            title=name,
            models=(str(self.model),),
            model_name="tiny",
            output=str(order.output),
            order=kept_order(order),
        )

    def runs(self) -> tuple[Run, ...]:
        with RunStore.open(self.home.store_file) as store:
            return store.runs()

    def waiting(self) -> int:
        return sum(run.phase is Phase.QUEUED for run in self.runs())

    def processes(self) -> Iterator[psutil.Process]:
        """Every process of this home, by the environment that it was started with or its parent had."""
        mark = str(self.home.root.parent)
        for process in psutil.process_iter():
            try:
                told = [*process.cmdline(), *process.environ().values()]
                mine = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
                if mine and any(mark in each for each in told):
                    yield process
            except psutil.Error:
                continue

    def workers(self, window: subprocess.Popen[bytes]) -> list[psutil.Process]:
        try:
            children = psutil.Process(window.pid).children(recursive=True)
            return [child for child in children if "core.worker" in child.cmdline()]
        except psutil.Error:
            return []

    def window(self) -> subprocess.Popen[bytes]:
        """A real window on a screen that is not there, with its own log."""
        log = self.home.root.parent / "window.log"
        with log.open("ab") as sink:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "app"],
                cwd=self.home.root,
                env={**os.environ, "BITPRESS_HOME": str(self.home.root), "QT_QPA_PLATFORM": "offscreen"},
                stdout=sink,
                stderr=sink,
            )

    # What must hold -------------------------------------------------------------------------------------------

    def check_store(self) -> None:
        with closing(sqlite3.connect(self.home.store_file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def check_runs(self) -> None:
        """None is lost and none is there twice, and what ended did so in one of two ways."""
        runs = self.runs()
        assert sorted(run.id for run in runs) == sorted(self.asked), "a run was lost or doubled"
        for run in runs:
            if run.phase is Phase.FINISHED:
                assert ended_as_it_should(run), (run.title, run.reason, run.problem)

    def check_artifacts(self) -> None:
        """What has a final name is whole: manifest, config, every tensor to its last byte, the hash of the proof.

        So is what a worker that died while it proved left behind, which says so in its name.
        """
        for folder in self.made.iterdir():
            if folder.name.startswith("."):
                continue
            manifest = read_manifest(folder)
            assert manifest is not None, f"{folder.name} has no manifest"
            assert manifest.proved is True or folder.name.endswith(UNPROVED), f"{folder.name} was not proved"
            assert json.loads((folder / "config.json").read_bytes())["model_type"] == "llama"
            digest = hashlib.sha256()
            for path in sorted(folder.glob("*.safetensors")):
                header = read_header(path)
                assert header.tensors
                digest.update(path.read_bytes())
            assert digest.hexdigest() == manifest.tensors_sha256, f"{folder.name} is not what was proved"


def ended_as_it_should(run: Run) -> bool:
    """Completed, interrupted with its window, or failed because its worker was ended by a signal."""
    if run.reason is FinishReason.FAILED:
        return run.problem is not None and run.problem.code == "worker-died"
    return run.reason in (FinishReason.COMPLETED, FinishReason.INTERRUPTED)


def tiny_model(folder: Path, tokenizer: Path, seed: int) -> Path:
    """A tiny random Llama, made in a process of its own so that this one stays small."""
    code = "import sys; from pathlib import Path; from tiny_llama import write_tiny_llama; "
    code += "write_tiny_llama(Path(sys.argv[1]), Path(sys.argv[2]), seed=int(sys.argv[3]))"
    path = os.pathsep.join((os.environ["PYTHONPATH"], str(TESTS / "worker")))
    command = [sys.executable, "-P", "-c", code, str(folder), str(tokenizer), str(seed)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
    return folder


def torture(stage: Stage, kills: int, chance: random.Random) -> Counter[str]:
    """So many kills, each with its checks; gives how often which was killed."""
    killed: Counter[str] = Counter()
    window: subprocess.Popen[bytes] | None = None
    began = time.monotonic()
    for number in range(1, kills + 1):
        stage.fill(max(0, WAITING - stage.waiting()))
        if window is None:
            window = stage.window()
        victim = chance.choice(("worker", "window", "both"))
        workers = wait_for_worker(stage, window)
        moment = chance.uniform(0, LONGEST)
        time.sleep(moment)
        workers = stage.workers(window)
        if victim != "worker" or not workers:
            chosen = [psutil.Process(window.pid), *(workers if victim == "both" else ())]
            killed["both" if victim == "both" and workers else "window"] += 1
        else:
            chosen = [workers[0]]
            killed["worker"] += 1
        chance.shuffle(chosen)
        for process in chosen:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        if window.pid in [process.pid for process in chosen]:
            window.wait()
            window = None
            _, left = psutil.wait_procs(list(stage.processes()), timeout=GONE)
            assert left == [], f"orphans: {[process.cmdline() for process in left]}"
        stage.check_store()
        stage.check_artifacts()
        if number % 10 == 0 or number == kills:
            stage.check_runs()
            print(f"{number} kills, {time.monotonic() - began:.0f} s: {dict(killed)}", flush=True)
    if window is not None:
        window.kill()
        window.wait()
    return killed


def wait_for_worker(stage: Stage, window: subprocess.Popen[bytes]) -> list[psutil.Process]:
    limit = time.monotonic() + 300
    while time.monotonic() < limit:
        assert window.poll() is None, "the window ended by itself; see window.log"
        if workers := stage.workers(window):
            return workers
        time.sleep(0.1)
    raise AssertionError("no worker was started within 300 s")


def wait_for_the_rest(stage: Stage, window: subprocess.Popen[bytes]) -> None:
    left, limit = sys.maxsize, 0.0
    while unfinished := sum(run.phase is not Phase.FINISHED for run in stage.runs()):
        if unfinished < left:
            left, limit = unfinished, time.monotonic() + A_RUN
        assert window.poll() is None, "the last window ended by itself; see window.log"
        assert time.monotonic() < limit, "the last window did not finish what waited"
        time.sleep(0.5)


def the_end(stage: Stage) -> dict[str, int]:
    """One more window finishes what waits; then nothing may be there but what completed."""
    window = stage.window()
    wait_for_the_rest(stage, window)
    # What a kill left whole goes on as the same run, and nothing of it stays behind.
    with RunStore.open(stage.home.store_file) as store:
        resumed = [run.id for run in store.runs() if resume_point(run) is not None]
        for run in resumed:
            QueueStore(store).resume(run)
    wait_for_the_rest(stage, window)
    assert all(run.reason is FinishReason.COMPLETED for run in stage.runs() if run.id in resumed), "not resumed"
    window.kill()
    window.wait()
    _, left = psutil.wait_procs(list(stage.processes()), timeout=GONE)
    assert left == [], "orphans at the end"
    stage.check_store()
    stage.check_runs()
    stage.check_artifacts()
    runs = stage.runs()
    done = {Path(run.output).name for run in runs if run.output and run.reason is FinishReason.COMPLETED}
    failed = {Path(run.output).name for run in runs if run.output and run.reason is FinishReason.FAILED}
    there = {path.name for path in stage.made.iterdir()}
    kept = there - {f"{name}{UNPROVED}" for name in failed}
    assert kept == done, f"left over: {sorted(kept - done)}; missing: {sorted(done - kept)}"
    return dict(Counter(str(run.reason) for run in runs))


def play(tokenizer: Path, kills: int, seed: int) -> None:
    """The whole torture in a folder that goes again, unless it found something."""
    scratch = Path(tempfile.mkdtemp(prefix="bitpress-kills-"))
    home = Home(scratch / "home")
    home.root.mkdir()
    text = scratch / "text.txt"
    text.write_text(" ".join(f"{number} and {number * 7} make {number * 8}." for number in range(900)))
    made = scratch / "made"
    made.mkdir()
    models = [tiny_model(scratch / f"tiny-{seed}", tokenizer, seed) for seed in (0, 1)]
    stage = Stage(home, models[0], models[1], text, made)
    try:
        killed = torture(stage, kills, random.Random(seed))
        ends = the_end(stage)
    except BaseException:
        for process in stage.processes():
            process.kill()
        print(f"what was found lies in {scratch}", file=sys.stderr)
        raise
    print(f"{sum(killed.values())} kills ({dict(killed)}), {len(stage.asked)} runs: {ends}; nothing lost, nothing half")
    shutil.rmtree(scratch)


def main() -> None:
    import asyncio

    from limited_memory import starter_folder

    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    play(asyncio.run(starter_folder(Home(ROOT / ".test-home"))), kills, seed)


if __name__ == "__main__":
    main()
