"""Whether a worker that says nothing is busy or stuck, by what the machine shows of it. Nothing here ends a worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce

from core.plan.words import duration
from core.telemetry.sample import GpuSample, Sample

BUSY_CPU = 5.0
"""Percent of one core that count as work. The kernel counts in ticks of 10 ms, so in half a second one tick is 2 %: a
process that only wakes up now and then to look around shows one tick, and a computing one shows 25 and more."""
BUSY_GPU = 5.0
"""Percent of the time in which a kernel ran on a GPU where the worker holds memory."""
GROWN_BYTES = 2**20
"""A worker whose memory grows by this between two samples is loading, however slow its disk is."""
QUIET_SECONDS = 30.0
"""Silence that is worth a word: a save to a slow disk takes that long."""
STUCK_SECONDS = 300.0
"""Silence without events, processor, GPU and growing memory after which a worker is called stuck. Whatever works leaves
one of the four within seconds; what waits, waits for a disk or a server, and for that five minutes are generous."""
LONGEST_STEP = 5.0
"""Seconds that two samples can add to a silence: a machine that slept all night did not wait all night."""


class State(StrEnum):
    """What a worker seems to do."""

    BUSY = "busy"
    QUIET = "quiet"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Activity:
    """How long a worker has shown no sign of life, in seconds of watching; `last` is the sample before."""

    silent: float = 0.0
    last: Sample | None = None

    @property
    def state(self) -> State:
        return self.judged()

    def judged(self, quiet_after: float = QUIET_SECONDS, stuck_after: float = STUCK_SECONDS) -> State:
        """The state by thresholds in seconds."""
        if self.silent >= stuck_after:
            return State.STUCK
        return State.QUIET if self.silent >= quiet_after else State.BUSY


def spoke(activity: Activity) -> Activity:
    """After an event: whoever speaks is alive."""
    return replace(activity, silent=0.0)


def seen(activity: Activity, sample: Sample) -> Activity:
    """After one more sample. A sample without a worker in it (none runs, or it is the first) proves nothing."""
    before = activity.last
    if before is None or sample.host.worker_cpu is None:
        return replace(activity, last=sample)
    if works(before, sample):
        return Activity(0.0, sample)
    step = min(max(0.0, sample.time - before.time), LONGEST_STEP)
    return Activity(activity.silent + step, sample)


def activity_of(samples: tuple[Sample, ...], since: Activity | None = None) -> Activity:
    """After a series of samples in which no event came."""
    return reduce(seen, samples, since or Activity())


def works(before: Sample, sample: Sample) -> bool:
    """Whether the worker computes, on the processor or a GPU, or loads."""
    if (sample.host.worker_cpu or 0.0) >= BUSY_CPU or any(map(_computes, sample.gpus)):
        return True
    held, holds = before.host.worker_memory, sample.host.worker_memory
    return held is not None and holds is not None and holds - held >= GROWN_BYTES


def _computes(gpu: GpuSample) -> bool:
    """Where the driver does not say whose memory it is, the load may be ours: better no alarm than a false one."""
    return (gpu.load or 0.0) >= BUSY_GPU and gpu.memory_ours != 0


def stuck_words(seconds: float) -> str:
    """One sentence on a worker that is stuck, and what a person may do."""
    return (
        f"The worker has said nothing and used neither processor nor GPU for {duration(seconds)}. It may be stuck; it "
        "is left alone. Cancel the run if that goes on."
    )


def moving_words(seconds: float) -> str:
    """One sentence on a worker that was called stuck and is not."""
    return f"The worker moves again after {duration(seconds)} of silence."
