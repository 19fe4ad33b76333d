"""The pages of a PDF, one below the other. Import only when the first preview is shown (QtPdf)."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QColor, QKeySequence, QPalette, QResizeEvent, QShortcut
from PySide6.QtPdf import QPdfDocument
from PySide6.QtPdfWidgets import QPdfView
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.widgets.buttons import quiet_button
from ui.widgets.plain import PlainLabel

_STEP = 1.2
_SMALLEST, _LARGEST = 0.25, 4.0
_WIDEST = 920
"""Pixels: a page that fits a wide window's width would be too large to read at a glance."""


class PdfPreview(QWidget):
    """Fits the width, up to a comfortable one, until somebody zooms; tells the page that is looked at."""

    failed = Signal(str)
    """The file cannot be read as a PDF; in one plain sentence."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("reports.preview")
        self._fitted = True
        self._document = QPdfDocument(self)
        self._view = QPdfView(self)
        self._view.setObjectName("reports.pages")
        self._view.setAccessibleName("Pages of the report")
        self._view.setDocument(self._document)
        self._view.setPageMode(QPdfView.PageMode.MultiPage)
        self._view.setZoomMode(QPdfView.ZoomMode.FitToWidth)
        self._view.setPageSpacing(16)
        self._view.setFrameShape(QPdfView.Shape.NoFrame)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._view, 1)
        column.addLayout(self._make_bar())
        navigator = self._view.pageNavigator()
        navigator.currentPageChanged.connect(self._tell_page)
        self._document.statusChanged.connect(self._status_changed)
        for keys, zoom in (("Ctrl++", self._zoom_in), ("Ctrl+=", self._zoom_in), ("Ctrl+-", self._zoom_out)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(zoom)
        self._tint()

    def _make_bar(self) -> QHBoxLayout:
        self._before = quiet_button("Previous", "reports.previous")
        self._before.clicked.connect(lambda: self._go(-1))
        self._after = quiet_button("Next", "reports.next")
        self._after.clicked.connect(lambda: self._go(1))
        self._page = PlainLabel("", "note", wrap=False, selectable=False)
        self._page.setObjectName("reports.page")
        smaller = quiet_button("−", "reports.zoom_out")
        smaller.setAccessibleName("Smaller")
        smaller.clicked.connect(self._zoom_out)
        larger = quiet_button("+", "reports.zoom_in")
        larger.setAccessibleName("Larger")
        larger.clicked.connect(self._zoom_in)
        fit = quiet_button("Fit width", "reports.fit")
        fit.clicked.connect(self._fit)
        bar = QHBoxLayout()
        bar.setSpacing(8)
        bar.addWidget(self._before)
        bar.addWidget(self._page)
        bar.addWidget(self._after)
        bar.addStretch(1)
        for button in (smaller, larger):
            button.setFixedWidth(34)
            bar.addWidget(button)
        bar.addWidget(fit)
        return bar

    def show_file(self, path: Path) -> None:
        """Reads the file again, even where it is the one that is shown; stays on the page that was looked at."""
        page = self._view.pageNavigator().currentPage()
        self._document.close()
        self._document.load(str(path))
        if self._fitted:
            self._fit()
        if 0 < page < self._document.pageCount():
            self._view.pageNavigator().jump(page, QPointF(), 0)
        self._tell_page()

    def page_count(self) -> int:
        """Pages of the shown file, 0 where none is shown."""
        return max(0, self._document.pageCount())

    def _go(self, step: int) -> None:
        navigator = self._view.pageNavigator()
        wanted = navigator.currentPage() + step
        if 0 <= wanted < self._document.pageCount():
            navigator.jump(wanted, QPointF(), 0)

    def _tell_page(self) -> None:
        pages = self.page_count()
        page = self._view.pageNavigator().currentPage()
        self._page.setText(f"Page {page + 1} of {pages}" if pages else "")
        self._before.setEnabled(page > 0)
        self._after.setEnabled(page + 1 < pages)

    def _status_changed(self, status: QPdfDocument.Status) -> None:
        if status is QPdfDocument.Status.Error:
            self.failed.emit("The preview cannot be shown: the file is not a PDF that can be read.")
        self._tell_page()

    def _zoom_in(self) -> None:
        self._zoom(_STEP)

    def _zoom_out(self) -> None:
        self._zoom(1 / _STEP)

    def _zoom(self, factor: float) -> None:
        self._fitted = False
        if self._view.zoomMode() is not QPdfView.ZoomMode.Custom:
            # Fitting the width leaves the factor as it was: begin from what is seen now.
            margins = self._view.documentMargins()
            self._show_width(self._view.viewport().width() - margins.left() - margins.right())
        self._view.setZoomFactor(min(_LARGEST, max(_SMALLEST, self._view.zoomFactor() * factor)))

    def _fit(self) -> None:
        self._fitted = True
        if self.width() > _WIDEST + 40:  # this widget's: the view inside is laid out only after this one
            self._show_width(_WIDEST)
        else:
            self._view.setZoomMode(QPdfView.ZoomMode.FitToWidth)

    def _show_width(self, pixels: float) -> None:
        points = self._document.pagePointSize(0).width()
        if points > 0:
            self._view.setZoomMode(QPdfView.ZoomMode.Custom)
            self._view.setZoomFactor(pixels / (points * self.logicalDpiX() / 72.0))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitted:
            self._fit()

    def _tint(self) -> None:
        palette = QPalette(self._view.palette())
        palette.setColor(QPalette.ColorRole.Dark, QColor(theme_of(self).line))
        self._view.setPalette(palette)

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()
