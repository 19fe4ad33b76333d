"""Buttons in the window's three weights."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton


def primary_button(text: str, name: str = "") -> QPushButton:
    """The one thing to do next on a page."""
    return _button(text, name, "primary")


def quiet_button(text: str, name: str = "") -> QPushButton:
    """Everything else that can be done."""
    return _button(text, name, "quiet")


def link_button(text: str, name: str = "") -> QPushButton:
    """A small action inside a sentence or a list."""
    button = _button(text, name, "link")
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    return button


def _button(text: str, name: str, kind: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setProperty("kind", kind)
    button.setAutoDefault(False)
    return button
