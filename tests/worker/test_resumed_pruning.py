"""Pruning that was interrupted and goes on: what was measured is not measured again, and the tensors are the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from family_journey import write_calibration
from tiny_families import Family, family, write_family
from tiny_llama import Memory, reporter
from worker_process import finished, worker_process

from core.calibration.spec import CalibrationSpec
from core.jobs.checkpoint import MEASURED, read_checkpoint, read_steps
from core.jobs.protocol import AnyEvent, Checkpoints, Compress, Metric, Progress, Warned
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.value import Json
from core.worker import compress
from core.worker.reporter import JobCancelledError
from core.worker.survey import survey

Moment = Callable[[AnyEvent], bool]


def deep(name: str, layers: int = 6) -> Family:
    member = family(name)
    return replace(member, settings={**member.settings, "num_hidden_layers": layers})


class Jobs:
    """One method on one tiny model, to be stopped and taken up."""

    def __init__(self, member: Family, method: str, work: Path, **settings: Any) -> None:
        self.work, self.kept = work, work / "kept"
        model = write_family(member, work / "model")
        spec = CalibrationSpec(source=str(write_calibration(work)), samples=8, max_length=64)
        recipe = resolve_recipe(method, settings, spec, survey(model))
        self.asked = Compress(
            job="job",
            model=str(model),
            output=str(work / "whole"),
            modifiers=find(method).modifiers(recipe.parameters),
            calibration=recipe.calibration,
            device="cpu",
        )

    def keeping(self, name: str) -> Compress:
        kept = Checkpoints(folder=str(self.kept), seconds=0)
        return self.asked.model_copy(update={"output": str(self.work / name), "checkpoints": kept})

    def run(self, command: Compress, moment: Moment | None = None) -> tuple[Json, Memory]:
        flag = threading.Event()

        def heard(event: AnyEvent) -> None:
            if moment is not None and moment(event):
                flag.set()

        memory = Memory(heard)
        try:
            return compress.run(command, reporter(memory, flag)), memory
        except JobCancelledError:
            assert moment is not None
            return None, memory


def at(stage: str, done: float) -> Moment:
    return lambda event: isinstance(event, Progress) and event.stage == stage and event.done >= done


def told(memory: Memory) -> list[tuple[str, str, float]]:
    return sorted((event.name, event.layer, event.value) for event in memory.events if isinstance(event, Metric))


def warned(memory: Memory) -> set[str]:
    return {event.code for event in memory.events if isinstance(event, Warned)}


@pytest.mark.parametrize("done", [0.6, 1.4])
def test_that_a_search_for_blocks_goes_on_in_the_middle_of_a_round_with_the_same_outcome(
    done: float, tmp_path: Path
) -> None:
    jobs = Jobs(deep("llama-3"), "drop-blocks", tmp_path, blocks=2, tokens=128, then="none")
    whole, first = jobs.run(jobs.asked)
    jobs.run(jobs.keeping("stopped"), at("modifier-0", done))
    point = read_steps(jobs.kept, MEASURED)
    assert point is not None
    # A busy machine hears of it later, and has gone on.
    assert point.at in [f"from block {block} of 2 to take out" for block in range(1 + int(done), 3)]
    result, again = jobs.run(jobs.keeping("resumed"))
    assert result["resumed"] == {"at": point.at}
    assert (result["dropped_blocks"], result["tensors_sha256"]) == (whole["dropped_blocks"], whole["tensors_sha256"])
    assert told(again) == told(first)
    walked = [event.done for event in again.events if isinstance(event, Progress) and "to take out" in event.detail]
    assert min(walked, default=1.0) > 0, "it does not begin with the first block again"
    assert "checkpoint-not-used" not in warned(again)


def test_that_a_worker_killed_in_the_search_is_followed_by_one_that_goes_on_and_then_rounds_as_before(
    tmp_path: Path,
) -> None:
    jobs = Jobs(deep("qwen-2"), "drop-blocks", tmp_path, blocks=2, tokens=128, then="gptq-w4a16", group_size=32)
    with worker_process(tmp_path / "worker.log") as worker:
        whole = finished(worker.run(jobs.asked)).result
        with worker_process(tmp_path / "killed.log") as killed:
            killed.send(jobs.keeping("killed"))
            for event in killed.events("job"):
                if at("modifier-0", 1.3)(event):
                    killed.process.kill()
                    break
            assert killed.process.wait(60) == -signal.SIGKILL
        assert read_steps(jobs.kept, MEASURED) is not None
        result = finished(worker.run(jobs.keeping("resumed"))).result
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    # And what comes after the blocks goes on at a layer.
    jobs.run(jobs.keeping("stopped"), at("modifier-1", 2))
    assert read_checkpoint(jobs.kept) is not None
    again, _ = jobs.run(jobs.keeping("again"))
    assert (again["resumed"]["step"], again["resumed"]["layer"] > 2) == (2, True)
    assert again["dropped_blocks"] == whole["dropped_blocks"]
    assert again["expected_modules"] == whole["expected_modules"]


@pytest.mark.parametrize("then", ["none", "fp8-dynamic"])
def test_that_experts_which_are_gone_stay_gone_where_it_goes_on(then: str, tmp_path: Path) -> None:
    jobs = Jobs(deep("qwen-3-moe", 4), "reap", tmp_path, then=then)
    whole, _ = jobs.run(jobs.asked)
    jobs.run(jobs.keeping("stopped"), at("modifier-0", 2))
    result, again = jobs.run(jobs.keeping("resumed"))
    assert "checkpoint-not-used" not in warned(again)
    assert result["resumed"]["step"] == 1
    assert result["resumed"]["layer"] > 2
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    assert result["expected_modules"] == whole["expected_modules"]
