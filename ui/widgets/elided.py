"""One line of plain text that gives way: it is cut with an ellipsis where there is too little room."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QStyle, QStyleOption, QWidget
from typing_extensions import override

from ui.widgets.plain import PlainLabel, harmless


class ElidedLabel(PlainLabel):
    """A label that never widens its page; the whole text is its tooltip while it is cut."""

    def __init__(
        self,
        text: str = "",
        role: str = "",
        parent: QWidget | None = None,
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:
        super().__init__(text, role, parent, wrap=False, selectable=False)
        self._mode = mode
        self._hint = ""
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(16, super().minimumSizeHint().height())

    @override
    def sizeHint(self) -> QSize:
        # Qt answers in whole pixels and the text may need a fraction more: without the spare pixel it would be cut.
        size = super().sizeHint()
        return QSize(size.width() + 1, size.height())

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        line = " ".join(self.text().split("\n"))
        shown = self.fontMetrics().elidedText(line, self._mode, self.contentsRect().width())
        cut = "" if shown == line else line
        if cut != self._hint:
            self._hint = cut
            self.setToolTip(literal(cut))
        option = QStyleOption()
        option.initFrom(self)
        painter = QPainter(self)
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_Widget, option, painter, self)
        painter.setPen(option.palette.color(self.foregroundRole()))
        painter.drawText(self.contentsRect(), int(self.alignment()) | int(Qt.TextFlag.TextSingleLine), shown)
        painter.end()


def literal(text: str) -> str:
    """The text for a tooltip, which Qt would show as markup where it looks like some; model names may."""
    if not text:
        return ""
    escaped = harmless(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
    return f"<qt>{escaped}</qt>"
