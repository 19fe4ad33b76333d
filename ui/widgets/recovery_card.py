"""The curve of a recovery, or of a training, on the Runs page, growing while it runs. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from core.jobs.protocol import Metric
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_drawing import Drawing

_WAIT_MS = 500
"""A step may take milliseconds: what came in the meantime is drawn together."""


class RecoveryCard(ChartCard):
    """Hidden as long as there is no figure of a recovery."""

    def __init__(
        self,
        drawing_of: Callable[[Sequence[Metric]], Drawing],
        title: str = "Recovery",
        name: str = "runs.recovery",
        parent: QWidget | None = None,
    ) -> None:
        """`drawing_of` makes the chart of a job's metrics; empty where there is nothing of it among them."""
        super().__init__(title, name, parent)
        self._drawing_of = drawing_of
        self._metrics: Sequence[Metric] = ()
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(_WAIT_MS)
        self._late.timeout.connect(self._redraw)
        self.setMinimumHeight(260)
        self.hide()

    def show_metrics(self, metrics: Sequence[Metric]) -> None:
        """Draws what is of a recovery, at once for the first time and now and then afterwards."""
        if metrics is self._metrics:
            return  # Most events bring no new figure, and then the very same tuple comes.
        first = self.isHidden() or not metrics
        self._metrics = metrics
        if first:
            self._late.stop()
            self._redraw()
        elif not self._late.isActive():
            self._late.start()

    def _redraw(self) -> None:
        drawing = self._drawing_of(self._metrics)
        self.setVisible(not drawing.empty)
        if not drawing.empty:
            self.show_drawing(drawing)
