"""Time from process start to the first painted window: ours against a bare PySide6 + pyqtgraph window; at most 1.5."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

PAIRS = 9
LIMIT = 1.5

BARE = """
import sys, time, os
from PySide6.QtCore import QObject, QEvent
from PySide6.QtWidgets import QApplication, QMainWindow
import pyqtgraph
app = QApplication([])
window = QMainWindow()
plot = pyqtgraph.PlotWidget()
window.setCentralWidget(plot)
"""
OURS = """
import sys, time, os
from PySide6.QtCore import QObject, QEvent
import app.window as target
from PySide6.QtWidgets import QApplication
"""
WATCH = """
class Watch(QObject):
    def eventFilter(self, thing, event):
        if event.type() == QEvent.Type.Paint and thing.objectName() == watched:
            app.removeEventFilter(self)
            from PySide6.QtCore import QTimer
            QTimer.singleShot(0, lambda: (print(time.time() - float(sys.argv[1])), sys.stdout.flush(), os._exit(0)))
        return False
watch = Watch()
"""
BARE_END = """
watched = "viewport"
plot.viewport().setObjectName("viewport")
app.installEventFilter(watch)
window.resize(1440, 900)
window.show()
app.exec()
"""
OURS_END = """
watched = "models.table.viewport"
themed = target.use_theme
def use_theme(mode):
    global app
    themed(mode)
    app = QApplication.instance()
    app.installEventFilter(watch)
target.use_theme = use_theme
made = target.MainWindow.show
def show(window):
    from PySide6.QtWidgets import QTableView, QTreeView
    view = window.findChild(QTableView) or window.findChild(QTreeView)
    view.viewport().setObjectName(watched)
    made(window)
target.MainWindow.show = show
target.run_window()
"""


def main() -> int:
    """Interleaved pairs after one warm-up of each; medians and their ratio."""
    bare, ours = BARE + WATCH + BARE_END, OURS + WATCH + OURS_END
    with tempfile.TemporaryDirectory() as home:
        for code in (bare, ours):
            _seconds(code, home)
        pairs = [(_seconds(ours, home), _seconds(bare, home)) for _ in range(PAIRS)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"first paint: ours {mine * 1000:.0f} ms, bare {theirs * 1000:.0f} ms, ratio {ratio:.2f} (at most {LIMIT})")
    return int(ratio > LIMIT)


def _seconds(code: str, home: str) -> float:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "BITPRESS_HOME": home}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(time.time())],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
