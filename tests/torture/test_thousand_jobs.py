"""The thousand jobs at a size for every day: what they leave in the window's process, memory apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

JOBS = 30


@pytest.mark.timeout(300)
def test_that_jobs_of_every_end_leave_no_file_thread_or_process_in_the_window() -> None:
    script = Path(__file__).with_name("thousand_jobs.py")
    command = [sys.executable, "-P", str(script), str(JOBS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"from job {JOBS // 10} to job {JOBS}" in done.stdout
