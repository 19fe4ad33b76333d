"""The training loop: AdamW on the divergence from the original, stopped where held-out text stops gaining."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.errors import BitpressError
from core.measure.passages import Row
from core.methods.recovery import CurvePoint, RecoverySpec
from core.worker.recovery.divergence import backward, sums
from core.worker.recovery.student import Student
from core.worker.recovery.teacher import Teacher

RATES = {"scales": 2e-3, "table entries": 2e-3, "coefficients": 2e-3, "norms": 2e-3, "adapters": 1e-3}
"""Learning rates by kind, as a share of each value's own size (`Trained.unit`); of adapters, absolute."""

WARM_UP = 0.05
"""Share of the training in which the rate rises."""

LAST_RATE = 0.05
"""Where the cosine ends, as a share of the full rate."""

CLIP = 1.0
"""Largest norm of the gradient of one kind."""

LOOKS = 10
"""How often held-out text is measured over the whole training, at most."""

PATIENCE = 3
"""Looks without a gain after which it ends."""


@dataclass(frozen=True, slots=True)
class Text:
    """Rows and the batches of their indices: what is trained on, and what is watched meanwhile."""

    rows: tuple[Row, ...]
    training: tuple[tuple[int, ...], ...]
    watched: tuple[tuple[int, ...], ...]

    def tokens(self, batches: Sequence[Sequence[int]]) -> int:
        """Scored tokens of some batches."""
        return sum(self.rows[index].scored for batch in batches for index in batch)


@dataclass(slots=True)
class Course:
    """What a training came to. `best_step` 0 is the model as it was."""

    curve: list[CurvePoint] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0
    best_step: int = 0
    best: float = math.inf
    seconds: float = 0.0
    stopped: str = ""


Listener = Callable[[CurvePoint, int], None]
"""Hears each point of the curve, and how many steps there will be."""


def train(
    student: Student, teacher: Teacher, text: Text, spec: RecoverySpec, *, check: Callable[[], None], tell: Listener
) -> Course:
    """Train what the student has, and leave it at the step where the watched text was nearest to the original.

    `check` is called before each batch and may raise. Raises BitpressError `not-a-number` where the divergence is none.
    """
    groups = student.groups()
    optimizer = torch.optim.AdamW(
        [{"params": given, "lr": 0.0, "rate": RATES[kind] * spec.rate} for kind, given in groups.items()],
        weight_decay=0.0,
        betas=(0.9, 0.99),
    )
    kept: list[Tensor] = []
    course = Course()
    model = student.model

    def look(training: float | None, planned: int) -> bool:
        """Measure, keep the values if they are the best; whether there was a gain."""
        model.eval()
        held_out = _watched(student, teacher, text, check)
        point = CurvePoint(
            step=course.steps, tokens=course.tokens, seconds=time.monotonic() - began, training=training, held_out=held_out
        )
        course.curve.append(point)
        tell(point, planned)
        if held_out >= course.best:
            return False
        course.best, course.best_step = held_out, course.steps
        kept[:] = [value.detach().clone() for given in groups.values() for value in given]
        return True

    began = time.monotonic()
    look(None, 0)
    # The look before the training is not part of its time.
    began, looked = time.monotonic(), 0.0
    limit, without_gain = 60.0 * spec.minutes, 0
    order = _order(text.training, spec.seed)
    most = spec.passes * len(text.training)
    next_look = 0.0
    running: list[float] = []
    while True:
        spent = time.monotonic() - began
        share = max(spent / limit, course.steps / most, course.tokens / spec.tokens if spec.tokens else 0.0)
        if share >= 1.0:
            course.stopped = _why(spent >= limit, bool(spec.tokens) and course.tokens >= (spec.tokens or 0))
            break
        check()
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * _factor(share)
        batch = order(course.steps)
        tokens = text.tokens((batch,))
        model.train()
        lost = backward(model, teacher, text.rows, batch, tokens)
        if not math.isfinite(lost):
            raise BitpressError(
                "not-a-number",
                f"The divergence is no number any more after {course.steps} steps.",
                "Lower the rate, or prove the artifact: its weights may be damaged.",
            )
        for given in groups.values():
            torch.nn.utils.clip_grad_norm_(given, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        course.steps += 1
        course.tokens += tokens
        running.append(lost / tokens)
        planned = max(course.steps, round(course.steps / max(share, 1e-9))) if course.steps > 1 else most
        point = CurvePoint(
            step=course.steps, tokens=course.tokens, seconds=time.monotonic() - began, training=running[-1]
        )
        tell(point, planned)
        next_look = next_look or max(1.0 / LOOKS, share)
        if share >= next_look:
            next_look = share + 1.0 / LOOKS
            looking = time.monotonic()
            gained = look(sum(running) / len(running), planned)
            looked += time.monotonic() - looking
            running.clear()
            without_gain = 0 if gained else without_gain + 1
            if without_gain >= PATIENCE:
                course.stopped = f"Held-out text gained nothing {PATIENCE} times in a row."
                break
    if running:
        look(sum(running) / len(running), course.steps)
    course.seconds = time.monotonic() - began
    with torch.no_grad():
        for value, best in zip((value for given in groups.values() for value in given), kept, strict=True):
            value.copy_(best)
    model.eval()
    return course


def _watched(student: Student, teacher: Teacher, text: Text, check: Callable[[], None]) -> float:
    total = 0.0
    for batch in text.watched:
        check()
        total += float(sums(student.model, teacher, text.rows, batch).sum())
    return total / text.tokens(text.watched)


def _order(batches: Sequence[tuple[int, ...]], seed: int) -> Callable[[int], tuple[int, ...]]:
    """The batch of each step: every pass takes all of them, each time in another order."""

    def at(step: int) -> tuple[int, ...]:
        turn, place = divmod(step, len(batches))
        return random.Random(f"{seed}-{turn}").sample(list(batches), len(batches))[place]

    return at


def _factor(share: float) -> float:
    """Linear warm-up, then a cosine down to LAST_RATE; `share` is how much of the training is over."""
    if share < WARM_UP:
        return max(0.1, share / WARM_UP)
    over = (share - WARM_UP) / (1.0 - WARM_UP)
    return LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * over))


def _why(time_over: bool, tokens_over: bool) -> str:
    if time_over:
        return "The time was over."
    return "The tokens were used up." if tokens_over else "All passes over the text were made."
