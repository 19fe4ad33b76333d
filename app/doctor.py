"""Looks at this machine, the same way for window and command line."""

from __future__ import annotations

import os
from pathlib import Path

from core.care.check import Check
from core.care.doctor import examine
from core.care.surroundings import read_surroundings
from core.errors import BitpressError
from core.jobs.launch import default_launch
from core.jobs.out_of_memory import chosen_limit
from core.paths import Home
from core.plan.read_machine import total_memory
from core.settings import load_settings

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def checks_of(home: Home) -> tuple[Check, ...]:
    """Every check of this machine; takes seconds, so call it off the window's thread."""
    settings = load_settings(home.settings_file)
    limit = _limit(settings.memory_limit)
    launch = default_launch(threads=settings.threads, memory_limit=limit)
    found = read_surroundings(home, settings.artifacts_folder, launch, PROJECT, keep_awake=settings.keep_awake)
    return examine(found)


def _limit(settings_gb: int) -> int | None:
    """As the engine's; None for one in the environment that cannot be read, which every other command says."""
    try:
        return chosen_limit(total_memory(), settings_gb, os.environ)
    except BitpressError:
        return None
