"""The stages as a person reads them: the proof is one stage, whatever it consists of."""

from __future__ import annotations

from dataclasses import replace

from core.jobs.protocol import Stage
from core.jobs.snapshot import PROOF_PREFIX, StageState


def shown_stages(stages: tuple[StageState, ...]) -> tuple[StageState, ...]:
    """The stages with those of the proof as one in the place of the first; without any, the stages as they are."""
    proof = tuple(state for state in stages if state.stage.id.startswith(PROOF_PREFIX))
    if len(proof) < 2:
        return stages
    whole = _as_one(proof)
    shown: list[StageState] = []
    for state in stages:
        if state is proof[0]:
            shown.append(whole)
        elif not state.stage.id.startswith(PROOF_PREFIX):
            shown.append(state)
    return tuple(shown)


def _as_one(proof: tuple[StageState, ...]) -> StageState:
    """Started with the first, over with the last; its time is the sum of theirs, its detail the running one's title."""
    begun = [state for state in proof if state.started is not None]
    started = begun[0].started if begun else None
    finished = None
    if started is not None and all(state.finished is not None for state in proof):
        finished = started + sum(
            state.finished - state.started
            for state in proof
            if state.finished is not None and state.started is not None
        )
    return replace(
        proof[0],
        stage=Stage(id="prove", title="Prove"),
        started=started,
        finished=finished,
        done=sum(state.fraction or 0.0 for state in proof),
        total=float(len(proof)),
        detail=begun[-1].stage.title if begun else "",
        first_done=0.0,
        first_time=None,
        last_time=None,
    )
