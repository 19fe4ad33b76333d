"""Text that is never markup."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QLabel, QWidget
from typing_extensions import override


class PlainLabel(QLabel):
    """A label that shows its text as it is, wraps, and lets it be selected with mouse and keyboard.

    `role` is one of the stylesheet's: title, heading, strong, section, small, quiet, note, failed, attention.
    """

    def __init__(
        self,
        text: str = "",
        role: str = "",
        parent: QWidget | None = None,
        *,
        wrap: bool = True,
        selectable: bool = True,
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        self.setText(text)
        self.setProperty("role", role)
        if selectable:
            self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    @override
    def minimumSizeHint(self) -> QSize:
        # Qt's guess for wrapping text is too wide for a narrow column and too high for a wide one; the layout asks for
        # the true height by heightForWidth.
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), 48), self.fontMetrics().lineSpacing()) if self.wordWrap() else hint

    def set_role(self, role: str) -> None:
        """Change the look."""
        if self.property("role") != role:
            self.setProperty("role", role)
            self.style().unpolish(self)
            self.style().polish(self)
