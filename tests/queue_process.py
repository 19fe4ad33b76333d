"""A window without a window: carries on what is queued in a home, with scripted workers, until nothing is ready.

Arguments: the home, the folder of the script. Killed by the tests that start it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from fake_worker import launch_fake

from core.jobs.queue import JobQueue
from core.jobs.store import RunStore
from core.paths import Home


async def main() -> None:
    home, folder = Home(Path(sys.argv[1])), Path(sys.argv[2])
    script = json.loads((folder / "script.json").read_text(encoding="utf-8"))
    with RunStore.open(home.store_file) as store:
        queue = JobQueue(store, home, launch_fake(folder / str(len(list(folder.iterdir()))), script))
        await queue.recover()
        print("ready", flush=True)
        sys.stdin.read()
        queue.carry_on()
        await queue.drained()
        await queue.close()


if __name__ == "__main__":
    asyncio.run(main())
