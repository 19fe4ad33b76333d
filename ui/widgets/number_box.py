"""A field for a number with as many decimals as the number needs."""

from __future__ import annotations

from PySide6.QtWidgets import QDoubleSpinBox
from typing_extensions import override


class NumberBox(QDoubleSpinBox):
    """Shows 0.8 and 0.01, not 0.8000 and 0.0100; `decimals` stays the most that can be written."""

    @override
    def textFromValue(self, val: float) -> str:
        text = super().textFromValue(val)
        point = self.locale().decimalPoint()
        return text.rstrip("0").removesuffix(point) if point in text else text
