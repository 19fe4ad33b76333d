"""A thin bar of progress."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.tone import Tone

_HEIGHT = 6
_STEP_MS = 80


class ProgressBar(QWidget):
    """Six pixels high. `fraction` is 0 to 1; None moves a segment along, as long as it is visible."""

    def __init__(self, fraction: float | None = 0.0, tone: Tone = Tone.ACCENT, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._fraction: float | None = 0.0
        self._tone = tone
        self._phase = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(_STEP_MS)
        self._timer.timeout.connect(self._advance)
        self.set_fraction(fraction)

    @property
    def fraction(self) -> float | None:
        return self._fraction

    def set_fraction(self, fraction: float | None) -> None:
        """Show a share of one, or None where it is not known."""
        self._fraction = None if fraction is None else min(1.0, max(0.0, fraction))
        percent = "unknown" if self._fraction is None else f"{self._fraction:.0%}"
        self.setAccessibleName(f"Progress {percent}")
        self._run_timer()
        self.update()

    def set_tone(self, tone: Tone) -> None:
        """Change what the bar's colour says."""
        self._tone = tone
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(120, _HEIGHT)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(24, _HEIGHT)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = theme_of(self)
        box = QRectF(0, (self.height() - _HEIGHT) / 2, self.width(), _HEIGHT)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.line))
        painter.drawRoundedRect(box, _HEIGHT / 2, _HEIGHT / 2)
        painter.setBrush(QColor(theme.tone(self._tone)))
        if self._fraction is None:
            width = box.width() * 0.3
            part = QRectF(box.left() + (box.width() - width) * self._phase, box.top(), width, box.height())
        else:
            part = QRectF(box.left(), box.top(), box.width() * self._fraction, box.height())
        if part.width() > 0:
            painter.drawRoundedRect(part, min(_HEIGHT, part.width()) / 2, _HEIGHT / 2)
        painter.end()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._run_timer()

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def _run_timer(self) -> None:
        if self._fraction is None and self.isVisible():
            self._timer.start()
        else:
            self._timer.stop()

    def _advance(self) -> None:
        self._phase = (self._phase + 0.04) % 1.0
        self.update()
