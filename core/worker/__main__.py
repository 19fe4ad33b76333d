"""The worker process: says hello, reads commands, runs one job at a time, ends when its parent does."""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from typing import NoReturn

from core.worker.channel import EventPipe, reserve_stdout
from core.worker.lifeline import leave, tie_to_parent
from core.worker.qat.library import hide


def main() -> NoReturn:
    """Serve commands until shutdown or the end of stdin."""
    guard = tie_to_parent()
    pipe = EventPipe(reserve_stdout())
    hide()
    from pydantic import ValidationError

    from core.jobs.protocol import (
        PROTOCOL_VERSION,
        Cancel,
        Command,
        Finished,
        FinishReason,
        Hello,
        Shutdown,
        decode_command,
    )
    from core.worker.faults import is_panic, problem_of
    from core.worker.reporter import JobCancelledError, Reporter
    from core.worker.tasks import Tasks
    from core.worker.versions import library_versions

    pipe.send(Hello(protocol=PROTOCOL_VERSION, app="bitpress", pid=os.getpid(), libraries=library_versions()))
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    flags: dict[str, threading.Event] = {}

    def listen() -> None:
        for line in sys.stdin.buffer:
            try:
                command = decode_command(line)
            except ValidationError as error:
                print(f"bitpress worker: not a command: {error}", file=sys.stderr, flush=True)  # noqa: T201
                continue
            if isinstance(command, Cancel):
                flags.setdefault(command.job, threading.Event()).set()
            else:
                if not isinstance(command, Shutdown):
                    flags.setdefault(command.job, threading.Event())
                commands.put(command)
        # stdin's end means that the parent died: nothing may be left running.
        leave(guard)

    threading.Thread(target=listen, name="commands", daemon=True).start()
    tasks = Tasks()
    while True:
        command = commands.get()
        if isinstance(command, Shutdown):
            # The thread that waits on stdin holds its lock, on which the interpreter's own end would abort.
            sys.stderr.flush()
            leave(guard)
        if isinstance(command, Cancel):
            continue
        job = command.job
        try:
            result = tasks.run(command, Reporter(job, pipe, flags[job]))
            finished = Finished(job=job, reason=FinishReason.COMPLETED, result=result)
        except JobCancelledError:
            finished = Finished(job=job, reason=FinishReason.CANCELLED)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            traceback.print_exc()
            finished = Finished(job=job, reason=FinishReason.FAILED, problem=problem_of(error))
        flags.pop(job, None)
        pipe.send(finished)


if __name__ == "__main__":
    main()
