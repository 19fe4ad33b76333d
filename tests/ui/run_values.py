"""Runs and snapshots for the tests of the pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

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
)
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import JobSnapshot, Phase, apply
from core.telemetry.sample import GpuSample, HostSample, Sample

START = 1_790_000_000.0
GIB = 2**30
PROOF = {
    "passed": True,
    "seconds": 4.0,
    "checks": [{"name": "Expected modules", "passed": True, "detail": "210 of 210 are quantized"}],
    "kl": 0.0031,
}


def a_run(number: int, phase: Phase = Phase.FINISHED, **changes: Any) -> Run:
    finished = phase is Phase.FINISHED
    created = datetime.fromtimestamp(START, UTC) + timedelta(minutes=number)
    values: dict[str, Any] = {
        "id": number,
        "kind": RunKind.COMPRESS,
        "title": f"Method {number}",
        "models": ("/models/tiny",),
        "model_name": "tiny",
        "settings": {
            "method": "gptq-w4a16",
            "parameters": {"group_size": 64, "actorder": "static"},
            "calibration": {"source": "self-chat", "samples": 128, "max_length": 512, "seed": 0},
        },
        "created": created,
        "finished": created if finished else None,
        "phase": phase,
        "reason": FinishReason.COMPLETED if finished else None,
    }
    return Run(**(values | changes))


def a_failed_run(number: int, code: str = "worker-died") -> Run:
    problem = Problem(code=code, message="The worker ended <b>early</b>.", hint="Try again.", details="line 1\nline 2")
    return a_run(number, reason=FinishReason.FAILED, problem=problem)


def an_interrupted_run(number: int) -> Run:
    problem = Problem(code="interrupted", message="Bitpress or the machine went down.", hint="Start it again here.")
    return a_run(number, reason=FinishReason.INTERRUPTED, problem=problem)


def told(*events: AnyEvent) -> JobSnapshot:
    snapshot = JobSnapshot(job="j")
    for event in events:
        snapshot = apply(snapshot, event)
    return snapshot


def running_events() -> tuple[AnyEvent, ...]:
    """Load is over; GPTQ is at layer 19 of 32 at one layer a second."""
    return (
        Hello(protocol=1, app="t", pid=1, time=START),
        Accepted(
            stages=(
                Stage(id="load", title="Load"),
                Stage(id="gptq", title="Calibrate and compress", unit="layer"),
                Stage(id="save", title="Save"),
            ),
            time=START,
        ),
        StageStarted(stage="load", time=START),
        StageFinished(stage="load", seconds=12.0, time=START + 12),
        StageStarted(stage="gptq", time=START + 12),
        Progress(stage="gptq", done=1, total=32, time=START + 13),
        Metric(name="quantization_error", value=0.5, layer="model.layers.0.mlp.down_proj", time=START + 13),
        Progress(stage="gptq", done=19, total=32, time=START + 31),
    )


def finished_event(time: float = START + 60) -> Finished:
    return Finished(reason=FinishReason.COMPLETED, time=time)


def a_sample(seconds: float, gpu: bool = True, ours: int | None = 4 * GIB) -> Sample:
    board = GpuSample(
        index=0,
        name="GPU",
        memory_used=6 * GIB,
        memory_total=24 * GIB,
        memory_ours=ours,
        load=90.0,
        power=300.0,
        power_limit=450.0,
        temperature=70.0,
    )
    host = HostSample(cpu=50.0, memory_used=8 * GIB, memory_total=16 * GIB, worker_memory=2 * GIB, worker_cpu=190.0)
    return Sample(time=START + seconds, host=host, gpus=(board,) if gpu else ())
