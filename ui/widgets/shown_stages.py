"""The stages as a person reads them: the proof is one stage, and so is a recovery inside a longer run."""

from __future__ import annotations

from dataclasses import replace

from core.jobs.protocol import Stage
from core.jobs.snapshot import AGAIN_PREFIX, PROOF_PREFIX, RECOVERY_PREFIX, StageState

_TOGETHER = (
    (RECOVERY_PREFIX, Stage(id="recover", title="Recover")),
    (PROOF_PREFIX, Stage(id="prove", title="Prove")),
    (AGAIN_PREFIX + PROOF_PREFIX, Stage(id="again-prove", title="Prove")),
)


def shown_stages(stages: tuple[StageState, ...]) -> tuple[StageState, ...]:
    """The stages with those of each part as one in the place of the first; without any, the stages as they are."""
    for prefix, whole in _TOGETHER:
        stages = _together(stages, prefix, whole)
    return stages


def _together(stages: tuple[StageState, ...], prefix: str, whole: Stage) -> tuple[StageState, ...]:
    part = tuple(state for state in stages if state.stage.id.startswith(prefix))
    if len(part) < 2:
        return stages
    shown: list[StageState] = []
    for state in stages:
        if state is part[0]:
            shown.append(_as_one(part, whole))
        elif not state.stage.id.startswith(prefix):
            shown.append(state)
    return tuple(shown)


def _as_one(part: tuple[StageState, ...], whole: Stage) -> StageState:
    """Started with the first, over with the last; its time is the sum of theirs, its detail the running one's."""
    begun = [state for state in part if state.started is not None]
    started = begun[0].started if begun else None
    finished = None
    if started is not None and all(state.finished is not None for state in part):
        finished = started + sum(
            state.finished - state.started for state in part if state.finished is not None and state.started is not None
        )
    return replace(
        part[0],
        stage=whole,
        started=started,
        finished=finished,
        done=sum(state.fraction or 0.0 for state in part),
        total=float(len(part)),
        detail=_detail(begun[-1], whole) if begun else "",
        first_done=0.0,
        first_time=None,
        last_time=None,
    )


def _detail(running: StageState, whole: Stage) -> str:
    """The title of what runs; where that says no more than the whole's, how far it is."""
    stage = running.stage
    if stage.title == whole.title and stage.unit and running.total:
        return f"{stage.unit} {running.done:g} of {running.total:g}"
    return stage.title
