"""The words of a chart: which marks have some, whose are placed first, and what they may not cover."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from PySide6.QtCore import QPointF, QRectF, QSizeF

from ui.widgets.chart_drawing import Block, Curve, Dot, Drawing, Ink, Region, Rule, Words


def label_of(mark: Any) -> str:
    """The words that a mark asks for; empty for none."""
    return mark.text if isinstance(mark, Words) else getattr(mark, "label", "")


def words_of(drawing: Drawing) -> list[tuple[str, Ink]]:
    """All words of a drawing with their ink, in the order of their marks."""
    inks: list[tuple[str, Ink]] = []
    for mark in drawing.marks:
        if text := label_of(mark):
            match mark:
                case Words():
                    inks.append((text, mark.ink))
                case Block():
                    inks.append((text, mark.label_ink))
                case Dot():
                    inks.append((text, "quiet" if mark.faint else "text"))
                case Rule() | Region():
                    inks.append((text, "quiet"))
                case _:
                    inks.append((text, "text"))
    return inks


def rank(mark: Any) -> tuple[int, float]:
    """Whose words are placed first: names of what counts, then limits, then what is muted."""
    match mark:
        case Block() | Words():
            return (0, 0.0)
        case Dot():
            return (1 if mark.ringed else 4 if mark.faint else 2, mark.y)
        case Curve():
            return (2, -mark.points[-1][1])
        case _:
            return (3, 0.0)


def taken_by(drawing: Drawing, place_of: Callable[[float, float], QPointF]) -> list[QRectF]:
    """What words may not cover: markers, whiskers, rules, and lines where points have names."""
    taken = []
    named = any(isinstance(mark, Dot) and mark.label for mark in drawing.marks)
    for mark in drawing.marks:
        if isinstance(mark, Dot):
            centre = place_of(mark.x, mark.y)
            half = radius_of(mark)
            taken.append(QRectF(centre.x() - half, centre.y() - half, 2 * half, 2 * half))
            if mark.y_interval is not None:
                ends = [place_of(mark.x, end).y() for end in mark.y_interval]
                taken.append(QRectF(centre.x() - 2, min(ends), 4, abs(ends[1] - ends[0])))
            if mark.x_interval is not None:
                sides = [place_of(end, mark.y).x() for end in mark.x_interval]
                taken.append(QRectF(min(sides), centre.y() - 2, abs(sides[1] - sides[0]), 4))
        elif isinstance(mark, Curve) and named:
            taken += _along([place_of(*point) for point in mark.points])
        elif isinstance(mark, Rule):
            at = place_of(mark.at, mark.at)
            line = QRectF(at.x() - 1, -9e3, 2, 18e3) if mark.axis == "x" else QRectF(-9e3, at.y() - 1, 18e3, 2)
            taken.append(line)
    return taken


def radius_of(mark: Dot) -> float:
    """Pixels from the middle of a marker to its edge, its ring included."""
    return mark.size / 2 + (5.5 if mark.ringed else 1.0)


def _along(places: list[QPointF]) -> list[QRectF]:
    """Small squares along a line, so that words keep off it."""
    found = []
    for start, end in pairwise(places):
        way = end - start
        steps = max(1, round((abs(way.x()) + abs(way.y())) / 12))
        if steps < 200:
            middles = (start + way * (step / steps) for step in range(steps + 1))
            found += [QRectF(middle.x() - 3, middle.y() - 3, 6, 6) for middle in middles]
    return found


def first_free(places: list[QPointF], size: QSizeF, bounds: QRectF, taken: list[QRectF]) -> QRectF | None:
    """The first of several corners at which words lie inside and cover nothing; None where there is none."""
    for place in places:
        area = QRectF(place, size)
        if bounds.contains(area) and not any(area.intersects(other) for other in taken):
            return area
    return None
