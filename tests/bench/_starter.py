"""The starter model for a benchmark's own home: the one that the tests fetched, by links."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def starter_folder() -> Path:
    """The imported starter model, fetched on first use."""
    if named := os.environ.get("BITPRESS_TEST_STARTER"):
        return Path(named)
    from app.engine import Engine
    from app.starter import ensure_starter
    from core.paths import Home

    async def ready() -> Path:
        engine = Engine.open(Home(ROOT / ".test-home"), nice=0)
        try:
            return (await ensure_starter(engine, lambda text, _share: print(text))).path
        finally:
            await engine.close()

    return asyncio.run(ready())


def home_with_starter(home: Path) -> Path:
    """The starter model copied into `home`, as an installed application has it."""
    folder = home / "models" / "SmolLM2-135M-Instruct"
    shutil.copytree(starter_folder(), folder)
    return folder
