"""Facts about a job's state and how events change it."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
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
from core.jobs.snapshot import (
    IllegalTransitionError,
    JobSnapshot,
    Phase,
    StageState,
    apply,
    cancelling,
)

HELLO = Hello(time=10.0, protocol=1, app="bitpress", pid=7, libraries={"torch": "2.13"})
PLAN = Accepted(time=11.0, stages=(Stage(id="load", title="Load"), Stage(id="press", title="Press", unit="layer")))
PROBLEM = Problem(code="disk-full", message="The disk is full.")


def after(*events: AnyEvent) -> JobSnapshot:
    return reduce(apply, events, JobSnapshot(job="1", title="Press it"))


def progress(done: float, time: float, total: float | None = 30.0) -> Progress:
    return Progress(time=time, stage="press", done=done, total=total, detail=f"layer {done}")


def stage(snapshot: JobSnapshot, identity: str) -> StageState:
    found = snapshot.stage(identity)
    assert found is not None
    return found


def test_that_a_job_goes_from_queued_over_starting_and_running_to_finished() -> None:
    done = Finished(time=40.0, reason=FinishReason.COMPLETED, result={"bytes": 3})
    phases = [after(*events).phase for events in ([], [HELLO], [HELLO, PLAN], [HELLO, PLAN, done])]
    assert phases == [Phase.QUEUED, Phase.STARTING, Phase.RUNNING, Phase.FINISHED]
    over = after(HELLO, PLAN, done)
    assert (over.started, over.finished, over.reason, over.result) == (10.0, 40.0, FinishReason.COMPLETED, {"bytes": 3})


def test_that_only_a_finished_job_has_a_reason() -> None:
    assert after(HELLO, PLAN).reason is None
    assert after(Finished(reason=FinishReason.CANCELLED)).reason is FinishReason.CANCELLED


def test_that_nothing_can_come_after_the_end() -> None:
    over = after(HELLO, Finished(reason=FinishReason.COMPLETED))
    for event in (HELLO, PLAN, Finished(reason=FinishReason.COMPLETED), Warned(code="c", message="m")):
        with pytest.raises(IllegalTransitionError):
            apply(over, event)


@pytest.mark.parametrize(
    ("reason", "problem"),
    [(FinishReason.FAILED, None), (FinishReason.COMPLETED, PROBLEM), (FinishReason.CANCELLED, PROBLEM)],
)
def test_that_a_failed_job_and_only_that_has_a_problem(reason: FinishReason, problem: Problem | None) -> None:
    with pytest.raises(IllegalTransitionError):
        after(HELLO, Finished(reason=reason, problem=problem))


def test_that_a_failed_job_keeps_its_problem() -> None:
    assert after(HELLO, Finished(reason=FinishReason.FAILED, problem=PROBLEM)).problem == PROBLEM


@pytest.mark.parametrize(
    "event", [StageStarted(stage="x"), StageFinished(stage="x", seconds=1), Progress(stage="x", done=1)]
)
def test_that_a_stage_outside_the_plan_is_refused(event: AnyEvent) -> None:
    with pytest.raises(IllegalTransitionError):
        after(HELLO, PLAN, event)


def test_that_a_second_plan_replaces_the_first_unless_it_says_more() -> None:
    other = Stage(id="prove-load", title="Open again")
    assert [s.stage.id for s in after(PLAN, Accepted(stages=(other,))).stages] == ["prove-load"]
    grown = after(PLAN, StageStarted(time=12, stage="load"), Accepted(stages=(other,), more=True))
    assert [s.stage.id for s in grown.stages] == ["load", "press", "prove-load"]
    assert stage(grown, "load").started == 12


def test_that_the_current_stage_is_the_latest_that_runs() -> None:
    assert after(HELLO, PLAN).current is None
    both = after(PLAN, StageStarted(time=12, stage="load"), StageStarted(time=13, stage="press"))
    assert both.current is stage(both, "press")
    ended = apply(both, StageFinished(time=20, stage="press", seconds=7))
    assert ended.current is stage(ended, "load")
    assert stage(ended, "press").finished == 20


def test_that_a_second_hello_brings_another_process_and_more_libraries_but_no_new_start() -> None:
    second = HELLO.model_copy(update={"time": 50.0, "pid": 8, "libraries": {"numpy": "2.4"}})
    snapshot = after(HELLO, PLAN, second)
    assert (snapshot.pid, snapshot.phase, snapshot.started) == (8, Phase.RUNNING, 10.0)
    assert snapshot.libraries == (("numpy", "2.4"), ("torch", "2.13"))


def test_that_a_cancelling_job_stays_so_until_its_end() -> None:
    asked = cancelling(after(HELLO, PLAN))
    assert asked.phase is Phase.CANCELLING
    going_on = reduce(apply, [HELLO, StageStarted(stage="load"), progress(1, 12), PLAN], asked)
    assert going_on.phase is Phase.CANCELLING
    assert apply(going_on, Finished(reason=FinishReason.CANCELLED)).phase is Phase.FINISHED


def test_that_a_finished_job_cannot_be_cancelled() -> None:
    over = after(Finished(reason=FinishReason.COMPLETED))
    assert cancelling(over) is over


def test_that_figures_and_warnings_are_kept_in_order_and_tokens_are_not() -> None:
    figures = [Metric(name="quantization_error", value=v, layer=f"layers.{v}") for v in (3.0, 1.0, 2.0)]
    warning = Warned(code="slow", message="This takes long.")
    snapshot = after(HELLO, PLAN, figures[0], warning, figures[1], Token(index=0, id=5, text="a"), figures[2])
    assert [metric.value for metric in snapshot.metrics] == [3.0, 1.0, 2.0]
    assert snapshot.warnings == (warning,)


def test_that_the_share_done_is_known_only_with_a_total() -> None:
    started = after(PLAN, StageStarted(time=12, stage="press"))
    assert stage(started, "load").fraction == 0.0
    assert stage(started, "press").fraction is None
    assert stage(apply(started, progress(15, 13)), "press").fraction == 0.5
    assert stage(apply(started, progress(31, 13)), "press").fraction == 1.0
    assert stage(apply(started, progress(15, 13, None)), "press").fraction is None
    assert stage(apply(started, StageFinished(time=14, stage="press", seconds=2)), "press").fraction == 1.0


def test_that_time_left_comes_from_the_stage_s_own_rate_without_its_set_up() -> None:
    running = after(PLAN, StageStarted(time=100, stage="press"))
    # 60 s of set-up before the first layer, then 2 s a layer.
    for done, time in ((0, 130), (1, 160), (2, 162), (3, 164), (5, 168)):
        running = apply(running, progress(done, time))
    assert stage(running, "press").seconds_left == pytest.approx(25 * 2.0)


def test_that_time_left_is_unknown_before_two_units_and_without_a_total_and_after_the_end() -> None:
    running = after(PLAN, StageStarted(time=100, stage="press"), progress(1, 110))
    assert stage(running, "press").seconds_left is None
    two = apply(running, progress(2, 112))
    assert stage(two, "press").seconds_left is not None
    assert stage(apply(two, progress(3, 114, None)), "press").seconds_left is None
    ended = apply(two, StageFinished(time=120, stage="press", seconds=20))
    assert stage(ended, "press").seconds_left is None


def test_that_a_repeated_report_does_not_slow_the_rate_down() -> None:
    running = after(PLAN, StageStarted(time=100, stage="press"), progress(1, 110), progress(2, 112))
    repeated = apply(running, progress(2, 150))
    assert stage(repeated, "press").seconds_left == stage(running, "press").seconds_left


def test_that_one_stage_s_rate_says_nothing_of_another() -> None:
    plan = Accepted(stages=(Stage(id="smooth", title="Smooth"), Stage(id="press", title="Press")))
    smooth = [
        StageStarted(time=0, stage="smooth"),
        *[Progress(time=float(n), stage="smooth", done=n, total=30) for n in range(1, 31)],
        StageFinished(time=30, stage="smooth", seconds=30),
    ]
    press = [StageStarted(time=30, stage="press"), progress(1, 34), progress(2, 38)]
    assert stage(after(plan, *smooth, *press), "press").seconds_left == pytest.approx(28 * 4)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 100)), max_size=8))
def test_that_share_and_time_left_are_never_absurd(reports: list[tuple[float, float]]) -> None:
    running = after(PLAN, StageStarted(time=0, stage="press"))
    for done, time in reports:
        running = apply(running, progress(done, time))
    state = stage(running, "press")
    assert state.fraction is None or 0 <= state.fraction <= 1
    assert state.seconds_left is None or state.seconds_left >= 0
