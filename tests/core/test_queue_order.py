"""Facts about the order of the queue: whose turn it is, and what a person may change about it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import BitpressError
from core.jobs.line import Standing
from core.jobs.order import (
    BenchmarkOrder,
    CompressOrder,
    EvaluateOrder,
    ImportOrder,
    Order,
    ProveOrder,
    RehearseOrder,
    SensitivityOrder,
    kept_order,
    repeated,
    work_of,
)
from core.jobs.owner import Owner, holds, this_process
from core.jobs.protocol import EnginePlace, FinishReason, MeasureSensitivity, Prove
from core.jobs.queue_store import Beat, QueueStore
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import REVISIONS, RunStore
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.methods.recipe import Recipe

RECIPE = Recipe(method="fp8-dynamic", parameters={})
PLACE = EnginePlace(interpreter="/e/python", home="/e", version="1", cpu=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "runs.sqlite") as opened:
        yield opened


def add(store: RunStore, count: int) -> list[int]:
    order = kept_order(ImportOrder(source=Path("/g"), output=Path("/o")))
    new = NewRun(kind=RunKind.IMPORT, title="t", models=("/g",), model_name="m", order=order)
    return [store.create(new, owned=False).id for _ in range(count)]


def waiting(queue: QueueStore) -> list[tuple[int, Standing]]:
    return [(run.id, stands) for run, stands in queue.queued()]


def end(store: RunStore, run: Run | None, reason: FinishReason = FinishReason.COMPLETED) -> None:
    assert run is not None
    store.save(run.model_copy(update={"phase": Phase.FINISHED, "reason": reason}))


def take(queue: QueueStore, **options: Any) -> int | None:
    """The next run's number; the machine is given back at once."""
    claim = queue.claim((), adopt=True, **options)
    queue.give_back()
    return None if claim.run is None else claim.run.id


def test_that_runs_are_moved_before_another_first_and_last(store: RunStore) -> None:
    queue, (one, two, three, four) = QueueStore(store), add(store, 4)
    queue.move(four, before=two)
    assert [run for run, _ in waiting(queue)] == [one, four, two, three]
    queue.move(three, first=True)
    queue.move(one)
    assert [run for run, _ in waiting(queue)] == [three, four, two, one]
    (later,) = add(store, 1)
    assert [take(queue) for _ in range(6)] == [three, four, two, one, later, None]


def test_that_a_held_run_waits_until_it_is_released(store: RunStore) -> None:
    queue, (one, two) = QueueStore(store), add(store, 2)
    queue.hold(one)
    assert waiting(queue) == [(one, Standing.HELD), (two, Standing.READY)]
    assert [take(queue), take(queue)] == [two, None]
    assert not queue.claim((), adopt=True).pending
    queue.release(one)
    assert take(queue) == one


def test_that_a_run_begins_at_its_time_and_not_before(store: RunStore) -> None:
    queue, (one,) = QueueStore(store), add(store, 1)
    night = datetime.now(UTC) + timedelta(hours=9)
    queue.at(one, night)
    assert waiting(queue) == [(one, Standing.EARLY)]
    assert queue.claim((), adopt=True).pending
    assert take(queue, now=night - timedelta(seconds=1)) is None
    assert take(queue, now=night) == one


def test_that_a_run_follows_one_that_completed_and_waits_for_a_person_after_one_that_broke(store: RunStore) -> None:
    queue, (one, two, three) = QueueStore(store), add(store, 3)
    queue.follow(one, three)
    queue.follow(two, one)
    assert [stands for _, stands in waiting(queue)] == [Standing.FOLLOWS, Standing.FOLLOWS, Standing.READY]
    end(store, queue.claim((), adopt=True).run)
    assert waiting(queue) == [(one, Standing.READY), (two, Standing.FOLLOWS)]
    end(store, queue.claim((), adopt=True).run, FinishReason.CANCELLED)
    queue.give_back()
    assert waiting(queue) == [(two, Standing.STRANDED)]
    assert take(queue) is None
    queue.release(two)
    assert take(queue) == two


def test_that_a_run_cannot_follow_itself_and_what_does_not_wait_cannot_be_changed(store: RunStore) -> None:
    queue, (one, two, three) = QueueStore(store), add(store, 3)
    queue.follow(two, one)
    queue.follow(three, two)
    for run, other in ((one, one), (one, three)):
        with pytest.raises(BitpressError) as caught:
            queue.follow(run, other)
        assert caught.value.problem.code == "goes-round"
    assert queue.cancel(one)
    for change in (lambda: queue.hold(one), lambda: queue.move(one), lambda: queue.move(two, before=one)):
        with pytest.raises(BitpressError) as caught:
            change()
        assert caught.value.problem.code == "not-queued"
    with pytest.raises(BitpressError) as caught:
        queue.hold(99)
    assert caught.value.problem.code == "unknown-run"


def test_that_one_has_the_machine_at_a_time_and_a_dead_one_s_is_told(store: RunStore) -> None:
    one, other = QueueStore(store), QueueStore(store)
    add(store, 2)
    assert one.claim((), adopt=True).run is not None
    refused = other.claim((), adopt=True)
    assert (refused.run, refused.pending, refused.orphaned) == (None, True, False)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE leases SET owner_started = owner_started - 3600")
        connection.execute("UPDATE runs SET owner_started = owner_started - 3600")
    assert other.claim((), adopt=True).orphaned
    assert [run.id for run in store.interrupted()] == [1]
    claimed = other.claim((), adopt=True).run
    assert claimed is not None
    assert claimed.id == 2


def test_that_a_run_that_is_over_does_not_keep_the_machine_when_its_process_could_not_give_it_back(
    store: RunStore,
) -> None:
    one, other = QueueStore(store), QueueStore(store)
    add(store, 2)
    end(store, one.claim((), adopt=True).run)
    assert other.at_work() is None
    assert other.claim((), adopt=True).run is not None
    assert other.at_work() == 2


def test_that_a_sign_of_life_is_answered_with_what_another_process_wants(store: RunStore) -> None:
    one, other = QueueStore(store), QueueStore(store)
    (run, _) = add(store, 2)
    assert one.claim((), adopt=True).run is not None
    assert one.beat(run) is Beat.GO_ON
    other.cancel(run)
    assert one.beat(run) is Beat.CANCEL
    assert other.beat(run) is Beat.LOST


def test_that_a_process_that_cannot_be_looked_at_is_known_by_its_beat(store: RunStore) -> None:
    me, now = this_process(), datetime.now(UTC)
    container = Owner(me.pid, me.started, "another machine")
    long_ago = now - timedelta(hours=1)
    assert holds(me, long_ago)
    assert holds(container, now)
    assert not holds(container, long_ago)
    assert not holds(Owner(me.pid, me.started - 3600, me.place), now)


ORDERS: list[Order] = [
    CompressOrder(model=Path("/m"), original_bytes=5, output=Path("/o"), recipe=RECIPE, original_sha256="ab"),
    RehearseOrder(model=Path("/m"), output=Path("/o"), recipe=RECIPE),
    ImportOrder(source=Path("/g"), output=Path("/o")),
    EvaluateOrder(original="/m", others=("/a",), suite=EvaluationSuite()),
    BenchmarkOrder(models=("/m",), suite=BenchmarkSuite()),
    BenchmarkOrder(models=("/m",), suite=BenchmarkSuite(), place=PLACE),
    ProveOrder(command=Prove(job="", original="/m", artifact="/a")),
    SensitivityOrder(command=MeasureSensitivity(job="", model="/m", schemes=()), budget=7),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.type)
def test_that_an_order_survives_the_store_and_says_what_to_do(store: RunStore, order: Order) -> None:
    new = NewRun(kind=RunKind.COMPRESS, title="t", models=(), model_name="m", order=kept_order(order))
    kept = store.get(store.create(new).id)
    assert type(order).model_validate(kept.order) == order
    assert callable(work_of(kept))
    again = repeated(kept, Path("/elsewhere"))
    assert callable(work_of(again))
    if "output" in type(order).model_fields:
        assert again.order["output"] == again.output == "/elsewhere"


@pytest.mark.parametrize("order", [None, {"type": "dream"}, {"type": "import", "source": "/g", "output": "/o", "x": 1}])
def test_that_an_order_that_is_not_understood_is_refused(store: RunStore, order: Any) -> None:
    with pytest.raises(BitpressError) as caught:
        work_of(NewRun(kind=RunKind.IMPORT, title="t", models=(), model_name="m", order=order))
    assert caught.value.problem.code == "cannot-repeat"


def test_that_a_store_of_the_version_before_is_migrated_with_all_its_runs(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    import core.jobs

    path = tmp_path / "runs.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(core.jobs.__path__[0], "migrations")))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        columns = (
            "kind, title, model_name, method, settings, created, phase, reason, problem, versions, owner_pid, "
            "owner_started"
        )
        for reason, problem in (
            ("'failed'", '\'{"code": "interrupted", "message": "m"}\''),
            ("'failed'", '\'{"code": "worker-died", "message": "m"}\''),
            ("'completed'", "NULL"),
        ):
            connection.exec_driver_sql(
                f"INSERT INTO runs ({columns}) VALUES ('import', 't', 'm', '', '{{}}', '2026-01-02T03:04:05+00:00', "
                f"'finished', {reason}, {problem}, '{{}}', 1, 1.0)"
            )
    engine.dispose()
    with RunStore.open(path) as store:
        assert [(run.id, run.reason, run.position) for run in reversed(store.runs())] == [
            (1, FinishReason.INTERRUPTED, 1),
            (2, FinishReason.FAILED, 2),
            (3, FinishReason.COMPLETED, 3),
        ]
        assert add(store, 1) == [4]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
