"""Sweeps on the disk: one small file each, written after every step, so that a kill loses one row at most."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.errors import BitpressError
from core.jobs.owner import lives, start_of
from core.jobs.sweep_plan import SweepPlan
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.paths import Home
from core.regular_file import read_regular
from core.value import Received

RECORD_FILE = "sweep.json"
RECORD_LIMIT = 64 << 20
"""Bytes; a sweep of a hundred rows takes less than one million."""


class SweepRecord(Received):
    """A sweep as it is kept. `evaluations` and `benchmarks` are runs, begun ones included, oldest first."""

    version: int = 1
    id: str
    created: datetime
    plan: SweepPlan
    result: SweepResult
    evaluations: tuple[int, ...] = ()
    benchmarks: tuple[int, ...] = ()
    owner_pid: int | None = None
    """The process that works on it; None where none does."""
    owner_started: float | None = None

    @property
    def finished(self) -> bool:
        return self.result.finished


class SweepStore:
    """The sweeps under a home. Every method reads or writes the disk."""

    def __init__(self, home: Home) -> None:
        self._folder = home.sweeps

    def create(self, plan: SweepPlan, original_bytes: int) -> SweepRecord:
        """Keep a new sweep, all rows waiting, under the next free number."""
        self._folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name) for path in self._folder.iterdir() if path.name.isdigit()), default=0)
        while True:
            try:
                (self._folder / str(number)).mkdir()
                break
            except FileExistsError:
                # Another window was faster.
                number += 1
        rows = tuple(
            SweepRow(
                key=entry.key,
                label=entry.label,
                method=entry.method,
                title=entry.title,
                parameters=entry.parameters,
                recovery=entry.recovery,
                state=RowState.WAITING,
            )
            for entry in plan.entries
        )
        result = SweepResult(
            id=str(number),
            original=plan.model,
            original_name=plan.model_name,
            original_bytes=original_bytes,
            rows=rows,
            gate=plan.gate.name,
            gate_title=plan.gate.title,
            gate_kl=plan.gate.limit_of("kl.mean"),
        )
        record = SweepRecord(id=str(number), created=datetime.now(UTC), plan=plan, result=result)
        self.save(record)
        return record

    def save(self, record: SweepRecord) -> None:
        """Write beside, bring to the disk, rename: whoever reads meets the old record or the new one."""
        write_whole(self._folder / record.id / RECORD_FILE, record.model_dump_json(indent=1).encode())

    def get(self, identity: str) -> SweepRecord:
        """Raises BitpressError `unknown-sweep` or `sweep-damaged`."""
        path = self._folder / identity / RECORD_FILE
        if not identity.isdigit() or not path.is_file():
            raise BitpressError(
                "unknown-sweep", f"There is no sweep {identity}.", "`bitpress sweep --list` lists the sweeps."
            )
        try:
            return SweepRecord.model_validate_json(read_regular(path, RECORD_LIMIT, follow=False))
        except (ValidationError, OSError) as error:
            raise BitpressError(
                "sweep-damaged",
                f"The record of sweep {identity} in {path} cannot be read.",
                "Start the sweep again; its artifacts and runs are still there.",
                details=str(error),
            ) from error

    def all(self) -> tuple[SweepRecord, ...]:
        """The sweeps that can be read, newest first."""
        found = []
        for path in self._numbered():
            with suppress(BitpressError):
                found.append(self.get(path.name))
        return tuple(found)

    def unfinished(self, plan: SweepPlan | None = None) -> SweepRecord | None:
        """The newest sweep that was not brought to its end; with a plan, the newest of just that plan."""
        return next((one for one in self.all() if not one.finished and (plan is None or one.plan.same_as(plan))), None)

    def claim(self, identity: str) -> SweepRecord:
        """Take a sweep to work on it. Raises BitpressError `sweep-running` where a living process has it."""
        record = self.get(identity)
        if record.owner_pid not in (None, os.getpid()) and lives(record.owner_pid or 0, record.owner_started or 0.0):
            raise BitpressError(
                "sweep-running",
                f"Sweep {identity} is running in another window or terminal.",
                "Wait for it, or stop it there.",
            )
        record = record.model_copy(update={"owner_pid": os.getpid(), "owner_started": start_of(os.getpid())})
        self.save(record)
        return record

    def _numbered(self) -> list[Path]:
        try:
            found = [path for path in self._folder.iterdir() if path.name.isdigit()]
        except OSError:
            return []
        return sorted(found, key=lambda path: int(path.name), reverse=True)


def released(record: SweepRecord) -> SweepRecord:
    """The record without an owner."""
    return record.model_copy(update={"owner_pid": None, "owner_started": None})
