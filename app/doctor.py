"""Looks at this machine, the same way for window and command line."""

from __future__ import annotations

from pathlib import Path

from core.care.check import Check
from core.care.doctor import examine
from core.care.surroundings import read_surroundings
from core.jobs.launch import default_launch
from core.paths import Home
from core.settings import load_settings

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def checks_of(home: Home) -> tuple[Check, ...]:
    """Every check of this machine; takes seconds, so call it off the window's thread."""
    settings = load_settings(home.settings_file)
    launch = default_launch(threads=settings.threads)
    return examine(read_surroundings(home, settings.artifacts_folder, launch, PROJECT))
