"""What every test shares: a home of its own, and the starter model, fetched and imported once per checkout."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from core.paths import Home

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Before torch is imported: spinning threads make a step many times slower beside any other busy program.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home that the application under test uses."""
    monkeypatch.setenv("BITPRESS_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def starter() -> Path:
    """The starter model as bf16 safetensors; BITPRESS_TEST_STARTER names one that is there already."""
    if named := os.environ.get("BITPRESS_TEST_STARTER"):
        return Path(named)
    from filelock import FileLock

    from app.engine import Engine
    from app.starter import ensure_starter

    async def ready() -> Path:
        engine = Engine.open(Home(ROOT / ".test-home"), nice=0)
        try:
            return (await ensure_starter(engine, lambda _text, _share: None)).path
        finally:
            await engine.close()

    # Tests run in several processes, and the first that asks fetches it for all.
    with FileLock(ROOT / ".test-home.lock"):
        return asyncio.run(ready())


@pytest.fixture
def home_with_starter(home: Home, starter: Path) -> Home:
    """A home in which the starter model is imported already, without copying where the disk allows it."""
    folder = home.models / "SmolLM2-135M-Instruct"
    folder.mkdir(parents=True)
    for file in starter.iterdir():
        try:
            os.link(file, folder / file.name)
        except OSError:  # Another disk.
            shutil.copyfile(file, folder / file.name)
    return home
