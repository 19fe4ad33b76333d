"""Facts about calibrating one Linear at a time, which a device that is too small for a decoder layer asks for."""

from pathlib import Path

import pytest
from test_compress import INT4_GROUP, command, gptq, stages
from tiny_llama import write_tiny_llama
from worker_process import finished, worker_process

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import FinishReason, Metric, Progress


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"{number} and {number * 7} make {number * 8}." for number in range(400)))
    return path


def test_that_one_linear_at_a_time_reaches_every_module_and_its_progress_stays_in_bounds(
    starter: Path, tmp_path: Path, text: Path
) -> None:
    import torch

    model = write_tiny_llama(tmp_path / "tiny", starter, dtype=torch.bfloat16)
    spec = CalibrationSpec(source=str(text), samples=4, max_length=64)
    found = []
    with worker_process(tmp_path / "log") as worker:
        for targets in ((), ("Linear",)):
            output = tmp_path / f"out{len(found)}"
            asked = command(model, output, gptq(INT4_GROUP), calibration=spec, sequential_targets=targets)
            found.append(worker.run(asked))
    whole, single = found
    for events in found:
        assert finished(events).reason is FinishReason.COMPLETED, finished(events).problem
        assert stages(events) == ["load", "modifier-0", "save"]
        for event in events:
            if isinstance(event, Progress) and event.total is not None:
                assert 0 <= event.done <= event.total
    assert finished(whole).result["expected_modules"] == finished(single).result["expected_modules"]
    errors = [{event.layer for event in events if isinstance(event, Metric)} for events in found]
    assert errors[0] == errors[1] != set()
