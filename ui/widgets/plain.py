"""Text that is never markup."""

from __future__ import annotations

import re

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QLabel, QWidget
from typing_extensions import override

_STEERING = re.compile(
    "\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, what overrides the direction of writing, and what hides; lines, tabs, joiners and marks of scripts stay."""


def harmless(text: str) -> str:
    """The text with a sign in the place of each character that would steer or hide others.

    The picture of a control where Unicode has one, else the replacement character; as many UTF-16 units as before, so
    that places in the text stay what they were.
    """
    return _STEERING.sub(_sign, text)


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd" * (2 if code > 0xFFFF else 1)


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

    @override
    def setText(self, text: str) -> None:
        super().setText(harmless(text))

    def set_role(self, role: str) -> None:
        """Change the look."""
        if self.property("role") != role:
            self.setProperty("role", role)
            self.style().unpolish(self)
            self.style().polish(self)
