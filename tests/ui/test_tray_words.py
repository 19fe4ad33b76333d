"""What the icon beside the clock says."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QApplication

from ui.tray import Tray

MOST = 127


def test_that_a_usual_tooltip_is_whole(qapp: QApplication) -> None:
    tray = Tray()

    tray.show_job(
        "SmolLM2-135M-Instruct → GPTQ W4A16", "Calibrate and compress, layer 11 of 30 · 2 min 23 s left", 0.36
    )

    assert "…" not in tray.icon.toolTip()


@pytest.mark.parametrize(("title", "detail"), [(100, 100), (40, 200), (200, 30), (63, 64), (1, 300)])
def test_that_a_tooltip_has_no_more_characters_than_windows_shows(qapp: QApplication, title: int, detail: int) -> None:
    tray = Tray()

    tray.show_job("t" * title, "d" * detail, None)

    assert len(tray.icon.toolTip()) <= MOST
    assert "t" in tray.icon.toolTip()
    assert "d" in tray.icon.toolTip()
