"""A drawing as the bytes of a picture: light colours, title, units, legend. Import only when one is asked for."""

from __future__ import annotations

import re

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter
from PySide6.QtSvg import QSvgGenerator, QSvgRenderer
from PySide6.QtWidgets import QApplication

from ui.theme import LIGHT
from ui.widgets.chart_drawing import Drawing
from ui.widgets.chart_frame import small_font
from ui.widgets.chart_legend import legend_height, paint_legend
from ui.widgets.chart_plot import ChartPlot

WIDTH, HEIGHT = 960, 600
_SIDE, _TOP = 24, 20
_DENSITY = 2
"""Pixels of a PNG for one of the drawing."""
_THIN = re.compile(r"<g [^>]*>\s*<\w+ [^>]*non-scaling-stroke")
_WIDTHS = re.compile(r'(stroke-(?:width|dasharray)=")([\d.,]+)"')


def picture(drawing: Drawing, kind: str) -> bytes:
    """The whole drawing as `svg` or `png`."""
    vectors = _svg(drawing)
    return vectors if kind == "svg" else _png(vectors, drawing.title)


def _svg(drawing: Drawing) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator(QSvgGenerator.SvgVersion.Svg11)
    generator.setOutputDevice(buffer)
    generator.setSize(QSize(WIDTH, HEIGHT))
    generator.setViewBox(QRectF(0, 0, WIDTH, HEIGHT))
    generator.setResolution(96)
    generator.setTitle(drawing.title)
    generator.setDescription(drawing.note)
    painter = QPainter(generator)
    _paint(painter, drawing)
    painter.end()
    return bytes(buffer.data().data())


def _png(vectors: bytes, title: str) -> bytes:
    # From the vectors, because pyqtgraph's markers keep their size in pixels and would come out small.
    image = QImage(WIDTH * _DENSITY, HEIGHT * _DENSITY, QImage.Format.Format_RGB32)
    image.fill(QColor(LIGHT.surface))
    image.setText("Title", title)
    image.setDotsPerMeterX(round(96 * _DENSITY / 0.0254))
    image.setDotsPerMeterY(round(96 * _DENSITY / 0.0254))
    painter = QPainter(image)
    QSvgRenderer(QByteArray(_THIN.sub(_thicker, vectors.decode()).encode())).render(painter)
    painter.end()
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]
    return bytes(buffer.data().data())


def _thicker(found: re.Match[str]) -> str:
    """A group of lines that keep their width at every scale, as wide as the picture is dense."""
    return _WIDTHS.sub(
        lambda part: part[1] + ",".join(f"{float(number) * _DENSITY:g}" for number in part[2].split(",")) + '"',
        found[0],
    )


def _paint(painter: QPainter, drawing: Drawing) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.fillRect(QRectF(0, 0, WIDTH, HEIGHT), QColor(LIGHT.surface))
    base = QApplication.font()
    title = QFont(base)
    title.setPixelSize(17)
    title.setWeight(QFont.Weight.DemiBold)
    note = small_font(base)
    room = WIDTH - 2 * _SIDE
    top = float(_TOP)
    painter.setFont(title)
    painter.setPen(QColor(LIGHT.text))
    metrics = QFontMetricsF(title)
    words = metrics.elidedText(drawing.title, Qt.TextElideMode.ElideRight, room)
    painter.drawText(QPointF(_SIDE, top + metrics.ascent()), words)
    top += metrics.height() + 2
    if drawing.note:
        painter.setFont(note)
        painter.setPen(QColor(LIGHT.quiet))
        metrics = QFontMetricsF(note)
        area = QRectF(_SIDE, top, room, 4 * metrics.lineSpacing())
        flags = int(Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap)
        used = metrics.boundingRect(area, flags, drawing.note)
        painter.drawText(area, flags, drawing.note)
        top += used.height() + 4
    if drawing.keys:
        paint_legend(painter, QRectF(_SIDE, top, room, HEIGHT), drawing.keys, LIGHT, note)
        top += legend_height(drawing.keys, note, room) + 4
    plot = ChartPlot(theme=LIGHT)
    plot.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    plot.resize(round(room), round(HEIGHT - top - 12))
    plot.show()  # a hidden one would lay its axes out too late
    plot.show_drawing(drawing)
    # Ticks are worked out while painting: the first round fits the axis to them, the second one is right.
    plot.grab()
    plot.reset_zoom()
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(Qt.PenStyle.NoPen)
    plot.render(painter, QRectF(_SIDE, top, plot.width(), plot.height()), plot.viewport().rect())
    plot.hide()
    plot.deleteLater()
