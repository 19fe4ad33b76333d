"""What importing the window must not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "transformers",
    "llmcompressor",
    "datasets",
    "compressed_tensors",
    "matplotlib",
    "sqlalchemy",
    "alembic",
)


@pytest.mark.parametrize("module", ["app.window", "ui.main_window", "app.cli.main"])
def test_that_importing_loads_no_heavy_library(module: str) -> None:
    code = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_that_the_main_window_stays_within_its_budget() -> None:
    from pathlib import Path

    import ui.main_window

    assert len(Path(ui.main_window.__file__).read_text().splitlines()) < 250
