"""A chart on a page: title, switches, legend, picture, and what can be done with it. Light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QShowEvent
from PySide6.QtWidgets import QComboBox, QMenu, QStackedWidget, QWidget
from typing_extensions import override

from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.chart_drawing import Drawing, in_words, nothing
from ui.widgets.chart_legend import ChartLegend
from ui.widgets.chart_table import FigureTable
from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

if TYPE_CHECKING:
    from ui.widgets.chart_plot import ChartPlot

_HELP = "Drag a box to zoom, or Ctrl and the wheel. Arrow keys go through the marks, + and - zoom, 0 shows all."


class ChartCard(Card):
    """Shows a drawing; the plotting library is loaded when the first one is to be seen."""

    exported = Signal(str, bytes)
    """Suggested file name, and the picture: SVG or PNG by the name's end."""

    def __init__(self, title: str, name: str, parent: QWidget | None = None, *, legend: bool = True) -> None:
        """`name` is the object's, and the beginning of its parts' names.

        Without `legend` the page tells which marker is whose; an exported picture has it all the same.
        """
        super().__init__("", parent)
        self.setObjectName(name)
        self._title = ElidedLabel(title, "section")
        self.header.addWidget(self._title, 1)
        self.body.addLayout(self.header)
        self._drawing = nothing(title, "")
        self._plot: ChartPlot | None = None
        self._stale = True
        self._with_legend = legend
        self._switches = 1  # they stand after the title
        self._reset = link_button("Reset zoom", f"{name}.reset")
        self._reset.clicked.connect(self._show_whole)
        self._reset.hide()
        self._table_button = link_button("Table", f"{name}.as_table")
        self._table_button.setCheckable(True)
        self._table_button.setToolTip("Show the figures as a table")
        self._table_button.toggled.connect(self._settle)
        self._export = link_button("Export…", f"{name}.export")
        menu = QMenu(self._export)
        for kind, words in (("svg", "Picture as SVG…"), ("png", "Picture as PNG…")):
            action = QAction(words, menu)
            action.setObjectName(f"{name}.export.{kind}")
            action.triggered.connect(lambda _=False, ending=kind: self._give(ending))
            menu.addAction(action)
        self._export.clicked.connect(lambda: menu.popup(self._export.mapToGlobal(self._export.rect().bottomLeft())))
        for button in (self._reset, self._table_button, self._export):
            button.setAccessibleName(f"{button.text()} {title}".strip())
            self.header.addWidget(button)
        self.header.setSpacing(6)
        self._note = ElidedLabel("", "note")
        self._note.setObjectName(f"{name}.note")
        self.legend = ChartLegend()
        self._stack = QStackedWidget()
        self._empty = PlainLabel("", "quiet")
        self._empty.setObjectName(f"{name}.empty")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._table = FigureTable()
        self._table.setObjectName(f"{name}.table")
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._table)
        self._stack.setMinimumHeight(120)
        self.body.setContentsMargins(16, 12, 12, 12)
        self.body.setSpacing(4)
        self.body.addWidget(self._note)
        self.body.addWidget(self.legend)
        self.body.addWidget(self._stack, 1)

    def add_switch(self, name: str, title: str, options: tuple[str, ...]) -> QComboBox:
        """A choice beside the title, for example which figure is drawn; `title` is its accessible name."""
        switch = QComboBox()
        switch.setObjectName(f"{self.objectName()}.{name}")
        switch.setAccessibleName(title)
        switch.setToolTip(title)
        switch.addItems(options)
        switch.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        NoWheel(switch)
        self.header.insertWidget(self._switches, switch)
        self._switches += 1
        return switch

    def show_drawing(self, drawing: Drawing) -> None:
        """Replaces the chart."""
        self._drawing = drawing
        self._stale = True
        self._title.setText(drawing.title)
        self._note.setText(drawing.note)
        self._note.setVisible(bool(drawing.note) and not drawing.empty)
        self._empty.setText(drawing.empty)
        self._table.show_figures(drawing.figures)
        self._table.setAccessibleName(f"{drawing.title}, as a table")
        self.setAccessibleName(drawing.title)
        self.setAccessibleDescription(in_words(drawing))
        self._settle()

    def drawing(self) -> Drawing:
        """What is shown."""
        return self._drawing

    def plot(self) -> ChartPlot | None:
        """The painted chart, where it has been seen."""
        return self._plot

    def picture(self, kind: str) -> bytes:
        """The whole chart in light colours as `svg` or `png`."""
        from ui.widgets.chart_export import picture

        return picture(self._drawing, kind)

    def _give(self, kind: str) -> None:
        words = "".join(letter if letter.isalnum() else "-" for letter in self._drawing.title.lower())
        name = "-".join(part for part in words.split("-") if part)
        self.exported.emit(f"{name}.{kind}", self.picture(kind))

    def _show_whole(self) -> None:
        if self._plot is not None:
            self._plot.reset_zoom()
            self._plot.setFocus()

    def _settle(self) -> None:
        filled = not self._drawing.empty
        as_table = filled and self._table_button.isChecked()
        self._table_button.setVisible(filled and bool(self._drawing.figures.rows))
        self._export.setVisible(filled)
        self.legend.show_keys(self._drawing.keys if filled and self._with_legend and not as_table else ())
        if not filled:
            self._stack.setCurrentWidget(self._empty)
            self._reset.hide()
        elif as_table:
            self._stack.setCurrentWidget(self._table)
        elif self.isVisible() or self._plot is not None:
            self._draw()

    def _draw(self) -> None:
        if self._plot is None:
            # pyqtgraph and numpy take half a second to import: a page without figures must not wait for them.
            from ui.widgets.chart_plot import ChartPlot

            self._plot = ChartPlot()
            self._plot.setObjectName(f"{self.objectName()}.plot")
            self._plot.zoomed.connect(self._reset.setVisible)
            self._plot.setWhatsThis(literal(_HELP))
            self._stack.addWidget(self._plot)
        if self._stale:
            self._stale = False
            self._plot.show_drawing(self._drawing)
            self._plot.setAccessibleName(self._drawing.title)
            self._plot.setAccessibleDescription(f"{self.accessibleDescription()}. {_HELP}")
        self._stack.setCurrentWidget(self._plot)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._settle()
