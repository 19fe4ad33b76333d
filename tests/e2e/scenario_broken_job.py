"""A worker killed in the middle, then a job cancelled: the window goes on and nothing is left. Usage: PICTURES."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
from driver import Driver, drive
from PySide6.QtWidgets import QWidget

from core.jobs.protocol import FinishReason
from core.jobs.store import RunStore
from core.paths import Home

PICTURES = Path(sys.argv[1])


async def scenario(driver: Driver) -> None:
    """Kill one, cancel one; after each the window must be as usable as before."""
    home = Home.from_environment()
    await _press(driver)
    worker = _workers()[0]
    os.kill(worker, signal.SIGKILL)
    await driver.until(lambda: _state(driver) == "failed", "the run is marked failed", 20)
    driver.picture("8-runs-killed")
    assert "SIGKILL" in _words(driver.window.page("runs"))
    _nothing_left(home, worker)

    await _press(driver)
    worker = _workers()[0]
    asked = time.monotonic()
    await driver.click("runs.cancel")
    await driver.until(lambda: _state(driver) == "cancelled", "the run is marked cancelled", 10)
    assert time.monotonic() - asked < 5, "cancelling took too long"
    driver.picture("9-runs-cancelled")
    _nothing_left(home, worker)

    store = RunStore.open(home.store_file)
    killed, cancelled = sorted(store.runs(), key=lambda run: run.id)[:2]
    store.close()
    assert killed.reason is FinishReason.FAILED
    assert killed.problem is not None
    assert "SIGKILL" in killed.problem.message
    assert cancelled.reason is FinishReason.CANCELLED


async def _press(driver: Driver) -> None:
    """Start FP8 on the starter model and wait until its worker is at work."""
    driver.window.show_page("compress")
    await driver.until(lambda: driver.find("compress.run").isEnabled(), "a job can be started", 90)
    await driver.click("method.fp8-dynamic")
    await driver.until(lambda: driver.find("compress.run").isEnabled(), "the FP8 job can be started")
    await driver.click("compress.run")
    await driver.until(lambda: driver.window.current_page == "runs", "the Runs page shows the job")
    await driver.until(lambda: bool(_workers()), "the worker lives")
    await driver.until(lambda: driver.find("runs.cancel").isVisible(), "the job runs")


def _workers() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "core.worker" in " ".join(child.cmdline())]


def _state(driver: Driver) -> str:
    return str(driver.find("runs.state").property("text") or driver.find("runs.state").accessibleName())


def _words(page: QWidget) -> str:
    from PySide6.QtWidgets import QLabel

    return " ".join(label.text() for label in page.findChildren(QLabel))


def _nothing_left(home: Home, worker: int) -> None:
    assert not home.artifacts.exists() or not list(home.artifacts.iterdir()), list(home.artifacts.iterdir())
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


if __name__ == "__main__":
    drive(scenario, PICTURES)
