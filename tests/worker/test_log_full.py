"""Facts about a worker whose log has no room left."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.jobs.protocol import Shutdown, SurveyModel, encode


def test_that_a_full_disk_under_the_log_ends_neither_the_job_nor_the_worker(tmp_path: Path) -> None:
    jobs = [SurveyModel(job=name, model=str(tmp_path / "nothing")) for name in ("first", "second")]
    # The first line is no command; that goes to the log, and so do the tracebacks of both jobs.
    lines = [b"nonsense\n", *map(encode, jobs), encode(Shutdown())]
    with Path("/dev/full").open("wb", buffering=0) as full:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "core.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=full,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.writelines(lines)
    worker.stdin.flush()
    events: list[dict[str, Any]] = [json.loads(line) for line in worker.stdout]
    worker.stdin.close()
    assert worker.wait(60) == 0
    ended = [event for event in events if event["type"] == "finished"]
    assert [(event["job"], event["reason"]) for event in ended] == [("first", "failed"), ("second", "failed")]
    assert {event["problem"]["code"] for event in ended} == {"no-config"}
