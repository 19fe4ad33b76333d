"""Test data for the report: what a run recorded of itself and of its machine."""

from __future__ import annotations

import math

from core.jobs.protocol import Accepted, AnyEvent, Metric, Stage, StageFinished, StageStarted, Warned
from core.telemetry.sample import GpuSample, HostSample, Sample

STAGES = ("Load the model", "Write calibration answers", "Calibrate and compress", "Save", "Prove the saved model")


def events(start: float, *, errors: bool = True) -> list[AnyEvent]:
    made: list[AnyEvent] = [
        Accepted(job="1", time=start, stages=tuple(Stage(id=str(i), title=t) for i, t in enumerate(STAGES)))
    ]
    times = (0.0, 6.0, 96.0, 262.0, 284.0, 310.0)
    for index in range(len(STAGES)):
        made.append(StageStarted(job="1", time=start + times[index], stage=str(index)))
        made.append(
            StageFinished(
                job="1", time=start + times[index + 1], stage=str(index), seconds=times[index + 1] - times[index]
            )
        )
    if errors:
        made += [
            Metric(
                job="1",
                time=start + 100,
                name="quantization_error",
                value=3.0 + layer,
                layer=f"model.layers.{layer}.{part}",
                relative=0.01 + 0.001 * layer + 0.004 * place,
            )
            for layer in range(30)
            for place, part in enumerate(("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"))
        ]
    made.append(
        Warned(job="1", time=start + 5, code="group-size", message="576 columns: a group size of 64 was chosen.")
    )
    return made


def samples(start: float, *, gpu: bool) -> tuple[Sample, ...]:
    def gpus(step: int) -> tuple[GpuSample, ...]:
        return (
            GpuSample(
                index=0,
                name="NVIDIA Testboard 24",
                memory_used=int((4 + 12 * min(1, step / 200)) * 2**30),
                memory_total=24 * 2**30,
                memory_ours=None if step < 20 else int((3 + 12 * min(1, step / 200)) * 2**30),
                load=None if 100 < step < 120 else 20 + 70 * abs(math.sin(step / 40)),
                power=90 + 240 * abs(math.sin(step / 40)),
                power_limit=450,
                temperature=48 + step / 30,
            ),
        )

    return tuple(
        Sample(
            time=start + step / 2,
            host=HostSample(
                cpu=30 + 60 * abs(math.sin(step / 60)),
                memory_used=int((6 + 3 * min(1, step / 300)) * 2**30),
                memory_total=32 * 2**30,
                worker_memory=int(2 * min(1, step / 300) * 2**30) + 2**28,
            ),
            gpus=gpus(step) if gpu else (),
        )
        for step in range(622)
    )
