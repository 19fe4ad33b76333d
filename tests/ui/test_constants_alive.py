"""The window outlives the references that the Qt binding loses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ui

PROGRAM = """
import os
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from ui.constants_alive import keep_constants_alive
keep_constants_alive()
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication
app = QApplication([])
thing = QObject()
for _ in range(200_000):
    thing.parent()
    thing.property("none")
    thing.setProperty("a", True)
print("alive", None, True, False)
"""


def test_that_none_survives_more_calls_than_it_has_references() -> None:
    root = Path(str(ui.__file__)).parents[1]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive None True False\n"), done.stderr
