"""An engine's environment under the home folder: absent, unfinished or ready; made, checked and removed on request.

engines/vllm/ready.json   written last, in one step: without it the rest is unfinished
engines/vllm/venv/        the environment; it is built in place, as it cannot be moved
engines/vllm/home/        the server's own home folder: caches
engines/vllm.log          what the last installation said
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.engines.offered import Build, check_engine
from core.errors import BitpressError
from core.paths import Home
from core.value import Received

READY, VENV, OWN_HOME = "ready.json", "venv", "home"


class State(StrEnum):
    """What there is of an environment."""

    ABSENT = "absent"
    UNFINISHED = "unfinished"
    READY = "ready"


class Ready(Received):
    """The marker of a finished environment."""

    engine: str
    build: Build
    package: str
    version: str
    python: str
    versions: dict[str, str] = {}
    installed: datetime
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Environment:
    """Where one engine lives; nothing of it needs to exist."""

    engine: str
    root: Path

    @classmethod
    def of(cls, engine: str, home: Home) -> Environment:
        """Raises BitpressError `unknown-engine`."""
        check_engine(engine)
        return cls(engine, home.engines / engine)

    @property
    def venv(self) -> Path:
        return self.root / VENV

    @property
    def interpreter(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def own_home(self) -> Path:
        return self.root / OWN_HOME

    @property
    def log(self) -> Path:
        return self.root.parent / f"{self.engine}.log"

    @property
    def lock(self) -> Path:
        return self.root.parent / f"{self.engine}.lock"

    def ready(self) -> Ready | None:
        """The marker, or None where the environment is not ready to use."""
        try:
            found = Ready.model_validate_json((self.root / READY).read_bytes())
        except (OSError, ValidationError):
            return None
        return found if os.access(self.interpreter, os.X_OK) else None

    def state(self) -> State:
        if self.ready() is not None:
            return State.READY
        return State.UNFINISHED if self.root.exists() else State.ABSENT

    def needed(self) -> Ready:
        """The marker. Raises BitpressError `engine-missing`, `engine-unfinished`."""
        found = self.ready()
        if found is not None:
            return found
        hint = f"`bitpress engine install {self.engine}` makes its environment."
        if self.state() is State.UNFINISHED:
            raise BitpressError(
                "engine-unfinished", f"The environment of {self.engine} in {self.root} was not finished.", hint
            )
        raise BitpressError("engine-missing", f"{self.engine} is not installed in {self.root}.", hint)

    def write_ready(self, marker: Ready) -> None:
        """Declare it finished, in one step."""
        write_whole(self.root / READY, json.dumps(marker.model_dump(mode="json"), indent=1).encode())

    def clear(self) -> None:
        """Remove the environment, the marker first, so that what is left of a broken removal counts as unfinished."""
        (self.root / READY).unlink(missing_ok=True)
        if self.root.exists():
            shutil.rmtree(self.root)


@contextmanager
def held(environment: Environment) -> Iterator[int]:
    """Nobody else installs or removes meanwhile; the lock's file descriptor. Raises BitpressError `engine-busy`."""
    import fcntl

    environment.lock.parent.mkdir(parents=True, exist_ok=True)
    with environment.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BitpressError(
                "engine-busy",
                f"{environment.engine} is being installed or removed by another Bitpress.",
                "Wait until that is done.",
            ) from error
        yield lock.fileno()


def remove(environment: Environment) -> bool:
    """Take the environment away; whether there was one. Raises BitpressError `engine-busy`."""
    with held(environment):
        there = environment.root.exists()
        environment.clear()
        environment.log.unlink(missing_ok=True)
    return there
