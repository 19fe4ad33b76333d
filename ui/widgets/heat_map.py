"""The heat map of sensitivity with its colour scale, and a switch between schemes."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QWidget

from core.measure.sensitivity_values import SensitivityResult
from ui.pages.run_words import significant
from ui.widgets.chart_card import ChartCard
from ui.widgets.colour_scale import ColourScale
from ui.widgets.heat_drawing import assignment_line, heat_drawing, letters_line, scale_of
from ui.widgets.plain import PlainLabel


class HeatMap(ChartCard):
    """Layers across, kinds of modules down; letters name the scheme that was chosen for each part."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__("Sensitivity", name, parent)
        self._result: SensitivityResult | None = None
        self._scheme = self.add_switch("scheme", "Scheme", ())
        self._scheme.currentIndexChanged.connect(self._show_scheme)
        self._scale = ColourScale()
        self._letters = PlainLabel("", "note")
        self._letters.setObjectName(f"{name}.letters")
        self._chosen = PlainLabel("", "note")
        self._chosen.setObjectName(f"{name}.chosen")
        for widget in (self._scale, self._letters, self._chosen):
            self.body.addWidget(widget)
        self.show_sensitivity(None)

    def show_sensitivity(self, result: SensitivityResult | None) -> None:
        """Replaces the map; None says what to do to get one."""
        self._result = result
        with QSignalBlocker(self._scheme):
            self._scheme.clear()
            self._scheme.addItems(result.schemes if result is not None else ())
        self._scheme.setVisible(self._scheme.count() > 1)
        filled = result is not None and bool(result.cells)
        self._letters.setText(letters_line(result) if result is not None else "")
        self._letters.setVisible(filled and bool(self._letters.text()))
        self._chosen.setText(assignment_line(result) if result is not None else "")
        self._chosen.setVisible(filled)
        self._scale.setVisible(filled)
        self._show_scheme()

    def _show_scheme(self) -> None:
        scheme = self._scheme.currentText()
        if self._result is not None and self._result.cells:
            low, high = scale_of(self._result, scheme)
            self._scale.show_ends(f"mean KL {significant(low)}", f"{significant(high)} nats per token")
        self.show_drawing(heat_drawing(self._result, scheme))
