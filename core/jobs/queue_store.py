"""The queue in the store: whose turn it is, who has the machine, and what a person changes about the order."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.jobs.kept_work import place_to_resume
from core.jobs.line import Place, Standing, goes_round, standing
from core.jobs.order import work_of
from core.jobs.owner import lives
from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore, lease_holds, unknown_run
from core.paths import Home

if TYPE_CHECKING:
    from sqlalchemy import Connection

MACHINE = "machine"
"""The one lease: a heavy job on the processor takes the memory that one on a GPU needs, so there is one for all."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An answer to who is next."""

    run: Run | None = None
    """The asker's, begun: nobody else gets it."""
    pending: bool = False
    """Whether a run that the asker may have will become ready by itself."""
    orphaned: bool = False
    """The process that had the machine is gone: its run has to be closed before the next."""


class Beat(Enum):
    """What a sign of life is answered with."""

    GO_ON = auto()
    CANCEL = auto()
    LOST = auto()
    """Another process took the machine, believing this one dead."""


class QueueStore:
    """The queue over a run store. One per queue, as it holds the machine; methods block and raise as RunStore's do."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._holder = uuid.uuid4().hex

    # For the process that works -----------------------------------------------------------------------------------

    def claim(self, mine: Collection[int], *, adopt: bool, now: datetime | None = None) -> Claim:
        """Take the machine and the next run, in one step, or neither.

        Candidates are the queued runs in `mine`; with `adopt` also those with an order whose owner is gone.
        """
        from core.jobs.schema import leases, runs

        now = now or datetime.now(UTC)
        with self._store.transaction("DEFERRED") as connection:
            # An idle window asks every second or two, and must not lock the file for it.
            if not self._candidates(connection, mine, adopt):
                return Claim()
        with self._store.transaction() as connection:
            candidates = self._candidates(connection, mine, adopt)
            places = _places(connection)
            stands = {row.id: standing(row.id, places, now) for row in candidates}
            pending = any(stand.comes for stand in stands.values())
            lease = _lease(connection)
            if lease is not None and lease.holder != self._holder:
                return Claim(pending=pending, orphaned=not lease_holds(lease))
            chosen = next((row.id for row in candidates if stands[row.id] is Standing.READY), None)
            if chosen is None:
                return Claim(pending=pending)
            owner = self._store.owner
            connection.execute(
                runs.update()
                .where(runs.c.id == chosen)
                .values(phase=Phase.RUNNING.value, started=now, owner_pid=owner.pid, owner_started=owner.started)
            )
            connection.execute(leases.delete().where(leases.c.name == MACHINE))
            connection.execute(
                leases.insert().values(
                    name=MACHINE,
                    run=chosen,
                    holder=self._holder,
                    owner_pid=owner.pid,
                    owner_started=owner.started,
                    owner_place=owner.place,
                    beat=now,
                )
            )
        return Claim(run=self._store.get(chosen))

    def beat(self, run: int) -> Beat:
        """Give a sign of life for the run that has the machine, and hear whether it should go on."""
        from core.jobs.schema import leases, runs

        with self._store.transaction() as connection:
            ours = (leases.c.name == MACHINE) & (leases.c.holder == self._holder) & (leases.c.run == run)
            if connection.execute(leases.update().where(ours).values(beat=datetime.now(UTC))).rowcount == 0:
                return Beat.LOST
            asked = connection.execute(runs.select().where(runs.c.id == run)).first()
        return Beat.CANCEL if asked is not None and asked.cancel_asked else Beat.GO_ON

    def give_back(self) -> None:
        """Leave the machine to the next."""
        from core.jobs.schema import leases

        with self._store.transaction() as connection:
            connection.execute(leases.delete().where(leases.c.holder == self._holder))

    def let_go(self, numbers: Iterable[int]) -> None:
        """Leave queued runs to whichever window comes next."""
        from core.jobs.schema import runs

        with self._store.transaction() as connection:
            connection.execute(
                runs.update()
                .where(runs.c.id.in_(list(numbers)), runs.c.phase == Phase.QUEUED.value)
                .values(owner_pid=0, owner_started=0.0)
            )

    def at_work(self) -> int | None:
        """The run that has the machine now, whoever runs it."""
        with self._store.transaction("DEFERRED") as connection:
            lease = _lease(connection)
        return lease.run if lease is not None and lease_holds(lease) else None

    # For the person who orders ------------------------------------------------------------------------------------

    def queued(self) -> tuple[tuple[Run, Standing], ...]:
        """The queued runs, next first, and how each stands."""
        from core.jobs.schema import runs

        found = sorted(self._store.select(runs.c.phase == Phase.QUEUED.value), key=lambda run: (run.position, run.id))
        with self._store.transaction("DEFERRED") as connection:
            places = _places(connection)
        now = datetime.now(UTC)
        return tuple((run, standing(run.id, places, now)) for run in found if run.id in places)

    def hold(self, run: int) -> None:
        """Let a queued run wait for `release`. Raises BitpressError `not-queued`, `unknown-run`."""
        self._change(run, held=True)

    def release(self, run: int) -> None:
        """Take away all that keeps a queued run from its turn: hold, start time, and a run before it that broke."""
        with self._store.transaction() as connection:
            _queued(connection, run)
            places = _places(connection)
            stranded = standing(run, {**places, run: _freed(places[run])}, datetime.now(UTC)) is Standing.STRANDED
        self._change(run, held=False, not_before=None, **({"follows": None} if stranded else {}))

    def at(self, run: int, moment: datetime | None) -> None:
        """Let a queued run not begin before a moment; None takes that away."""
        self._change(run, not_before=moment)

    def follow(self, run: int, other: int | None) -> None:
        """Let a queued run begin only when another one has completed; None takes that away.

        Raises BitpressError `not-queued`, `unknown-run`, `goes-round`.
        """
        with self._store.transaction() as connection:
            _queued(connection, run)
            places = _places(connection)
            if other is not None and other not in places and not _exists(connection, other):
                raise unknown_run(other)
            if other is not None and goes_round(run, other, places):
                raise BitpressError(
                    "goes-round",
                    f"Run {other} waits for run {run} itself.",
                    "Let one of the two go first: `bitpress queue list` shows who waits for whom.",
                )
            _update(connection, run, follows=other)

    def move(self, run: int, *, before: int | None = None, first: bool = False) -> None:
        """Put a queued run before another queued one, first, or, without either, last.

        Raises BitpressError `not-queued`, `unknown-run`.
        """
        with self._store.transaction() as connection:
            rows = {row.id: row for row in _line(connection)}
            for number in (run, *(() if before is None else (before,))):
                if number not in rows:
                    _queued(connection, number)
            order = [number for number in rows if number != run]
            place = 0 if first else len(order)
            if before is not None and before != run:
                place = order.index(before)
            elif before == run:
                return
            order.insert(place, run)
            # The same positions, dealt out anew.
            for number, position in zip(order, [row.position for row in rows.values()], strict=True):
                _update(connection, number, position=position)

    def cancel(self, run: int) -> bool:
        """End a queued run; of a running one ask its process to end it. Says whether it is over already.

        Raises BitpressError `unknown-run`.
        """
        from core.jobs.schema import runs

        with self._store.transaction() as connection:
            row = connection.execute(runs.select().where(runs.c.id == run)).first()
            if row is None:
                raise unknown_run(run)
            if row.phase == Phase.QUEUED.value:
                _update(
                    connection,
                    run,
                    phase=Phase.FINISHED.value,
                    reason=FinishReason.CANCELLED.value,
                    finished=datetime.now(UTC),
                )
                return True
            if row.phase == Phase.FINISHED.value:
                return True
            _update(connection, run, cancel_asked=True)
            return False

    def resume(self, run: int, *, owned: bool = False, attended: bool = False) -> Run:
        """Put a run that broke and can go on back into the queue, last in line: it keeps its number and folder.

        It is owned by this process, or by nobody: then the next queue that carries on takes it. Raises BitpressError
        `unknown-run`, `not-over`, `nothing-to-resume` and what `work_of` raises.
        """
        from sqlalchemy import func, select

        from core.jobs.schema import runs

        kept = self._store.get(run)
        if kept.phase is not Phase.FINISHED:
            raise BitpressError("not-over", f"Run {run} is not over yet.", "Wait for its end, or cancel it first.")
        if place_to_resume(kept, Home(self._store.path.parent)) is None:
            raise BitpressError(
                "nothing-to-resume",
                f"Nothing is kept that run {run} could go on from.",
                f"`bitpress queue retry {run}` starts it again.",
            )
        work_of(kept)
        owner = self._store.owner
        with self._store.transaction() as connection:
            position = 1 + (connection.execute(select(func.max(runs.c.position))).scalar() or 0)
            # Whoever resumed it in the meantime was first.
            again = runs.update().where(runs.c.id == run, runs.c.phase == Phase.FINISHED.value)
            changed = connection.execute(
                again.values(
                    phase=Phase.QUEUED.value,
                    reason=None,
                    problem=None,
                    result=None,
                    finished=None,
                    position=position,
                    held=False,
                    not_before=None,
                    follows=None,
                    cancel_asked=False,
                    attended=attended,
                    owner_pid=owner.pid if owned else 0,
                    owner_started=owner.started if owned else 0.0,
                )
            )
            if changed.rowcount == 0:
                raise BitpressError("not-over", f"Run {run} is not over any more.", "Look at the queue again.")
        return self._store.get(run)

    def _candidates(self, connection: Connection, mine: Collection[int], adopt: bool) -> list[Any]:
        return [
            row
            for row in _line(connection)
            if row.id in mine
            or (adopt and row.order is not None and not row.attended and not lives(row.owner_pid, row.owner_started))
        ]

    def _change(self, run: int, **values: Any) -> None:
        with self._store.transaction() as connection:
            _queued(connection, run)
            _update(connection, run, **values)


def _lease(connection: Connection) -> Any:
    """Who has the machine. One whose run is over has it no more: its giving back may have met a full disk."""
    from core.jobs.schema import leases, runs

    over = runs.select().where(runs.c.phase == Phase.FINISHED.value).with_only_columns(runs.c.id)
    held = leases.select().where(leases.c.name == MACHINE, leases.c.run.not_in(over))
    return connection.execute(held).first()


def _line(connection: Connection) -> list[Any]:
    from core.jobs.schema import runs

    queued = runs.select().where(runs.c.phase == Phase.QUEUED.value).order_by(runs.c.position, runs.c.id)
    return list(connection.execute(queued).all())


def _places(connection: Connection) -> Mapping[int, Place]:
    """The queued runs and those that they follow."""
    from sqlalchemy import select

    from core.jobs.schema import runs

    followed = select(runs.c.follows).where(runs.c.phase == Phase.QUEUED.value, runs.c.follows.is_not(None))
    wanted = runs.select().where((runs.c.phase == Phase.QUEUED.value) | runs.c.id.in_(followed))
    return {
        row.id: Place(
            phase=Phase(row.phase),
            reason=None if row.reason is None else FinishReason(row.reason),
            held=row.held,
            follows=row.follows,
            not_before=row.not_before,
        )
        for row in connection.execute(wanted).all()
    }


def _freed(place: Place) -> Place:
    return Place(phase=place.phase, reason=place.reason, follows=place.follows)


def _exists(connection: Connection, run: int) -> bool:
    from core.jobs.schema import runs

    return connection.execute(runs.select().where(runs.c.id == run)).first() is not None


def _update(connection: Connection, run: int, **values: Any) -> None:
    from core.jobs.schema import runs

    connection.execute(runs.update().where(runs.c.id == run).values(**values))


def _queued(connection: Connection, run: int) -> None:
    """Raises BitpressError `unknown-run`, or `not-queued` for one that has begun or is over."""
    from core.jobs.schema import runs

    row = connection.execute(runs.select().where(runs.c.id == run)).first()
    if row is None:
        raise unknown_run(run)
    if row.phase != Phase.QUEUED.value:
        state = "is over" if row.phase == Phase.FINISHED.value else "runs already"
        raise BitpressError(
            "not-queued", f"Run {run} {state}.", "Only what waits can be changed: `bitpress queue list` shows it."
        )
