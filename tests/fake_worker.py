"""A worker that follows a script: the real protocol over real pipes, without any library to load.

As a program it reads the script (a JSON file, its first argument) and serves commands. The script maps a command's
type to a list of steps, done in order:

    {"event": {...}}       send an event; job, seq and time are filled in
    {"sleep": seconds}     wait; a cancel ends the job here, unless "deaf" is true in the script
    {"wait_for": path}     wait until the file is there, as in a sleep
    {"write": name}        make the command's output folder and a file in it
    {"log": text}          write to stderr
    {"print": text}        write a line to stdout that is no event
    {"spawn": seconds}     start a child that sleeps, and log "child PID"
    {"python": text}       start a child that runs it
    {"signal": number}     send a signal to this very process
    {"hold": bytes}        take so much memory and touch it
    {"hold_a_token": n}    take n bytes for each token of the longest calibration sample
    {"exit": status}       end at once
    {"close": true}        close stdout and go on
    {"first": path, "then": step}  do the step and end the job, where the file is not there yet
    {"once": path}         make the file; end with status 5 where it is there already

Beside the steps a script may have "hello" (fields of the hello event) and "deaf" (ignore cancel and SIGTERM).
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn


def launch_fake(folder: Path, script: dict[str, Any]) -> Any:
    """A WorkerLaunch of this program with a script, which is written into `folder`."""
    from core.jobs.client import WorkerLaunch, default_launch

    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"script-{len(list(folder.glob('script-*')))}.json"
    place.write_text(json.dumps(script), encoding="utf-8")
    return WorkerLaunch(
        command=(sys.executable, "-P", str(Path(__file__).absolute()), str(place)),
        environment=default_launch().environment,
    )


def finished(result: Any = None, **more: Any) -> dict[str, Any]:
    """The step that completes a job."""
    return {"event": {"type": "finished", "reason": "completed", "result": result, **more}}


class CancelledJobError(Exception):
    pass


class JobOverError(Exception):
    pass


class FakeWorker:
    def __init__(self, script: dict[str, Any]) -> None:
        self.script = script
        self.seq = 0
        self.cancelled: set[str] = set()
        self.held = b""
        self.commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def send(self, event: dict[str, Any]) -> None:
        self.seq += 1
        _write_all(json.dumps({**event, "seq": self.seq, "time": time.time()}).encode() + b"\n")

    def listen(self) -> None:
        for line in sys.stdin.buffer:
            command = json.loads(line)
            if command["type"] == "cancel":
                self.cancelled.add(command["job"])
            else:
                self.commands.put(command)
        os._exit(0)

    def serve(self) -> NoReturn:
        hello = {"type": "hello", "protocol": 2, "app": "fake", "pid": os.getpid(), "libraries": {"fake": "1.0"}}
        self.send({**hello, **self.script.get("hello", {})})
        threading.Thread(target=self.listen, daemon=True).start()
        while True:
            command = self.commands.get()
            if command["type"] == "shutdown":
                os._exit(0)  # returning would wait a second for the thread that holds stdin
            try:
                for step in self.script[command["type"]]:
                    self.perform(step, command)
            except JobOverError:
                continue
            except CancelledJobError:
                self.send({"type": "finished", "job": command["job"], "reason": "cancelled"})

    def perform(self, step: dict[str, Any], command: dict[str, Any]) -> None:
        match step:
            case {"event": event}:
                self.send({"job": command["job"], **event})
            case {"sleep": seconds}:
                self.sleep(seconds, command["job"])
            case {"wait_for": path}:
                while not Path(path).exists():
                    self.sleep(0.02, command["job"])
            case {"write": name}:
                folder = Path(command["output"])
                folder.mkdir(exist_ok=True)
                (folder / name).write_text("x" * 1000)
            case {"log": text}:
                print(text, file=sys.stderr, flush=True)
            case {"print": text}:
                _write_all(text.encode() + b"\n")
            case {"spawn": seconds}:
                child = subprocess.Popen(["sleep", str(seconds)])
                print("child", child.pid, file=sys.stderr, flush=True)
            case {"python": text}:
                subprocess.Popen([sys.executable, "-c", text])
            case {"signal": number}:
                os.kill(os.getpid(), number)
            case {"hold": count}:
                self.held = b"x" * count
            case {"hold_a_token": count}:
                self.held = b"x" * (count * command["calibration"]["max_length"])
            case {"exit": status}:
                os._exit(status)
            case {"close": True}:
                os.close(1)
            case {"first": path, "then": step}:
                if not Path(path).exists():
                    Path(path).touch()
                    self.perform(step, command)
                    raise JobOverError
            case {"once": path}:
                if Path(path).exists():
                    os._exit(5)
                Path(path).touch()
            case _:
                raise AssertionError(f"not a step: {step}")

    def sleep(self, seconds: float, job: str) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if job in self.cancelled and not self.script.get("deaf"):
                raise CancelledJobError
            time.sleep(0.01)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main() -> None:
    script = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if script.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    FakeWorker(script).serve()


if __name__ == "__main__":
    main()
