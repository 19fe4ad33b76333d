"""As much room as a dialog's text needs."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog


def fit(dialog: QDialog) -> None:
    """As high as its text needs at its width, and no higher: otherwise the rest is spread between the lines."""
    if (layout := dialog.layout()) is not None:
        dialog.ensurePolished()
        layout.activate()
        width = max(dialog.width(), dialog.minimumWidth(), layout.minimumSize().width())
        dialog.resize(width, layout.totalHeightForWidth(width))


def grow(dialog: QDialog) -> None:
    """Make an open dialog as high as its text needs now: it does not grow by itself for a text that wraps."""
    if (layout := dialog.layout()) is not None:
        layout.activate()
        dialog.resize(dialog.width(), max(dialog.height(), layout.totalHeightForWidth(dialog.width())))
