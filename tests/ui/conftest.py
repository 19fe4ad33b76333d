"""The window's tests draw into memory, unless the environment names another platform."""

from __future__ import annotations

import os

import pytest
from PySide6.QtWidgets import QApplication

from ui.constants_alive import keep_constants_alive
from ui.theme import apply_theme

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
keep_constants_alive()


@pytest.fixture(autouse=True)
def light_theme(qapp: QApplication) -> None:
    """Every test begins in the light theme."""
    apply_theme(qapp, "light")
