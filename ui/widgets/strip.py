"""The strip at the bottom, always there: the running job, and how the machine is doing."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QWidget
from typing_extensions import override

from core.telemetry.sample import GpuSample, HostSample, Sample
from ui.humanize import memory_pair_text
from ui.theme import theme_of
from ui.tone import Tone
from ui.widgets.bar import ProgressBar
from ui.widgets.elided import ElidedLabel
from ui.widgets.plain import PlainLabel
from ui.widgets.spark_line import SparkLine

_HEIGHT = 44


class _Dot(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(8, 8)
        self.tone = Tone.NEUTRAL

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme_of(self).tone(self.tone)))
        painter.drawEllipse(QPointF(4, 4), 4, 4)
        painter.end()


class StripJob(QPushButton):
    """The running job in one line; a click opens it."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("strip.job")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.dot = _Dot()
        self.title = ElidedLabel("", "smallstrong")
        self.title.setObjectName("strip.title")
        self.detail = ElidedLabel("", "note")
        self.detail.setObjectName("strip.detail")
        self.bar = ProgressBar()
        self.bar.setObjectName("strip.bar")
        self.bar.setFixedWidth(160)
        row = self._row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(12)
        for widget in (self.dot, self.title, self.detail, self.bar):
            widget.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            row.addWidget(widget)

    @override
    def sizeHint(self) -> QSize:
        return QSize(self._row.sizeHint().width(), _HEIGHT - 12)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(80, _HEIGHT - 12)


class Strip(QFrame):
    """Shows a job or says that there is none; beside it the first GPU, or processor and memory where there is none."""

    job_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(_HEIGHT)
        self.setAccessibleName("Running job and machine")
        self._job = StripJob()
        self._job.clicked.connect(self.job_clicked)
        self._device = ElidedLabel("", "note")
        self._device.setObjectName("strip.device")
        self._first_name, self._second_name = (PlainLabel("", "note", wrap=False) for _ in range(2))
        self._first_line, self._second_line = SparkLine(0), SparkLine(2)
        self._first, self._second = (PlainLabel("", "smallstrong", wrap=False) for _ in range(2))
        self._first.setObjectName("strip.first")
        self._second.setObjectName("strip.second")
        self._heat = PlainLabel("", "note", wrap=False)
        self._heat.setObjectName("strip.heat")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 16, 0)
        row.setSpacing(12)
        row.addWidget(self._job)
        row.addStretch(1)
        self._machine = (
            self._device,
            self._first_name,
            self._first_line,
            self._first,
            self._second_name,
            self._second_line,
            self._second,
            self._heat,
        )
        for widget in self._machine:
            widget.hide()
            row.addWidget(widget)
        self.show_idle("Nothing is running")

    def show_job(self, title: str, detail: str, fraction: float | None, tone: Tone = Tone.ACCENT) -> None:
        """Show a job; `fraction` None where the share done is not known."""
        self._show(title, detail, tone)
        self._job.bar.setVisible(tone is Tone.ACCENT or tone is Tone.ATTENTION)
        self._job.bar.set_fraction(fraction)
        self._job.bar.set_tone(tone)
        self._job.setEnabled(True)

    def show_idle(self, text: str) -> None:
        """Say that nothing runs."""
        self._show("", text, Tone.NEUTRAL)
        self._job.bar.hide()
        self._job.setEnabled(False)

    def show_sample(self, sample: Sample) -> None:
        """One reading of the machine: the GPU that we use, else the first, else processor and memory."""
        if sample.gpus:
            self._show_gpu(max(sample.gpus, key=lambda gpu: gpu.memory_ours or 0), len(sample.gpus))
        else:
            self._show_host(sample.host)

    def _show(self, title: str, detail: str, tone: Tone) -> None:
        self._job.title.setText(title)
        self._job.title.setVisible(bool(title))
        self._job.detail.setText(detail)
        self._job.dot.tone = tone
        self._job.dot.update()
        self._job.setAccessibleName(" ".join(part for part in (title, detail) if part))
        self._job.updateGeometry()

    def _show_gpu(self, gpu: GpuSample, count: int) -> None:
        name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
        self._set(self._device, f"{name} · 1 of {count}" if count > 1 else name)
        self._set(self._first_name, "VRAM")
        used, total = gpu.memory_used, gpu.memory_total
        self._first_line.add(None if used is None or not total else 100 * used / total)
        self._set(self._first, "" if used is None or not total else memory_pair_text(used, total))
        self._set(self._second_name, "load")
        self._second_line.add(gpu.load)
        self._set(self._second, "" if gpu.load is None else f"{gpu.load:.0f} %")
        readings = (
            None if gpu.temperature is None else f"{gpu.temperature:.0f} °C",
            None if gpu.power is None else f"{gpu.power:.0f} W",
        )
        self._set(self._heat, " · ".join(reading for reading in readings if reading))
        self._first_line.setVisible(True)
        self._second_line.setVisible(True)

    def _show_host(self, host: HostSample) -> None:
        self._set(self._device, "no NVIDIA GPU")
        self._set(self._first_name, "RAM")
        self._first_line.add(100 * host.memory_used / host.memory_total if host.memory_total else None)
        self._set(self._first, memory_pair_text(host.memory_used, host.memory_total))
        self._set(self._second_name, "CPU")
        self._second_line.add(host.cpu)
        self._set(self._second, f"{host.cpu:.0f} %")
        self._set(self._heat, "")
        self._first_line.setVisible(True)
        self._second_line.setVisible(True)

    @staticmethod
    def _set(label: PlainLabel, text: str) -> None:
        if label.text() != text:
            label.setText(text)
        label.setVisible(bool(text))
