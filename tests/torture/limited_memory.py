"""A real job on the starter model in less memory than it needs: `python tests/torture/limited_memory.py`.

AutoRound learns the rounding of one decoder layer, for eight samples of 1,024 tokens at a time, in a worker that may
hold less than that takes. Without permission the run must end with `out-of-memory` and leave nothing; with permission
its second try must succeed, and what was made must pass its proof. Prints what was held and how long it took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
# Found by the workers too, wherever this is started.
os.environ["PYTHONPATH"] = str(ROOT)

from core.calibration.spec import CalibrationSpec  # noqa: E402
from core.jobs.compression import Compression, compression  # noqa: E402
from core.jobs.launch import default_launch  # noqa: E402
from core.jobs.protocol import FinishReason  # noqa: E402
from core.jobs.queue import JobQueue  # noqa: E402
from core.jobs.run import NewRun, Run, RunKind  # noqa: E402
from core.jobs.snapshot import JobSnapshot  # noqa: E402
from core.jobs.store import RunStore  # noqa: E402
from core.methods.catalogue import find  # noqa: E402
from core.methods.recipe import Recipe  # noqa: E402
from core.paths import Home  # noqa: E402
from core.plan.history import reductions_of  # noqa: E402

LIMIT = 1_250 * 2**20
"""Between what the full settings hold and what two samples of 512 tokens do; the proof stays below it as well."""

SETTINGS = {
    "group_size": 64,
    "iters": 1,
    "batch_size": 8,
    "compile": False,
    "ignore": ["lm_head", r"re:.*layers\.([1-9]|[1-9][0-9])\..*"],
}


async def perform(starter: Path, text: Path, folder: Path, *, retry: bool) -> tuple[JobSnapshot, Run]:
    """One run to its end, in a home of its own."""
    method = find("autoround-w4a16")
    parameters = {parameter.name: parameter.default for parameter in method.parameters} | method.defaults(None)
    spec = CalibrationSpec(source=str(text), samples=8, max_length=1024)
    wanted = Compression(
        model=starter,
        original_bytes=sum(path.stat().st_size for path in starter.glob("*.safetensors")),
        output=folder / "made" / "artifact",
        method=method,
        recipe=Recipe(method=method.id, parameters=parameters | SETTINGS, calibration=spec),
        device="cpu",
        retry_smaller=retry,
    )
    (folder / "made").mkdir(parents=True)
    home = Home(folder / "home")
    with RunStore.open(home.store_file) as store:
        queue = JobQueue(store, home, default_launch(memory_limit=LIMIT))
        new = NewRun(kind=RunKind.COMPRESS, title="limited", models=(str(starter),), model_name="starter")
        run = await queue.submit(new, compression(wanted))
        snapshot = await queue.wait(run.id)
        await queue.close()
        return snapshot, store.get(run.id)


async def starter_folder(home: Home) -> Path:
    """The starter model; BITPRESS_TEST_STARTER names one that is there already."""
    if named := os.environ.get("BITPRESS_TEST_STARTER"):
        return Path(named)
    from app.engine import Engine
    from app.starter import ensure_starter

    engine = Engine.open(home, nice=0)
    try:
        return (await ensure_starter(engine, lambda _text, _share: None)).path
    finally:
        await engine.close()


async def main() -> None:
    starter = await starter_folder(Home(ROOT / ".test-home"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = folder / "text.txt"
        text.write_text(" ".join(f"{number} and {number * 7} make {number * 8}." for number in range(3000)))

        began = time.monotonic()
        snapshot, _ = await perform(starter, text, folder / "refused", retry=False)
        assert snapshot.problem is not None, "it fitted: the limit is too high for this machine"
        assert snapshot.problem.code == "out-of-memory", snapshot.problem
        assert list((folder / "refused" / "made").iterdir()) == [], "something was left behind"
        print(f"without permission, {time.monotonic() - began:.0f} s: {snapshot.problem.message}", flush=True)

        began = time.monotonic()
        snapshot, run = await perform(starter, text, folder / "allowed", retry=True)
        assert snapshot.reason is FinishReason.COMPLETED, snapshot.problem
        reductions = [each.words for each in reductions_of(run)]
        assert reductions == ["samples at a time 8 to 2", "tokens per sample 1024 to 512"], reductions
        assert run.result["proof"]["passed"] is True
        peak = run.result["host_peak_bytes"] / 2**20
        print(f"with permission, {time.monotonic() - began:.0f} s: {'; '.join(reductions)}; proved; ", end="")
        print(f"the most that was resident was {peak:.0f} MiB, mapped files included")


if __name__ == "__main__":
    asyncio.run(main())
