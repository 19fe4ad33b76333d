"""What is known of a job at one moment, and how an event changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from core.errors import Problem
from core.jobs.event import StayedAwake
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Finished,
    FinishReason,
    Hello,
    Metric,
    Progress,
    Stage,
    StageFinished,
    StageStarted,
    Token,
    Warned,
)
from core.value import Json

PROOF_PREFIX = "prove-"
"""Before the names of a proof's stages where it is part of a longer run, so that no two stages share a name."""

RECOVERY_PREFIX = "recover-"
"""Before the names of a recovery's stages where it is part of a longer run."""

AGAIN_PREFIX = "again-"
"""Before the names of the stages of what is done to an export's plain weights."""

BROKEN = frozenset({FinishReason.FAILED, FinishReason.INTERRUPTED})
"""The ends that have a problem."""


class Phase(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    FINISHED = "finished"


class IllegalTransitionError(Exception):
    """An event came that cannot come in this phase; a fault of the program, never of the user."""


@dataclass(frozen=True, slots=True)
class StageState:
    """One stage: times in seconds since the epoch, `done` of `total` in the stage's unit."""

    stage: Stage
    started: float | None = None
    finished: float | None = None
    done: float = 0.0
    total: float | None = None
    detail: str = ""
    first_done: float = 0.0
    first_time: float | None = None
    """The first progress report above zero: time left is counted from there, so that set-up does not distort it."""
    last_time: float | None = None

    @property
    def fraction(self) -> float | None:
        """Share done, 0 to 1, or None where it is not known."""
        if self.finished is not None:
            return 1.0
        if self.started is None:
            return 0.0
        if not self.total:
            return None
        return min(1.0, self.done / self.total)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the stage's end by its own rate, or None before two units are done.

        Never pooled over stages: SmoothQuant's layers take a quarter of GPTQ's, and a pooled rate was wrong by four.
        """
        if self.total is None or self.first_time is None or self.last_time is None or self.finished is not None:
            return None
        gained = self.done - self.first_done
        if gained < 1 or self.done < 2 or self.last_time <= self.first_time:
            return None
        return max(0.0, self.total - self.done) * (self.last_time - self.first_time) / gained


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job at one moment.

    queued -> starting -> running -> finished, with cancelling between any of the first three and finished.
    `reason` is set exactly when `phase` is finished.
    """

    job: str
    title: str = ""
    phase: Phase = Phase.QUEUED
    reason: FinishReason | None = None
    stages: tuple[StageState, ...] = ()
    metrics: tuple[Metric, ...] = ()
    warnings: tuple[Warned, ...] = ()
    libraries: tuple[tuple[str, str], ...] = ()
    memory_limit: str = ""
    """Of the run's workers, in words, and who keeps it."""
    awake: str = ""
    """Whether the machine is kept from falling asleep, in words; empty where nobody asked for that."""
    pid: int | None = None
    problem: Problem | None = None
    result: Json = None
    started: float | None = None
    finished: float | None = None

    @property
    def current(self) -> StageState | None:
        """The stage that runs now."""
        return next((s for s in reversed(self.stages) if s.started is not None and s.finished is None), None)

    def stage(self, identity: str) -> StageState | None:
        return next((s for s in self.stages if s.stage.id == identity), None)


def apply(snapshot: JobSnapshot, event: AnyEvent) -> JobSnapshot:
    """The snapshot after an event. Raises IllegalTransitionError for an event that cannot come now."""
    if snapshot.phase is Phase.FINISHED:
        raise IllegalTransitionError(f"{event.type} after the job finished")
    match event:
        case Hello():
            return replace(
                snapshot,
                phase=Phase.STARTING if snapshot.phase is Phase.QUEUED else snapshot.phase,
                pid=event.pid,
                libraries=tuple(sorted((dict(snapshot.libraries) | event.libraries).items())),
                memory_limit=event.memory_limit or snapshot.memory_limit,
                started=snapshot.started or event.time,
            )
        case StayedAwake():
            return replace(snapshot, awake=event.words)
        case Accepted():
            known = snapshot.stages if event.more else ()
            return replace(
                _running(snapshot, event.time),
                stages=known + tuple(StageState(stage) for stage in event.stages),
                # Another try begins anew, and so do its figures.
                metrics=snapshot.metrics if event.more else (),
            )
        case StageStarted():
            return _changed(_running(snapshot, event.time), event.stage, started=event.time)
        case StageFinished():
            return _changed(snapshot, event.stage, finished=event.time)
        case Progress():
            return _progressed(snapshot, event)
        case Metric():
            return replace(snapshot, metrics=(*snapshot.metrics, event))
        case Warned():
            return replace(snapshot, warnings=(*snapshot.warnings, event))
        case Token():
            return snapshot
        case Finished():
            if (event.reason in BROKEN) is not (event.problem is not None):
                raise IllegalTransitionError("a job that broke, and only that, has a problem")
            return replace(
                snapshot,
                phase=Phase.FINISHED,
                reason=event.reason,
                problem=event.problem,
                result=event.result,
                finished=event.time,
            )


def cancelling(snapshot: JobSnapshot) -> JobSnapshot:
    """The snapshot after somebody asked for the end; unchanged where it is over already."""
    return snapshot if snapshot.phase is Phase.FINISHED else replace(snapshot, phase=Phase.CANCELLING)


def _running(snapshot: JobSnapshot, time: float) -> JobSnapshot:
    if snapshot.phase is Phase.CANCELLING:
        return snapshot
    return replace(snapshot, phase=Phase.RUNNING, started=snapshot.started or time)


def _progressed(snapshot: JobSnapshot, event: Progress) -> JobSnapshot:
    state = snapshot.stage(event.stage)
    if state is None:
        raise IllegalTransitionError(f"progress of a stage that is not in the plan: {event.stage}")
    first = state.first_time is None and event.done > 0
    return _changed(
        snapshot,
        event.stage,
        done=event.done,
        total=event.total,
        detail=event.detail,
        first_done=event.done if first else state.first_done,
        first_time=event.time if first else state.first_time,
        last_time=event.time if event.done != state.done or first else state.last_time,
    )


def _changed(snapshot: JobSnapshot, identity: str, **changes: object) -> JobSnapshot:
    if snapshot.stage(identity) is None:
        raise IllegalTransitionError(f"a stage that is not in the plan: {identity}")
    return replace(
        snapshot,
        stages=tuple(
            replace(state, **changes) if state.stage.id == identity else state  # type: ignore[arg-type]
            for state in snapshot.stages
        ),
    )
