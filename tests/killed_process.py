"""A window without a window that does one run with scripted workers and is killed by itself at one exact moment.

Arguments: the home, the script's folder, the output, compress or import, and the moment: `before-rename`,
`after-rename`, `after-store`, `after-events`, or `never`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_worker import launch_fake

from core.jobs import ending
from core.jobs.compression import Compression, compression
from core.jobs.order import ImportOrder, kept_order
from core.jobs.queue import JobQueue
from core.jobs.queue_store import QueueStore
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.paths import Home


def main(home: Home, folder: Path, output: Path, kind: str, moment: str) -> None:
    patch = pytest.MonkeyPatch()
    match moment:
        case "before-rename":
            patch.setattr(ending, "publish", die)
        case "after-rename":
            patch.setattr(ending, "publish", then_die(ending.publish))
        case "after-store":
            patch.setattr(RunStore, "save", then_die(RunStore.save))
        case "after-events":
            patch.setattr(QueueStore, "give_back", die)
    script = json.loads((folder / "script.json").read_text(encoding="utf-8"))
    asyncio.run(perform(home, folder, output, kind, script))


async def perform(home: Home, folder: Path, output: Path, kind: str, script: dict[str, Any]) -> None:
    with RunStore.open(home.store_file) as store:
        queue = JobQueue(store, home, launch_fake(folder / "scripts", script))
        await queue.recover()
        new = NewRun(kind=RunKind(kind), title="t", models=("/m",), model_name="m", output=str(output))
        if kind == "import":
            order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
            run = await queue.submit(new.model_copy(update={"order": order}))
        else:
            run = await queue.submit(new, compression(wanted(output)))
        await queue.wait(run.id)
        await queue.close()


def wanted(output: Path) -> Compression:
    recipe = resolve_recipe("fp8-dynamic", {}, None, None)
    return Compression(Path("/m"), 1, output, find("fp8-dynamic"), recipe, app_version="0")


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(act: Callable[..., Any]) -> Callable[..., Any]:
    def done(*arguments: Any) -> None:
        act(*arguments)
        die()

    return done


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5])
