"""The sign of the application: in the title bar, the taskbar and beside the clock."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap

from ui.icons import pixmap
from ui.theme import LIGHT

_SIZES = (16, 22, 24, 32, 48, 64, 128)


def application_icon() -> QIcon:
    """Our sign on a ground of its own, to be seen on a light panel and on a dark one."""
    made = QIcon()
    for size in _SIZES:
        picture = QPixmap(size, size)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(LIGHT.accent))
        painter.drawRoundedRect(QRectF(0, 0, size, size), size / 5, size / 5)
        inner = round(size * 0.75)
        painter.drawPixmap((size - inner) // 2, (size - inner) // 2, pixmap("compress", LIGHT.on_accent, inner))
        painter.end()
        made.addPixmap(picture)
    return made
