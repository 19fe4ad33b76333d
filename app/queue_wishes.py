"""Tells the queue what a person wants of a run that waits."""

from __future__ import annotations

from core.jobs.queue_store import QueueStore
from core.jobs.wish import QueueWish, Wish


def fulfil(queue: QueueStore, asked: QueueWish) -> None:
    """Change the queue. Blocks; raises BitpressError as the queue's methods do."""
    match asked.wish:
        case Wish.HOLD:
            queue.hold(asked.run)
        case Wish.RELEASE:
            queue.release(asked.run)
        case Wish.AT:
            queue.at(asked.run, asked.moment)
        case Wish.AFTER:
            queue.follow(asked.run, asked.other)
        case Wish.FIRST:
            queue.move(asked.run, first=True)
        case Wish.LAST:
            queue.move(asked.run)
        case Wish.UP | Wish.DOWN:
            _step(queue, asked.run, up=asked.wish is Wish.UP)


def _step(queue: QueueStore, run: int, *, up: bool) -> None:
    """One place up or down; at either end nothing changes."""
    order = [waits.id for waits, _ in queue.queued()]
    if run not in order:
        queue.move(run, first=up)  # says why that cannot be
        return
    place = order.index(run)
    if up and place:
        queue.move(run, before=order[place - 1])
    elif not up:
        queue.move(run, before=order[place + 2] if place + 2 < len(order) else None)
