"""The kept runs: one SQLite file, safe with several windows at once, never overwritten when damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from core.errors import BitpressError, Problem
from core.jobs.owner import Owner, holds, lives, this_process
from core.jobs.protocol import FinishReason
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.system_errors import missing_words
from core.value import Json

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine

REVISIONS = ("0001", "0002")
"""Every migration's name, oldest first; known here so that an up-to-date store opens without importing Alembic."""
ROOM = 4_300_000
"""Bytes that the store may take before it gives any back: SQLite's log of changes grows to 1,000 pages of 4 KiB."""
BUSY_SECONDS = 10.0
"""How long one process waits while another one writes."""
CACHE_KIB = 256
"""Pages of the file that each connection may hold; five connections of a window held ten times as much."""
MEASUREMENTS = (RunKind.PROVE, RunKind.EVALUATE, RunKind.BENCHMARK, RunKind.COMPARE)


@dataclass(frozen=True, slots=True)
class Ended:
    """What the store keeps of a run's end."""

    reason: FinishReason
    problem: Problem | None
    result: Json
    versions: dict[str, str]
    finished: datetime


class RunStore:
    """Runs in SQLite. Every method may block on the disk and may be called from any thread.

    All raise BitpressError: `store-damaged`, `store-busy`, `disk-full`, `not-writable` or, for an id that is not
    there, `unknown-run`.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self._engine = engine
        self.owner = this_process()

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """Open or create the store, and bring its schema up to date.

        Raises BitpressError: also `store-newer` where a later version has written it. The file is then untouched.
        """
        with _speaking_plainly(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            revision = _revision(path)
            engine = _engine(path)
            try:
                if revision != REVISIONS[-1]:
                    _migrate(engine)
            except BaseException:
                engine.dispose()
                raise
        return cls(path, engine)

    def close(self) -> None:
        """Give the file handles back; the store may not be used any more."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, new: NewRun, *, owned: bool = True) -> Run:
        """Keep a new run, queued, last in line; its number is never given again.

        It is owned by this process, or by nobody: then the next window takes it.
        """
        from sqlalchemy import func, select

        from core.jobs.schema import run_models, runs

        created = datetime.now(UTC)
        pid, started = (self.owner.pid, self.owner.started) if owned else (0, 0.0)
        asked = new.model_dump(mode="json", include=set(NewRun.model_fields))
        models = asked.pop("models")
        with self.transaction() as connection:
            position = 1 + (connection.execute(select(func.max(runs.c.position))).scalar() or 0)
            inserted = connection.execute(
                runs.insert().values(
                    **asked,
                    created=created,
                    phase=Phase.QUEUED,
                    versions={},
                    owner_pid=pid,
                    owner_started=started,
                    position=position,
                )
            )
            key = inserted.inserted_primary_key
            identity = int(key[0]) if key else 0
            if models:
                connection.execute(run_models.insert(), _model_rows(identity, models))
        return Run(**{**asked, "models": models}, id=identity, created=created, position=position)

    def save(self, run: Run) -> None:
        """Write what changed about a run; what was asked never changes."""
        from core.jobs.schema import runs

        kept = run.model_dump(mode="json", include={"phase", "reason", "problem", "result", "versions"})
        with self.transaction() as connection:
            changed = connection.execute(
                runs.update().where(runs.c.id == run.id).values(**kept, started=run.started, finished=run.finished)
            )
            if changed.rowcount == 0:
                raise unknown_run(run.id)

    def get(self, identity: int) -> Run:
        """Raises BitpressError `unknown-run`."""
        from core.jobs.schema import runs

        found = self.select(runs.c.id == identity)
        if not found:
            raise unknown_run(identity)
        return found[0]

    def runs(self, kind: RunKind | None = None, limit: int | None = None) -> tuple[Run, ...]:
        """Newest first."""
        from core.jobs.schema import runs

        return self.select(*([] if kind is None else [runs.c.kind == kind.value]), limit=limit)

    def renewed(self, known: Sequence[Run]) -> tuple[Run, ...]:
        """As `runs`, newest first; what is over and has not changed is taken from `known`, an earlier answer.

        A window asks at every step of every run, and thousands of kept results must not cost more each time.
        """
        from sqlalchemy import func, or_, select

        from core.jobs.schema import runs

        kept = {run.id: run for run in known if run.phase is Phase.FINISHED and run.finished is not None}
        if not kept:
            return self.runs()
        newest = max(run.finished for run in kept.values() if run.finished is not None)
        pending = [run.id for run in known if run.id not in kept]
        # Only what may have changed is listed: the rows of thousands of runs are some megabytes in each thread.
        fresh = self.select(
            or_(runs.c.phase != Phase.FINISHED.value, runs.c.finished.is_(None), runs.c.finished >= newest)
            | (runs.c.id > known[0].id)
            | runs.c.id.in_(pending)
        )
        with self.transaction("DEFERRED") as connection:
            count = connection.execute(select(func.count()).select_from(runs)).scalar()
        found = kept | {run.id: kept[run.id] if kept.get(run.id) == run else run for run in fresh}
        return tuple(sorted(found.values(), key=lambda run: -run.id)) if len(found) == count else self.runs()

    def about(self, path: Path | str) -> tuple[Run, ...]:
        """Finished and unfinished measurements in which the model at `path` takes part, newest first."""
        from sqlalchemy import select

        from core.jobs.schema import run_models, runs

        taking_part = select(run_models.c.run).where(run_models.c.path == _plain_path(path))
        return self.select(runs.c.id.in_(taking_part), runs.c.kind.in_([kind.value for kind in MEASUREMENTS]))

    def orphans(self) -> tuple[Run, ...]:
        """The runs whose process is gone, and that nobody can carry on: begun ones, and queued ones without an order.

        A process that cannot be looked at from here keeps its run as long as it gives signs of life.
        """
        with self.transaction("DEFERRED") as connection:
            found = _orphans(connection)
        return tuple(self.get(run.id) for run in found)

    def interrupted(
        self, ended: Mapping[int, Ended] = MappingProxyType({}), goes_on: Mapping[int, str] = MappingProxyType({})
    ) -> tuple[Run, ...]:
        """Mark the orphans as finished, and return them; another window's are left.

        They were interrupted, except those in `ended`, which had come to their end before their process died.
        `goes_on` says of those with a checkpoint where they would go on.
        """
        from core.jobs.schema import leases, runs

        with self.transaction() as connection:
            marked = _orphans(connection)
            for run in marked:
                end = _end_of(run, ended.get(run.id), goes_on.get(run.id))
                connection.execute(runs.update().where(runs.c.id == run.id).values(**end))
            for lease in connection.execute(leases.select()).all():
                if not lease_holds(lease):
                    connection.execute(leases.delete().where(leases.c.name == lease.name))
        return tuple(self.get(run.id) for run in marked)

    def select(self, *conditions: ColumnElement[bool], limit: int | None = None) -> tuple[Run, ...]:
        from sqlalchemy import select

        from core.jobs.schema import run_models, runs

        wanted = select(runs).where(*conditions).order_by(runs.c.id.desc()).limit(limit)
        found = wanted.with_only_columns(runs.c.id)
        models: dict[int, list[str]] = {}
        with self.transaction("DEFERRED") as connection:
            try:
                rows = connection.execute(wanted).all()
            except TypeError as error:
                # SQLite keeps a number where JSON text belongs, if somebody writes one.
                raise _damaged(self.path, str(error)) from error
            for row in connection.execute(
                select(run_models).where(run_models.c.run.in_(found)).order_by(run_models.c.position)
            ):
                models.setdefault(row.run, []).append(row.path)
        with _speaking_plainly(self.path):
            return tuple(_run(row._mapping, models.get(row.id, [])) for row in rows)

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[Connection]:
        with _speaking_plainly(self.path), self._engine.connect() as connection:
            connection.execution_options(bitpress_begin=kind)
            with connection.begin():
                yield connection


_GIVEN = set(Run.model_fields)


def _run(row: Any, models: Sequence[str]) -> Run:
    known = {name: row[name] for name in row if name in Run.model_fields}
    run = Run.model_validate({**known, "models": models})
    # pydantic keeps with each value which fields were given: two kilobytes, the same for every run of a long list.
    object.__setattr__(run, "__pydantic_fields_set__", _GIVEN)
    return run


def _model_rows(run: int, models: Sequence[str]) -> list[dict[str, Json]]:
    return [
        {"run": run, "position": position, "role": "other" if position else "original", "path": _plain_path(path)}
        for position, path in enumerate(models)
    ]


def _plain_path(path: Path | str) -> str:
    """One spelling for one place, so that `about` finds what was kept; symbolic links are kept as they are."""
    return os.path.abspath(path)  # noqa: PTH100


def unknown_run(identity: int) -> BitpressError:
    """What is said of a number that no run has."""
    return BitpressError("unknown-run", f"There is no run {identity}.", "`bitpress runs` lists the runs that are kept.")


def _end_of(run: Run, ended: Ended | None, goes_on: str | None) -> dict[str, Any]:
    if ended is None:
        problem = interruption(run, goes_on)
        ended = Ended(FinishReason.INTERRUPTED, problem, None, dict(run.versions), datetime.now(UTC))
    return {
        "phase": Phase.FINISHED.value,
        "reason": ended.reason.value,
        "problem": None if ended.problem is None else ended.problem.model_dump(mode="json"),
        "result": ended.result,
        "versions": ended.versions,
        "finished": ended.finished,
    }


def interruption(run: Run, goes_on: str | None = None) -> Problem:
    """Why a run whose process is gone is over, and where it would go on where something is kept."""
    happened = "it could start" if run.phase is Phase.QUEUED else "it was done"
    again = f"Start it again here, or with `bitpress queue retry {run.id}`" if run.order else "Start it anew"
    if goes_on is not None:
        return Problem(
            code="interrupted",
            message=f"Bitpress or the machine went down before {happened}.",
            hint=f"Resume it here, or with `bitpress queue resume {run.id}`: it goes on {goes_on}. {again}.",
        )
    return Problem(
        code="interrupted",
        message=f"Bitpress or the machine went down before {happened}.",
        hint=f"{again}. What it had half written was removed.",
    )


def _orphans(connection: Connection) -> list[Run]:
    """The orphaned runs, without their models."""
    from core.jobs.schema import leases, runs

    worked_on = {lease.run for lease in connection.execute(leases.select()).all() if lease_holds(lease)}
    unfinished = connection.execute(runs.select().where(runs.c.phase != Phase.FINISHED.value).order_by(runs.c.id)).all()
    found = []
    for row in unfinished:
        waits = row.phase == Phase.QUEUED.value
        kept = waits and row.order is not None and not row.attended
        if not kept and row.id not in worked_on and not lives(row.owner_pid, row.owner_started):
            found.append(_run(row._mapping, ()))
    return found


def lease_holds(lease: Any) -> bool:
    """Whether the process behind a row of `leases` may still be at work."""
    return holds(Owner(lease.owner_pid, lease.owner_started, lease.owner_place), lease.beat)


# The file ---------------------------------------------------------------------------------------------------------


def _revision(path: Path) -> str | None:
    """The store's schema, None for a store that is yet to be made; raises BitpressError for what cannot be used.

    Nothing is written: a file that is not ours, or is damaged, stays as it is.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        health = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != ("ok",):
            raise _damaged(path, str(health and health[0]))
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise _damaged(path, "it is a database of another program")
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise _damaged(path, "it names no schema version")
    if row[0] not in REVISIONS:
        raise BitpressError(
            "store-newer",
            f"The list of runs in {path} was written by a later version of Bitpress (schema {row[0]}).",
            "Use that version, or set BITPRESS_HOME to another folder. Nothing was changed.",
        )
    return str(row[0])


def _engine(path: Path) -> Engine:
    from sqlalchemy import create_engine, event

    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})

    def connected(connection: sqlite3.Connection, _: object) -> None:
        # Python's driver would begin transactions by itself, and not before a change of the schema.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

    def begun(connection: Connection) -> None:
        # Immediate for what writes: two that read first and write then would otherwise block each other.
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('bitpress_begin', 'IMMEDIATE')}")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision in one transaction; a second process waits, then finds it done."""
    from importlib.resources import as_file, files

    from alembic import command
    from alembic.config import Config

    with as_file(files("core.jobs") / "migrations") as folder, engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _damaged(path: Path, what: str) -> BitpressError:
    return BitpressError(
        "store-damaged",
        f"The list of runs in {path} cannot be read: {what}.",
        "Move the file away or bring back a copy of it; a new list is made then. Nothing was overwritten, and models "
        "are not touched.",
    )


@contextmanager
def _speaking_plainly(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into errors that a person can act on."""
    try:
        yield
    except BitpressError:
        raise
    except OSError as error:
        raise _not_writable(path, str(error.strerror)) from error
    except ValueError as error:
        # Bytes that changed inside a value: SQLite keeps no checksum, and the page is as sound as ever to it.
        raise _damaged(path, f"a run in it makes no sense: {str(error).splitlines()[0]}") from error
    except Exception as error:
        origin = getattr(error, "orig", None) or error
        if isinstance(origin, ValueError | OverflowError | RecursionError) and not isinstance(
            origin, UnicodeEncodeError
        ):
            # What stands there is no time, no JSON, no UTF-8, or no run: nothing here wrote that.
            raise _damaged(path, (str(origin) or type(origin).__name__).splitlines()[0]) from error
        if not isinstance(origin, sqlite3.Error):
            raise
        said = str(origin)
        if "locked" in said or "busy" in said:
            raise BitpressError(
                "store-busy",
                f"Another program has held the list of runs in {path} for {BUSY_SECONDS:.0f} s.",
                "Close other windows of Bitpress, or wait until a backup program has read the file.",
            ) from error
        if "full" in said or ("I/O error" in said and not _has_room(path)):
            raise BitpressError(
                "disk-full",
                f"The disk is full: {path} could not be written.{missing_words(path.parent, ROOM)}",
                "Free some space, then try again; `bitpress clean` shows what can go. What was kept before is whole.",
            ) from error
        if "I/O error" in said:
            raise BitpressError(
                "disk-fault",
                f"The disk failed while {path} was read or written: {said}.",
                "Look at `dmesg` for what the disk reports. Nothing was overwritten.",
            ) from error
        if "readonly" in said or "unable to open" in said:
            raise _not_writable(path, said) from error
        raise _damaged(path, said) from error


def _has_room(path: Path) -> bool:
    """Whether SQLite's own index of its log (32 KiB) fits on the disk; on a full one it calls that an I/O error."""
    try:
        return shutil.disk_usage(path.parent).free >= 2**16
    except OSError:
        return True


def _not_writable(path: Path, why: str) -> BitpressError:
    return BitpressError(
        "not-writable",
        f"The list of runs in {path} cannot be written: {why}.",
        "Check the permissions of that folder, or set BITPRESS_HOME to another one.",
    )
