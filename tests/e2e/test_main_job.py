"""The whole job through a real window on a real display, with pictures kept as artifacts of the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from display import xvfb

from core.paths import Home

HERE = Path(__file__).parent
PICTURES = HERE.parent.parent / "test-artifacts"


@pytest.mark.model
@pytest.mark.window
@pytest.mark.timeout(1200)
def test_that_a_person_can_do_the_main_job_through_the_window(home_with_starter: Home, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    with xvfb() as display:
        done = play("scenario_main_job.py", display, home_with_starter, str(PICTURES), str(pdf))
    assert done.returncode == 0, done.stdout + done.stderr
    facts = subprocess.run(["pdfinfo", str(pdf)], capture_output=True, text=True, check=True).stdout
    pages = next(int(line.split()[1]) for line in facts.splitlines() if line.startswith("Pages:"))
    assert pages >= 4
    assert len(list(PICTURES.glob("*.png"))) >= 7


def play(scenario: str, display: str, home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a scenario in a process of its own on the display."""
    environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "BITPRESS_HOME": str(home.root)}
    return subprocess.run(
        [sys.executable, str(HERE / scenario), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1100,
    )


@pytest.mark.model
@pytest.mark.window
@pytest.mark.timeout(600)
def test_that_the_window_survives_a_killed_worker_and_a_cancelled_job(home_with_starter: Home) -> None:
    with xvfb() as display:
        done = play("scenario_broken_job.py", display, home_with_starter, str(PICTURES))
    assert done.returncode == 0, done.stdout + done.stderr
