"""The window: rail, pages and strip. What they show and do is bound in `app`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QGridLayout, QMainWindow, QStackedWidget, QWidget
from typing_extensions import override

from ui.widgets.drop import dropped_paths
from ui.widgets.page import Page
from ui.widgets.rail import Rail, RailEntry
from ui.widgets.strip import Strip

ENTRIES = (
    RailEntry("models", "Models", "models", "Ctrl+1"),
    RailEntry("compress", "Compress", "compress", "Ctrl+2"),
    RailEntry("runs", "Runs", "runs", "Ctrl+3"),
    RailEntry("compare", "Compare", "compare", "Ctrl+4"),
    RailEntry("benchmarks", "Benchmarks", "benchmarks", "Ctrl+5"),
    RailEntry("reports", "Reports", "reports", "Ctrl+6"),
    RailEntry("settings", "Settings", "settings", "Ctrl+7", at_end=True),
)

_FRAME = QSize(8, 40)
"""About what the desktop puts around a window."""


class MainWindow(QMainWindow):
    """Makes each page when it is first shown.

    `pages` maps the ids of ENTRIES to functions that make the page. `closing` carries the QCloseEvent: a listener may
    ignore it to keep the window. `path_dropped` carries a folder or file that was dropped on a page that does not take
    it itself.
    """

    page_made = Signal(str)
    page_shown = Signal(str)
    closing = Signal(object)
    path_dropped = Signal(object)

    def __init__(self, pages: Mapping[str, Callable[[], QWidget]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("window")
        self.setWindowTitle("Bitpress")
        self.setMinimumSize(1040, 640)
        self.resize(QSize(1440, 900).boundedTo(self.screen().availableSize() - _FRAME))
        self.setAcceptDrops(True)
        self._factories = dict(pages)
        self._pages: dict[str, QWidget] = {}
        self._current = ""
        entries = tuple(entry for entry in ENTRIES if entry.page in pages)
        self._rail = Rail(entries)
        self._rail.chosen.connect(self.show_page)
        self._stack = QStackedWidget()
        self.strip = Strip()
        middle = QWidget()
        grid = QGridLayout(middle)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(0)
        grid.addWidget(self._rail, 0, 0)
        grid.addWidget(self._stack, 0, 1)
        grid.addWidget(self.strip, 1, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setRowStretch(0, 1)
        self.setCentralWidget(middle)
        middle.setFocus()  # no button wears the focus before somebody uses the keyboard
        for entry in entries:
            shortcut = QShortcut(QKeySequence(entry.shortcut), self)
            shortcut.activated.connect(lambda page=entry.page: self.show_page(page))
        QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self).activated.connect(self._focus_search)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Refresh), self).activated.connect(self._refresh)

    @property
    def current_page(self) -> str:
        """The id of the shown page, empty before the first."""
        return self._current

    def page(self, page: str) -> QWidget:
        """A page, made now if it was not yet."""
        made = self._pages.get(page)
        if made is None:
            made = self._factories[page]()
            self._pages[page] = made
            self._stack.addWidget(made)
            self.page_made.emit(page)
        return made

    def is_made(self, page: str) -> bool:
        """Whether a page was needed already."""
        return page in self._pages

    def show_page(self, page: str) -> None:
        """Bring a page to the front."""
        self._stack.setCurrentWidget(self.page(page))
        self._rail.show_chosen(page)
        if page != self._current:
            self._current = page
            self.page_shown.emit(page)

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        event.accept()
        self.closing.emit(event)

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_paths(event.mimeData()):
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        paths: tuple[Path, ...] = dropped_paths(event.mimeData())
        if paths:
            event.acceptProposedAction()
        for path in paths:
            self.path_dropped.emit(path)

    def _focus_search(self) -> None:
        if isinstance(page := self._pages.get(self._current), Page):
            page.focus_search()

    def _refresh(self) -> None:
        if isinstance(page := self._pages.get(self._current), Page):
            page.refresh()
