"""Where words stand in a chart so that they cover neither each other nor the marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PySide6.QtCore import QPointF, QRectF, QSizeF

_GAP = 9.0
_NEARER = 0.6
"""Share of the squared distance to its own mark from which on a name seems to belong to another one."""


def free_place(
    centre: QPointF,
    size: QSizeF,
    bounds: QRectF,
    taken: list[QRectF],
    *,
    others: Sequence[QPointF] = (),
    gap: float = _GAP,
) -> QRectF | None:
    """Where a name stands best: right of its mark, else left, below, above, and then farther away.

    None where all of that is taken, outside of `bounds`, or clearly nearer to one of `others` than to its own mark.
    """
    for corner in _corners(centre, size, gap):
        area = QRectF(corner, size)
        if not bounds.contains(area) or any(area.intersects(other) for other in taken):
            continue
        own = _away(area, centre)
        if all(_away(area, other) >= own * _NEARER for other in others):
            return area
    return None


def _away(area: QRectF, place: QPointF) -> float:
    across = max(area.left() - place.x(), 0.0, place.x() - area.right())
    down = max(area.top() - place.y(), 0.0, place.y() - area.bottom())
    return across * across + down * down


def _corners(centre: QPointF, size: QSizeF, gap: float) -> Iterator[QPointF]:
    height, width = size.height(), size.width()
    right, left = centre.x() + gap, centre.x() - gap - width
    for away in (0.0, -0.5, 0.5):
        for side in (right, left):
            yield QPointF(side, centre.y() + (away - 0.5) * height)
    for start in (centre.x() - width / 2, centre.x() - 6, centre.x() - width + 6):
        for top in (centre.y() + gap, centre.y() - height - gap):
            yield QPointF(start, top)
    for away in (-1.0, 1.0, -1.5, 1.5, -2.0, 2.0, -2.6, 2.6):
        for side in (right, left):
            yield QPointF(side, centre.y() + (away - 0.5) * height)
