"""A panel that opens below a button and closes when somebody turns to something else."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from ui.widgets.card import Card


class PopupPanel(QWidget):
    """Holds one widget; `open_below` places it so that it stays on the screen."""

    def __init__(self, name: str, content: QWidget, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup | Qt.WindowType.FramelessWindowHint)
        self.setObjectName(name)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        card = Card(margin=16)
        card.body.addWidget(content)
        outer.addWidget(card)

    def open_below(self, button: QPushButton) -> None:
        """Shows the panel with its right edge under the button's."""
        self.adjustSize()
        corner = button.mapToGlobal(QPoint(button.width() - self.width(), button.height() + 4))
        screen = button.screen().availableGeometry()
        left = min(max(corner.x(), screen.left() + 8), screen.right() - self.width() - 8)
        top = min(corner.y(), screen.bottom() - self.height() - 8)
        self.move(left, top)
        self.show()
        self.setFocus()
