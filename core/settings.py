"""What the user set, declared once: type, default, title and help; a bad key is reset, never fatal."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from core.durable import write_whole
from core.regular_file import read_beginning, read_regular
from core.value import Json, Received

SCHEMA_VERSION = 1


class Settings(Received):
    """The settings; titles and descriptions are what the Settings page shows."""

    schema_version: int = SCHEMA_VERSION
    watched_folders: tuple[Path, ...] = Field(
        default=(), title="Folders to watch", description="Models in these folders appear in the list."
    )
    hub_cache: bool = Field(
        default=True, title="Hugging Face cache", description="Show models that other programs have downloaded."
    )
    artifacts_folder: Path | None = Field(
        default=None,
        title="Where compressed models go",
        description="Left empty, they go to the application's own folder.",
    )
    device: str = Field(
        default="auto", title="Device", description="auto takes the first NVIDIA GPU, else the processor."
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        title="Processor threads",
        description="0 lets torch decide. A change counts from the next start on, and changes GPTQ's last bits.",
    )
    memory_limit: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="Memory limit",
        description="GB of main memory that a job may hold; it is ended beyond that, so that the desktop stays alive. "
        "0 leaves a tenth of the machine free. A change counts from the next start on.",
    )
    retry_smaller: bool = Field(
        default=False,
        title="Try again with less",
        description="Where memory runs out: smaller batches, shorter samples. What was changed is said with the run.",
    )
    checkpoint_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        title="Seconds between checkpoints",
        description="A calibrated job that dies goes on from its last finished layer, a recovery from a step of its "
        "training. 0 keeps no checkpoints.",
    )
    on_close: Literal["ask", "background", "quit"] = Field(
        default="ask",
        title="Closing the window during a job",
        description="Ask, go on in the background, or cancel the job and quit. What waits is kept in any case.",
    )
    quit_when_done: bool = Field(
        default=False,
        title="Quit when the background is done",
        description="Where the window was closed and work goes on: end Bitpress after the last run.",
    )
    keep_awake: bool = Field(
        default=True,
        title="Stay awake during a job",
        description="Inhibit suspend while a job runs, where the desktop lets us. A closed lid still suspends.",
    )
    theme: Literal["system", "light", "dark"] = Field(
        default="system", title="Theme", description="Follow the desktop, or always light or dark."
    )
    offline: bool = Field(
        default=False, title="Offline", description="Never use the network, not even for the starter model."
    )
    # Without a title: it is chosen where it is used.
    gate: str = Field(default="", max_length=200)
    """The gate that results are judged by, by name; empty, or one that is gone by then, is the usual one."""


def load_settings(path: Path) -> Settings:
    """The kept settings; unreadable ones are set aside as `.bad`, and only bad keys fall back to their default."""
    try:
        kept: Json = json.loads(read_regular(path, 1 << 20).decode("utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict):
        _set_aside(path)
        return Settings()
    while True:
        try:
            return Settings.model_validate(kept)
        except ValidationError as error:
            _set_aside(path)
            for bad in {str(item["loc"][0]) for item in error.errors() if item["loc"]}:
                kept.pop(bad, None)


def save_settings(settings: Settings, path: Path) -> None:
    """Write beside and rename, so that a crash leaves the old settings."""
    write_whole(path, settings.model_dump_json(indent=1).encode())


def _set_aside(path: Path) -> None:
    bad = path.with_suffix(".bad")
    # On a full or read-only disk the application starts all the same; the bad file stays as it is.
    with suppress(OSError):
        if path.is_file() and not bad.exists():
            write_whole(bad, read_beginning(path, 1 << 20))
