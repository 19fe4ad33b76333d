"""The frame of the window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QCloseEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.telemetry.sample import GpuSample, HostSample, Sample
from ui import main_window
from ui.main_window import ENTRIES, MainWindow
from ui.tone import Tone
from ui.widgets.page import Page

GIB = 2**30
HOST = HostSample(cpu=42.0, memory_used=12 * GIB, memory_total=31 * GIB)


class Searched(Page):
    def __init__(self) -> None:
        super().__init__("Page")
        self.asked: list[str] = []

    def focus_search(self) -> None:
        self.asked.append("search")

    def refresh(self) -> None:
        self.asked.append("refresh")


def a_window(qtbot: QtBot, made: list[str] | None = None) -> MainWindow:
    def factory(page: str) -> QWidget:
        if made is not None:
            made.append(page)
        return Searched()

    window = MainWindow({entry.page: (lambda page=entry.page: factory(page)) for entry in ENTRIES})
    qtbot.addWidget(window)
    return window


def label(window: QWidget, name: str) -> str:
    found = window.findChild(QLabel, name)
    assert found is not None
    return found.text() if not found.isHidden() else ""


def test_that_a_page_is_made_when_it_is_first_shown(qtbot: QtBot) -> None:
    made: list[str] = []
    window = a_window(qtbot, made)
    assert made == []
    window.show_page("runs")
    window.show_page("models")
    window.show_page("runs")
    assert made == ["runs", "models"]
    assert window.current_page == "runs"


def test_that_the_rail_brings_a_page_and_says_so(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    button = window.findChild(QPushButton, "rail.compress")
    assert button is not None
    with qtbot.waitSignal(window.page_shown) as shown:
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert shown.args == ["compress"]
    assert button.isChecked()


def test_that_the_keyboard_reaches_every_page_search_and_refresh(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    for place, entry in enumerate(ENTRIES):
        QTest.keyClick(window, Qt.Key(Qt.Key.Key_1.value + place), Qt.KeyboardModifier.ControlModifier)
        assert window.current_page == entry.page
    QTest.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(window, Qt.Key.Key_F5)
    page = window.page("settings")
    assert isinstance(page, Searched)
    assert page.asked == ["search", "refresh"]


def test_that_closing_can_be_refused(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    window.closing.connect(lambda event: event.ignore())
    event = QCloseEvent()
    window.closeEvent(event)
    assert not event.isAccepted()


def test_that_a_dropped_folder_is_told(qtbot: QtBot, tmp_path: Path) -> None:
    window = a_window(qtbot)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path)), QUrl("https://example.org/model")])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    with qtbot.waitSignal(window.path_dropped) as dropped:
        window.dropEvent(event)
    assert dropped.args == [tmp_path]


def test_that_the_strip_shows_the_job_and_opens_it(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    window.resize(1280, 800)
    window.show()
    window.strip.show_job("Zebra → GPTQ", "layer 19 of 32 · 6 min left", 0.58, Tone.ACCENT)
    assert label(window, "strip.title") == "Zebra → GPTQ"
    assert label(window, "strip.detail") == "layer 19 of 32 · 6 min left"
    job = window.findChild(QPushButton, "strip.job")
    assert job is not None
    with qtbot.waitSignal(window.strip.job_clicked):
        qtbot.mouseClick(job, Qt.MouseButton.LeftButton)
    window.strip.show_idle("Nothing is running")
    assert label(window, "strip.title") == ""
    assert not job.isEnabled()


def test_that_the_strip_shows_the_gpu_that_we_use(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    idle = GpuSample(index=0, name="NVIDIA Idle", memory_used=0, memory_total=8 * GIB)
    used = GpuSample(
        index=1,
        name="NVIDIA GeForce RTX",
        memory_used=17 * GIB,
        memory_total=24 * GIB,
        memory_ours=16 * GIB,
        load=94.0,
        power=388.0,
        temperature=71.0,
    )
    window.strip.show_sample(Sample(time=1.0, host=HOST, gpus=(idle, used)))
    assert label(window, "strip.device") == "RTX · 1 of 2"
    assert label(window, "strip.first") == "17.0 / 24 GiB"
    assert label(window, "strip.second") == "94 %"
    assert label(window, "strip.heat") == "71 °C · 388 W"


def test_that_a_reading_that_is_missing_is_a_gap_in_the_strip(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    window.strip.show_sample(Sample(time=1.0, host=HOST, gpus=(GpuSample(index=0, name="NVIDIA Old"),)))
    assert label(window, "strip.device") == "Old"
    assert label(window, "strip.first") == ""
    assert label(window, "strip.heat") == ""


def test_that_the_strip_shows_processor_and_memory_without_a_gpu(qtbot: QtBot) -> None:
    window = a_window(qtbot)
    window.strip.show_sample(Sample(time=1.0, host=HOST))
    assert label(window, "strip.device") == "no NVIDIA GPU"
    assert label(window, "strip.first") == "12.0 / 31 GiB"
    assert label(window, "strip.second") == "42 %"


def test_that_the_window_stays_small() -> None:
    assert len(Path(str(main_window.__file__)).read_text(encoding="utf-8").splitlines()) < 250


def test_that_importing_the_window_and_its_first_pages_loads_nothing_slow() -> None:
    program = (
        "import sys, ui.main_window, ui.theme, ui.pages.models, ui.pages.compress, ui.pages.settings\n"
        "names = {'numpy', 'pyqtgraph', 'torch', 'transformers', 'matplotlib', 'yaml', 'sqlalchemy'}\n"
        "slow = names & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(slow)) or 0)\n"
    )
    root = Path(str(main_window.__file__)).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
