"""Fonts and colours that every chart shares."""

from __future__ import annotations

from PySide6.QtGui import QColor, QFont, QFontInfo

from ui.theme import Theme


def label_font(font: QFont) -> QFont:
    """The font of a chart's labels beside text in `font`: the smallest of the window."""
    small = QFont(font)
    small.setPixelSize(max(11, round(QFontInfo(font).pixelSize() * 11.5 / 14)))
    return small


def small_font(font: QFont) -> QFont:
    """The font of the window's second smallest text: legends and notes."""
    small = QFont(font)
    small.setPixelSize(max(12, round(QFontInfo(font).pixelSize() * 12.5 / 14)))
    return small


def series_colour(theme: Theme, index: int | None) -> QColor:
    """The colour of a series, or of the original where `index` is None."""
    return QColor(theme.original) if index is None else QColor(theme.series[index % len(theme.series)])
