"""The small label beside a mark that says its name, its value and its interval."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.widgets.chart_frame import small_font
from ui.widgets.plain import harmless

_SIDE, _TOP, _AWAY = 9, 6, 14


class Readout(QWidget):
    """Plain lines, the first one strong; it keeps inside its parent and out of the mouse's way."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._lines: tuple[str, ...] = ()
        self.hide()

    def text(self) -> str:
        """What it says."""
        return "\n".join(self._lines)

    def show_text(self, text: str, at: QPoint) -> None:
        """Says `text` beside a pixel of its parent."""
        self._lines = tuple(text.split("\n"))
        self.setAccessibleName(text)
        font = small_font(self.font())
        metrics = QFontMetricsF(font)
        strong = small_font(self.font())
        strong.setBold(True)
        widths = [metrics.horizontalAdvance(line) for line in self._lines[1:]]
        width = max([QFontMetricsF(strong).horizontalAdvance(self._lines[0]), *widths]) + 2 * _SIDE + 2
        room = self._parent.rect()
        self.resize(round(min(width, room.width())), round(metrics.lineSpacing() * len(self._lines)) + 2 * _TOP)
        left = at.x() + _AWAY
        if left + self.width() > room.width():
            left = at.x() - _AWAY - self.width()
        top = at.y() - self.height() - _AWAY // 2
        if top < 0:
            top = at.y() + _AWAY
        self.move(max(0, min(left, room.width() - self.width())), max(0, min(top, room.height() - self.height())))
        self.show()
        self.raise_()
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme.quiet), 1.0))
        painter.setBrush(QColor(theme.raised))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 5, 5)
        font = small_font(self.font())
        metrics = QFontMetricsF(font)
        base = _TOP + metrics.ascent()
        for index, line in enumerate(self._lines):
            font.setBold(index == 0)
            painter.setFont(font)
            painter.setPen(QColor(theme.text))
            shown = QFontMetricsF(font).elidedText(
                harmless(line), Qt.TextElideMode.ElideMiddle, self.width() - 2 * _SIDE + 1
            )
            painter.drawText(_SIDE, round(base), shown)
            base += metrics.lineSpacing()
        painter.end()
