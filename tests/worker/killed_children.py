"""Workers that kill themselves at an event, with a real SIGKILL, one after the other from one warm process.

Importing the libraries takes most of a worker's time; a fork before anything was computed has them already.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.jobs.protocol import AnyEvent, Command, decode_event

ROOT = Path(__file__).resolve().parents[2]

PARENT = """
import json, os, sys, threading
from core.jobs.protocol import Progress, decode_command, encode
from core.worker import evaluate, sensitivity, task_model, task_run  # noqa: F401
import transformers.generation, transformers.models.auto  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401
from core.worker.reporter import Reporter
from core.worker.tasks import Tasks

class Sender:
    def __init__(self, path, stage, done):
        self.file, self.stage, self.done = open(path, "wb", buffering=0), stage, done

    def send(self, event):
        self.file.write(encode(event))
        if isinstance(event, Progress) and event.stage == self.stage and event.done >= self.done:
            os.kill(os.getpid(), 9)

evaluate.CPU_LOGITS = 2**23
task_model.MOST_ROWS = 3
task_model.GENERATED_ROWS = {"cpu": 2}
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        sender = Sender(asked["events"], asked["stage"], asked["done"])
        try:
            Tasks().run(decode_command(asked["command"]), Reporter("job", sender, threading.Event()))
        finally:
            os._exit(1)
    print("status", os.waitpid(pid, 0)[1], flush=True)
"""


class Children:
    """Started by `children`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._events = process, folder / "events"

    def killed(self, command: Command, stage: str, done: float) -> list[AnyEvent]:
        """The events of a worker up to the one at which it died: that the stage has come so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"command": command.model_dump_json(), "stage": stage, "done": done, "events": str(self._events)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        # Libraries say things there too.
        status = next(int(line.split()[1]) for line in self._process.stdout if line.startswith("status "))
        assert os.WIFSIGNALED(status), self._events.read_text()
        assert os.WTERMSIG(status) == signal.SIGKILL
        return [event for line in self._events.read_text().splitlines() if (event := decode_event(line)) is not None]


@contextmanager
def children(folder: Path) -> Iterator[Children]:
    """A warm process in which nothing was computed yet; batches of texts have some hundred tokens there."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "packaging" / "codebook"))))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-P", "-c", PARENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**environment, "HF_HUB_OFFLINE": "1"},
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (folder / "log").read_text()
        yield Children(process, folder)
        assert process.stdin is not None
        process.stdin.close()
