"""The device that one command runs on."""

from __future__ import annotations

import re

from app.engine import Engine
from core.errors import BitpressError


def use_device(engine: Engine, name: str | None) -> None:
    """Run on this device instead of the one in the settings; None changes nothing.

    Raises BitpressError `bad-device` for what names none; whether it is there only a worker knows.
    """
    if name is None:
        return
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise BitpressError(
            "bad-device", f"{name!r} names no device.", "Write auto, cpu, cuda, or cuda:0, cuda:1 ... for one of them."
        )
    engine.settings = engine.settings.model_copy(update={"device": name})
