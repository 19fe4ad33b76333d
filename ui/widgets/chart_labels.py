"""Where words stand in a chart so that they cover neither each other nor the marks."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSizeF

_GAP = 9.0


def free_place(
    centre: QPointF, size: QSizeF, bounds: QRectF, taken: list[QRectF], *, only_right: bool = False
) -> QRectF | None:
    """Where a name stands best: right of its mark, else left, then above and below; None where all is taken."""
    height = size.height()
    for away in (0.0, -0.7, 0.7, -1.0, 1.0, -1.5, 1.5, -2.0, 2.0, -2.6, 2.6):
        middle = centre.y() - height / 2 + away * height
        for left in (centre.x() + _GAP, centre.x() - _GAP - size.width())[: 1 if only_right else 2]:
            area = QRectF(left, middle, size.width(), height)
            if bounds.contains(area) and not any(area.intersects(other) for other in taken):
                return area
    if only_right:
        return None
    for top in (centre.y() - height - _GAP, centre.y() + _GAP):
        area = QRectF(centre.x() - size.width() / 2, top, size.width(), height)
        if bounds.contains(area) and not any(area.intersects(other) for other in taken):
            return area
    return None
