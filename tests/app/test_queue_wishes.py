"""Facts about what a person wants of the queue, done to a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.queue_wishes import fulfil
from core.errors import BitpressError
from core.jobs.queue_store import QueueStore
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.jobs.wish import QueueWish, Wish
from core.paths import Home


@pytest.fixture
def store(home: Home) -> Iterator[RunStore]:
    with RunStore.open(home.store_file) as opened:
        for _ in range(4):
            opened.create(NewRun(kind=RunKind.PROVE, title="t", models=(), model_name="m"))
        yield opened


def order(store: RunStore) -> list[int]:
    return [run.id for run, _ in QueueStore(store).queued()]


@pytest.mark.parametrize(
    ("run", "wish", "left"),
    [
        (3, Wish.UP, [1, 3, 2, 4]),
        (1, Wish.UP, [1, 2, 3, 4]),
        (2, Wish.DOWN, [1, 3, 2, 4]),
        (3, Wish.DOWN, [1, 2, 4, 3]),
        (4, Wish.DOWN, [1, 2, 3, 4]),
        (3, Wish.FIRST, [3, 1, 2, 4]),
        (2, Wish.LAST, [1, 3, 4, 2]),
    ],
)
def test_that_a_run_moves_by_one_place_or_to_an_end(store: RunStore, run: int, wish: Wish, left: list[int]) -> None:
    fulfil(QueueStore(store), QueueWish(run, wish))
    assert order(store) == left


def test_that_hold_time_and_run_before_are_set_and_taken_away(store: RunStore) -> None:
    queue, moment = QueueStore(store), datetime.now(UTC) + timedelta(hours=3)
    fulfil(queue, QueueWish(2, Wish.HOLD))
    fulfil(queue, QueueWish(2, Wish.AT, moment=moment))
    fulfil(queue, QueueWish(2, Wish.AFTER, other=1))
    kept = store.get(2)
    assert (kept.held, kept.not_before, kept.follows) == (True, moment, 1)
    fulfil(queue, QueueWish(2, Wish.AT))
    fulfil(queue, QueueWish(2, Wish.AFTER))
    fulfil(queue, QueueWish(2, Wish.RELEASE))
    kept = store.get(2)
    assert (kept.held, kept.not_before, kept.follows) == (False, None, None)


@pytest.mark.parametrize("wish", list(Wish))
def test_that_what_runs_already_is_not_changed(store: RunStore, wish: Wish) -> None:
    store.save(store.get(2).model_copy(update={"phase": Phase.RUNNING}))
    with pytest.raises(BitpressError) as refused:
        fulfil(QueueStore(store), QueueWish(2, wish, other=1))
    assert refused.value.problem.code == "not-queued"
