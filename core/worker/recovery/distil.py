"""The training loop: AdamW on the divergence from the original, stopped where held-out text stops gaining."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.errors import BitpressError
from core.measure.passages import Row
from core.methods.recovery import CurvePoint, RecoverySpec
from core.worker.recovery.divergence import backward, sums
from core.worker.recovery.student import Student
from core.worker.recovery.teacher import Teacher
from core.worker.step_book import StepBook

RATES = {"scales": 2e-3, "table entries": 5e-4, "coefficients": 5e-4, "norms": 2e-3, "adapters": 1e-3, "weights": 1.0}
"""Learning rates by kind, as a share of each value's own size (`Trained.unit`); of adapters, absolute. Of whole
weights (core.worker.qat) the spec's `rate` is the learning rate itself.

Measured on the starter model. A row's table or offset that moves as a whole shifts the row's output by the sum of its
inputs, which a few large channels dominate: at 2e-3 the divergence of GPTQT at 3 bits rose at first (0.55 to 0.62),
at 5e-4 it fell. Tables that are far off gain from more: that is what the spec's `rate` is for.
"""

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
    resumed: int | None = None
    """The step after which it went on, where it was interrupted."""


_COUNTED = ("steps", "tokens", "best_step", "best", "stopped")
"""Of a course, what is kept while it is under way; its curve is among the points that were told."""

_OWN = ("without_gain", "next_look", "look_seconds")

Listener = Callable[[CurvePoint, int], None]
"""Hears each point of the curve, and how many steps there will be."""


def train(
    student: Student,
    teacher: Teacher,
    text: Text,
    spec: RecoverySpec,
    *,
    check: Callable[[], None],
    tell: Listener,
    book: StepBook | None = None,
) -> Course:
    """Train what the student has, and leave it at the step where the watched text was nearest to the original.

    `check` is called before each batch and may raise. With a `book` it goes on where that was, and keeps its account:
    steps give then what they would have given, and the minutes that were used count. Raises BitpressError
    `not-a-number` where the divergence is none.
    """
    training = _Training(student, teacher, text, spec, check=check, tell=tell)
    if not training.goes_on(book):
        training.look(None)
        training.begin()
    if training.over:
        return training.course
    while (share := training.share()) < 1.0:
        training.step(share)
        if training.is_time_to_look() and not training.gains():
            break
        if book is not None and book.due():
            training.keep(book)
    course = training.end()
    if book is not None:
        training.keep(book)
    return course


class _Training:
    """One training under way."""

    def __init__(
        self,
        student: Student,
        teacher: Teacher,
        text: Text,
        spec: RecoverySpec,
        *,
        check: Callable[[], None],
        tell: Listener,
    ) -> None:
        self._student, self._teacher, self._text, self._spec = student, teacher, text, spec
        self._check, self._tell = check, tell
        self._groups = student.groups()
        self._optimizer = torch.optim.AdamW(
            [{"params": given, "lr": 0.0, "rate": RATES[kind] * spec.rate} for kind, given in self._groups.items()],
            weight_decay=0.0,
            betas=(0.9, 0.99),
        )
        self._order = _order(text.training, spec.seed)
        self._most = spec.passes * len(text.training)
        self._limit = 60.0 * spec.minutes
        self._began = time.monotonic()
        self._kept: list[Tensor] = []
        self._recent: list[float] = []
        self._without_gain, self._next_look, self._look_seconds = 0, 0.0, 0.0
        self._told: list[CurvePoint] = []
        self.course = self._course = Course()
        self.over = False
        """Whether the best values are in place."""

    def begin(self) -> None:
        """Start the clock: the look before the training is no part of its time."""
        self._began = time.monotonic()
        self._next_look = self._pause()

    def keep(self, book: StepBook) -> None:
        """Write down all that the next steps rest on."""
        course = self._course
        moments = [dict(self._optimizer.state.get(value, {})) for value in self._parameters()]
        seconds = course.seconds if self.over else self._seconds()
        book.write(
            course.steps,
            f"after step {course.steps} of its recovery",
            {
                "values": list(self._values()),
                "best_values": self._kept,
                "moments": moments,
                "points": [point.model_dump(mode="json") for point in self._told],
                "recent": list(self._recent),
                "without_gain": self._without_gain,
                "next_look": self._next_look,
                "look_seconds": self._look_seconds,
                "seconds": seconds,
                "over": self.over,
                **{name: getattr(course, name) for name in _COUNTED},
            },
        )

    def goes_on(self, book: StepBook | None) -> bool:
        """Be where the book's newest state was; False where there is none that fits."""
        kept = None if book is None else book.take_up()
        if book is None or kept is None:
            return False
        values = list(self._values())
        try:
            shapes = [tuple(value.shape) for value in values]
            fits = all([tuple(one.shape) for one in kept[name]] == shapes for name in ("values", "best_values"))
            points = [CurvePoint.model_validate(point) for point in kept["points"]]
            moments = list(kept["moments"])
            counted = {name: kept[name] for name in _COUNTED}
            recent, own = list(kept["recent"]), {name: kept[name] for name in _OWN}
        except (KeyError, TypeError, ValueError, AttributeError):
            fits = False
        if not fits or len(moments) != len(values):
            book.refuse("it was made for other values")
            return False
        with torch.no_grad():
            for value, then in zip(values, kept["values"], strict=True):
                value.copy_(then)
        for value, state in zip(self._parameters(), moments, strict=True):
            if state:
                self._optimizer.state[value] = dict(state)
        self._kept = list(kept["best_values"])
        self._recent = recent
        self._without_gain, self._next_look, self._look_seconds = own.values()
        for name, count in counted.items():
            setattr(self._course, name, count)
        self._course.seconds = float(kept["seconds"])
        self._course.curve = [point for point in points if point.held_out is not None]
        self._course.resumed = self._course.steps
        self._began = time.monotonic() - self._course.seconds
        self.over = bool(kept["over"])
        share = self.share()
        planned = self._most if not share else min(self._most, round(self._course.steps / share))
        for point in points:
            self._told.append(point)
            self._tell(point, max(planned, point.step))
        return True

    def share(self) -> float:
        """How much of the training is over, by time, passes or tokens, whichever is nearest to its end."""
        course, spec = self._course, self._spec
        return max(
            self._seconds() / self._limit,
            course.steps / self._most,
            course.tokens / spec.tokens if spec.tokens else 0.0,
        )

    def step(self, share: float) -> None:
        """One batch forward and back, and what it says put into the values."""
        self._check()
        course = self._course
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * _factor(share)
        batch = self._order(course.steps)
        tokens = self._text.tokens((batch,))
        self._student.train(True)
        lost = backward(self._student.model, self._teacher, self._text.rows, batch, tokens)
        if not math.isfinite(lost):
            raise BitpressError(
                "not-a-number",
                f"The divergence is no number any more after {course.steps} steps.",
                "Lower the rate, or prove the artifact: its weights may be damaged.",
            )
        for given in self._groups.values():
            torch.nn.utils.clip_grad_norm_(given, CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        course.steps += 1
        course.tokens += tokens
        self._recent.append(lost / tokens)
        self._say(CurvePoint(step=course.steps, tokens=course.tokens, seconds=self._seconds(), training=lost / tokens))

    def is_time_to_look(self) -> bool:
        return self.share() >= self._next_look

    def gains(self) -> bool:
        """Look at the watched text; False where it gained nothing too often, which ends the training."""
        gained = self.look(sum(self._recent) / len(self._recent))
        self._recent.clear()
        self._next_look = self.share() + self._pause()
        self._without_gain = 0 if gained else self._without_gain + 1
        if self._without_gain >= PATIENCE:
            self._course.stopped = f"Held-out text gained nothing {PATIENCE} times in a row."
        return not self._course.stopped

    def look(self, training: float | None) -> bool:
        """Measure the watched text, keep the values if they are the best; whether there was a gain."""
        began, course = time.monotonic(), self._course
        self._student.train(False)
        total = 0.0
        for batch in self._text.watched:
            self._check()
            total += float(sums(self._student.model, self._teacher, self._text.rows, batch).sum())
        held_out = total / self._text.tokens(self._text.watched)
        point = CurvePoint(
            step=course.steps, tokens=course.tokens, seconds=self._seconds(), training=training, held_out=held_out
        )
        course.curve.append(point)
        self._say(point)
        self._look_seconds = time.monotonic() - began
        if not held_out < course.best:
            return False
        course.best, course.best_step = held_out, course.steps
        self._kept = [value.detach().clone() for value in self._values()]
        return True

    def end(self) -> Course:
        """The last look, and the best values put back."""
        course = self._course
        if self._recent:
            self.look(sum(self._recent) / len(self._recent))
            self._recent.clear()
        course.stopped = course.stopped or self._why()
        course.seconds = self._seconds()
        with torch.no_grad():
            for value, best in zip(self._values(), self._kept, strict=True):
                value.copy_(best)
        self._student.train(False)
        self.over = True
        return course

    def _say(self, point: CurvePoint) -> None:
        share = self.share()
        planned = round(point.step / share) if point.step and share else self._most
        self._told.append(point)
        self._tell(point, min(self._most, max(planned, point.step)))

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _pause(self) -> float:
        """Share of the training until the next look, so that looking takes a fifth of the time at most."""
        return max(1.0 / LOOKS, 4.0 * self._look_seconds / self._limit)

    def _parameters(self) -> Iterator[torch.nn.Parameter]:
        return (value for given in self._groups.values() for value in given)

    def _values(self) -> Iterator[Tensor]:
        return (value.detach() for value in self._parameters())

    def _why(self) -> str:
        if self._seconds() >= self._limit:
            return "The time was over."
        if self._spec.tokens and self._course.tokens >= self._spec.tokens:
            return "The tokens were used up."
        return "All passes over the text were made."


def _order(batches: Sequence[tuple[int, ...]], seed: int) -> Callable[[int], tuple[int, ...]]:
    """The batch of each step: every pass takes all of them, each time in another order."""

    def at(step: int) -> tuple[int, ...]:
        turn, place = divmod(step, len(batches))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + turn)
        return batches[int(torch.randperm(len(batches), generator=generator)[place])]

    return at


def _factor(share: float) -> float:
    """Linear warm-up, then a cosine down to LAST_RATE; `share` is how much of the training is over."""
    if share < WARM_UP:
        return max(0.1, share / WARM_UP)
    over = (share - WARM_UP) / (1.0 - WARM_UP)
    return LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * over))
