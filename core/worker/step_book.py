"""What a job that goes step by step keeps of itself: one state at a time, whole or not at all, taken up by its like.

Beside a run's other checkpoint and by the same rules (core.jobs.checkpoint): files of their own for each writing, the
file that names them last, and nothing that it does not name is ever read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.durable import sync, write_whole
from core.jobs.checkpoint import CHECKPOINT_LIMIT, KeptFile, KeptSteps, read_steps, steps_file
from core.jobs.protocol import Checkpoints
from core.plan.words import size
from core.regular_file import read_regular
from core.value import Json
from core.worker.checkpoint_fingerprint import differences
from core.worker.checkpoint_tensors import CannotBeKeptError, DoesNotFitError, check, read_tensors, write_tensors
from core.worker.checkpoint_values import Shelf, packed, random_states, set_random_states, taker, unpacked
from core.worker.reporter import Reporter

FIRST_RATE = 300e6
"""Bytes a second that a disk is trusted to take until the first writing has been timed."""

_TENSORS = "tensors"


@dataclass(slots=True)
class StepBook:
    """Keeps the account of one job's steps under `name`, a word of small letters; `what` is it for a person."""

    wanted: Checkpoints
    name: str
    what: str
    fingerprint: Mapping[str, str]
    report: Reporter
    at: str = ""
    """Where the state stood that was taken up, in words; empty where none was."""
    serial: int = 0
    bytes: int = 0
    off: bool = False
    said: bool = False
    rate: float = FIRST_RATE
    spent: float = 0.0
    """Seconds that went into writing."""
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    written: int = 0

    @property
    def folder(self) -> Path:
        return Path(self.wanted.folder)

    def take_up(self) -> Any:
        """The value of the newest state of this very job, with the random numbers as they were then; else None.

        One that does not fit or is damaged is told, and removed.
        """
        there = self.folder / steps_file(self.name)
        kept = read_steps(self.folder, self.name)
        if kept is None:
            return self._refuse("it is not whole", "") if there.exists() else self._clear()
        if other := differences(kept.fingerprint, self.fingerprint):
            return self._refuse(f"it was made with another {' and another '.join(other)}", kept.at)
        try:
            for name, file in kept.files.items():
                self.report.check()
                check(self.folder / name, file)
            state = json.loads(read_regular(self.folder / kept.state, CHECKPOINT_LIMIT * 16, follow=False))
            tensors: dict[str, Any] = {}
            for name in kept.files:
                if name.endswith(".safetensors"):
                    tensors |= read_tensors(self.folder / name)
            take = taker({_TENSORS: tensors})
            found = unpacked(state["value"], take)
            set_random_states(state["random"], take)
        except (OSError, ValueError, RecursionError, KeyError, TypeError, RuntimeError, DoesNotFitError) as error:
            return self._refuse(str(error) or "it is damaged", kept.at)
        self.at, self.serial = kept.at, kept.serial
        return found

    def refuse(self, why: str) -> None:
        """What was taken up does not fit after all: it is told, and removed."""
        self._refuse(why, self.at)
        self.at = ""

    def due(self) -> bool:
        """Whether it is time to write: not too often, and no more of the time than is wanted."""
        now = time.monotonic()
        if self.off or now - self.last < self.wanted.seconds:
            return False
        cost = self.bytes / self.rate
        return not self.wanted.seconds or self.spent + cost <= self.wanted.share * (now - self.began)

    def write(self, step: int, at: str, value: Any) -> None:
        """Keep a value of plain numbers, words and tensors in lists, tuples and dicts. Never raises for lack of room.

        `at` says where the job stands, as `after step 40 of its recovery`.
        """
        if self.off:
            return
        try:
            self._write(step, at, value)
        except (OSError, CannotBeKeptError) as error:
            self.off = True
            self._discard_unnamed()
            why = f"it would hold {error}" if isinstance(error, CannotBeKeptError) else f"{error.strerror or error}"
            self.report.warn(
                "checkpoint-not-written",
                f"No checkpoint could be written {at}: {why}. The job goes on without further ones; if it is "
                "interrupted, what was done since the last one is lost.",
            )

    def _write(self, step: int, at: str, value: Any) -> None:
        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.serial += 1
        shelf = Shelf(_TENSORS)
        state = {"value": packed(value, shelf.keep), "random": random_states(shelf.keep)}
        words = json.dumps(state, separators=(",", ":")).encode()
        self.bytes = shelf.bytes + len(words)
        if not self._has_room(self.bytes):
            return
        tensors, named = f"{self.name}-{self.serial}.safetensors", f"{self.name}-{self.serial}.json"
        write_whole(self.folder / named, words)
        kept = KeptSteps(
            fingerprint=dict(self.fingerprint),
            step=step,
            at=at,
            serial=self.serial,
            saved=datetime.now(UTC),
            state=named,
            files={
                tensors: write_tensors(self.folder / tensors, shelf.tensors),
                named: KeptFile(bytes=len(words), sha256=hashlib.sha256(words).hexdigest()),
            },
        )
        sync(self.folder)
        write_whole(self.folder / steps_file(self.name), kept.model_dump_json().encode())
        self._discard_unnamed(kept)
        self.last = time.monotonic()
        self.written += 1
        self.spent += self.last - started
        self.rate = max(self.bytes / max(self.last - started, 1e-3), 1e6)

    def _has_room(self, needed: int) -> bool:
        free = shutil.disk_usage(self.folder).free
        if free >= needed + self.wanted.reserve:
            return True
        self.last = time.monotonic()
        if not self.said:
            self.said = True
            self.report.warn(
                "checkpoint-no-room",
                f"No checkpoint is written now: it takes {size(needed)}, the artifact up to "
                f"{size(self.wanted.reserve)}, and {size(free)} are free on the disk of {self.folder.parent}. The job "
                "goes on; if it is interrupted, it loses more than otherwise.",
            )
        return False

    def _refuse(self, why: str, where: str) -> Json:
        place = f" {where}" if where else ""
        self.report.warn("checkpoint-not-used", f"The checkpoint{place} is not used: {why}. {self.what} begins anew.")
        return self._clear()

    def _clear(self) -> Json:
        with suppress(OSError):
            (self.folder / steps_file(self.name)).unlink(missing_ok=True)
        self._discard_unnamed()
        return None

    def _discard_unnamed(self, kept: KeptSteps | None = None) -> None:
        """Remove what the newest state does not name."""
        kept = kept or read_steps(self.folder, self.name)
        files = set() if kept is None else set(kept.files)
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name.startswith(f"{self.name}-") and path.name not in files:
                    path.unlink(missing_ok=True)
