"""A short word on the soft ground of its meaning."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import Theme, theme_of
from ui.tone import Tone

__all__ = ["Tag", "Tone", "paint_tag", "tag_size"]

_SIDE, _END = 8, 2


class Tag(QLabel):
    """A tag among other widgets."""

    def __init__(self, text: str = "", tone: Tone = Tone.NEUTRAL, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._tone = tone
        self.setText(text)

    @property
    def tone(self) -> Tone:
        return self._tone

    def show_tag(self, text: str, tone: Tone) -> None:
        """Change word and meaning; an empty word hides the tag."""
        self._tone = tone
        self.setText(text)
        self.setVisible(bool(text))
        self.updateGeometry()
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return tag_size(self.text(), self.font())

    @override
    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        # By hand: a style sheet draws no round ends where a radius is not exactly half the height.
        painter = QPainter(self)
        middle = QPointF(0, self.height() / 2)
        paint_tag(painter, middle, self.text(), self._tone, theme=theme_of(self), font=self.font())
        painter.end()


def tag_font(font: QFont) -> QFont:
    """The font of a tag that is painted beside text in `font`."""
    small = QFont(font)
    small.setPixelSize(max(11, round(font.pixelSize() * 11.5 / 14)))
    small.setWeight(QFont.Weight.DemiBold)
    return small


def tag_size(text: str, font: QFont) -> QSize:
    """How large `paint_tag` draws it beside text in `font`."""
    metrics = QFontMetrics(tag_font(font))
    return QSize(metrics.horizontalAdvance(text) + 2 * _SIDE, metrics.height() + 2 * _END)


def paint_tag(painter: QPainter, at: QPointF, text: str, tone: Tone, *, theme: Theme, font: QFont) -> int:
    """Paint a tag whose left end has its middle at `at`; gives its width in pixels."""
    size = tag_size(text, font)
    box = QRectF(at.x(), at.y() - size.height() / 2, size.width(), size.height())
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(theme.soft(tone)))
    painter.drawRoundedRect(box, box.height() / 2, box.height() / 2)
    painter.setPen(QColor(theme.tone(tone)))
    painter.setFont(tag_font(font))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
    painter.restore()
    return size.width()
