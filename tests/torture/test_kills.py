"""The torture of `kills.py` in little."""

from pathlib import Path

import kills
import pytest


@pytest.mark.model
def test_that_kills_of_workers_and_windows_lose_double_and_halve_nothing(starter: Path) -> None:
    kills.play(starter, 3, seed=11)
