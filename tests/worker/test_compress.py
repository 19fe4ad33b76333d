"""Compression in a real worker process, on a tiny random model with a real tokenizer."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import write_tiny_llama
from worker_process import WorkerProcess, finished, worker_process

from core.calibration.overlap import evaluation_texts
from core.calibration.sets import SetStore
from core.calibration.spec import SELF_CHAT, CalibrationFacts, CalibrationSample, CalibrationSpec, MixPart
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Compress,
    FinishReason,
    Metric,
    Progress,
    Prove,
    StageFinished,
    StageStarted,
    Warned,
)
from core.jobs.snapshot import JobSnapshot, apply
from core.methods.method import Expected, ModifierSpec

FP8 = ModifierSpec(
    name="QuantizationModifier", arguments={"targets": ["Linear"], "scheme": "FP8_DYNAMIC", "ignore": ["lm_head"]}
)
INT8_GROUP: dict[str, Any] = {
    "targets": ["Linear"],
    "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
    "input_activations": {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": True, "dynamic": True},
}
INT4_GROUP: dict[str, Any] = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64, "symmetric": True},
}
SMOOTH = ModifierSpec(name="SmoothQuantModifier", arguments={"smoothing_strength": 0.8})


def gptq(group: dict[str, Any]) -> ModifierSpec:
    return ModifierSpec(name="GPTQModifier", arguments={"ignore": ["lm_head"], "config_groups": {"group_0": group}})


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)
    # transformers reads such a file with a warning and refuses to write it.
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "temperature": 0.6}))
    return folder


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with worker_process(tmp_path_factory.mktemp("log") / "worker.log") as process:
        yield process


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    chats = [
        [
            {"role": "user", "content": f"Count from {number} to {number + 9}."},
            {"role": "assistant", "content": " ".join(str(number + step) for step in range(10))},
        ]
        for number in range(12)
    ]
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    return path


def command(model: Path, output: Path, *modifiers: ModifierSpec, **more: Any) -> Compress:
    return Compress(
        job=output.name,
        model=str(model),
        output=str(output),
        modifiers=modifiers,
        device="cpu",
        **more,
    )


def stages(events: list[AnyEvent]) -> list[str]:
    """Stage ids in the order in which they ran; each must end before the next begins."""
    begun = [event.stage for event in events if isinstance(event, StageStarted)]
    ended = [event.stage for event in events if isinstance(event, StageFinished)]
    assert begun == ended
    return begun


def snapshot(events: list[AnyEvent]) -> JobSnapshot:
    state = JobSnapshot(job=events[0].job)
    for event in events:
        state = apply(state, event)
    return state


@pytest.mark.model
def test_that_fp8_needs_no_data_and_leaves_a_complete_folder(worker: WorkerProcess, model: Path, tmp_path: Path):
    output = tmp_path / "fp8"
    events = worker.run(command(model, output, FP8))
    result = finished(events).result
    assert stages(events) == ["load", "modifier-0", "save"]
    assert snapshot(events).reason is FinishReason.COMPLETED
    assert result["calibration"] is None
    assert len(result["expected_modules"]) == 14
    assert result["ignored_modules"] == ["lm_head"]
    assert result["bytes"] == (output / "model.safetensors").stat().st_size
    assert "quantization_config" in json.loads((output / "config.json").read_text())
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (output / name).read_bytes() == (model / name).read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in output.iterdir()} == {0o644}


@pytest.mark.model
def test_that_two_modifiers_are_two_stages_and_each_module_has_its_relative_error(
    worker: WorkerProcess, model: Path, texts: Path, tmp_path: Path
):
    output = tmp_path / "int8"
    spec = CalibrationSpec(source=str(texts), samples=8, max_length=64)
    events = worker.run(command(model, output, SMOOTH, gptq(INT8_GROUP), calibration=spec))
    result = finished(events).result
    assert stages(events) == ["load", "modifier-0", "modifier-1", "save"]
    errors = [event for event in events if isinstance(event, Metric)]
    assert {error.layer for error in errors} == set(result["expected_modules"])
    assert {error.name for error in errors} == {"quantization_error"}
    # Eight bits lose about half a percent of the output.
    assert all(error.relative is not None and 0 < error.relative < 0.05 for error in errors)
    layers = [event for event in events if isinstance(event, Progress) and event.stage == "modifier-1" and event.total]
    assert [event.done for event in layers] == sorted(event.done for event in layers)
    assert (layers[-1].done, layers[-1].total) == (2, 2)
    facts = result["calibration"]
    assert (facts["samples"], facts["files"]) == (8, [str(texts)])


@pytest.mark.model
def test_that_self_chat_is_answered_once_and_the_same_seed_gives_the_same_tensors(
    worker: WorkerProcess, model: Path, tmp_path: Path
):
    spec = CalibrationSpec(samples=6, max_length=128)
    more = {"calibration": spec, "answers": str(tmp_path / "answers")}
    first = worker.run(command(model, tmp_path / "first", gptq(INT4_GROUP), **more))
    second = worker.run(command(model, tmp_path / "second", gptq(INT4_GROUP), **more))
    assert stages(first) == ["load", "answer", "modifier-0", "save"]
    assert stages(second) == ["load", "modifier-0", "save"]
    one, other = finished(first).result, finished(second).result
    assert one["calibration"] == other["calibration"]
    assert one["tensors_sha256"] == other["tensors_sha256"]
    assert len((tmp_path / "answers" / "answers.jsonl").read_text().splitlines()) == 6


@pytest.mark.model
def test_that_a_mix_of_set_file_and_self_chat_is_drawn_and_recorded(
    worker: WorkerProcess, model: Path, texts: Path, tmp_path: Path
):
    store = SetStore(tmp_path / "sets")
    store.create("one", CalibrationSpec(), [CalibrationSample(kind="text", text="One letter, sent to nobody at all.")])
    mix = (MixPart(source="set:one"), MixPart(source=str(texts)), MixPart(source=SELF_CHAT, weight=2))
    spec = store.pinned(CalibrationSpec(mix=mix, samples=12, max_length=64))
    more = {"calibration": spec, "answers": str(tmp_path / "answers"), "tokens_file": str(tmp_path / "tokens.json")}
    events = worker.run(command(model, tmp_path / "mixed", gptq(INT8_GROUP), **more))
    assert stages(events) == ["load", "answer", "modifier-0", "save"]
    facts = CalibrationFacts.model_validate(finished(events).result["calibration"])
    # The set has one of its three samples: the other two come from the others, by weight.
    assert [(part.source, part.samples) for part in facts.parts] == [("set:one", 1), (str(texts), 4), (SELF_CHAT, 7)]
    assert facts.sets == spec.sets
    assert facts.files == (spec.sets[0].file, str(texts))
    assert len((tmp_path / "answers" / "answers.jsonl").read_text().splitlines()) == 7
    assert [event.code for event in events if isinstance(event, Warned)] == ["calibration-part-short"]
    kept = json.loads((tmp_path / "tokens.json").read_text())["input_ids"]
    assert (len(kept), sum(map(len, kept))) == (facts.samples, facts.tokens)


@pytest.mark.model
def test_that_evaluation_text_stops_a_job_before_the_model_is_touched(
    worker: WorkerProcess, model: Path, tmp_path: Path
):
    path = tmp_path / "copied.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in evaluation_texts().values()))
    spec = CalibrationSpec(source=str(path), samples=8, max_length=64)
    last = finished(worker.run(command(model, tmp_path / "output", gptq(INT8_GROUP), calibration=spec)))
    assert last.problem is not None
    assert last.problem.code == "calibration-overlap"
    assert last.problem.hint
    assert not (tmp_path / "output").exists()


@pytest.mark.model
def test_that_short_data_is_used_whole_with_a_warning(worker: WorkerProcess, model: Path, texts: Path, tmp_path: Path):
    spec = CalibrationSpec(source=str(texts), samples=100, max_length=64)
    events = worker.run(command(model, tmp_path / "short", gptq(INT4_GROUP), calibration=spec))
    assert finished(events).result["calibration"]["samples"] == 12
    assert [event.code for event in events if isinstance(event, Warned)] == ["calibration-short"]


@pytest.mark.model
@pytest.mark.parametrize(
    ("modifier", "code"),
    [
        (FP8.model_copy(update={"arguments": FP8.arguments | {"targets": ["Conv2d"]}}), "nothing-changed"),
        (FP8.model_copy(update={"arguments": FP8.arguments | {"scheme": "W4A15"}}), "bad-recipe"),
        (ModifierSpec(name="ConstantPruningModifier", arguments={}), "unknown-modifier"),
    ],
)
def test_that_a_recipe_that_cannot_work_fails_and_leaves_no_folder(
    worker: WorkerProcess, model: Path, tmp_path: Path, modifier: ModifierSpec, code: str
):
    last = finished(worker.run(command(model, tmp_path / "output", modifier)))
    assert last.reason is FinishReason.FAILED
    assert last.problem is not None
    assert last.problem.code == code
    assert last.problem.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_that_a_folder_that_exists_is_refused_and_stays_as_it_is(worker: WorkerProcess, model: Path, tmp_path: Path):
    output = tmp_path / "mine"
    output.mkdir()
    (output / "note.txt").write_text("keep")
    last = finished(worker.run(command(model, output, FP8)))
    assert last.problem is not None
    assert last.problem.code == "output-exists"
    assert [path.name for path in output.iterdir()] == ["note.txt"]


@pytest.mark.model
@pytest.mark.parametrize("stage", ["answer", "modifier-0", "save"])
def test_that_cancelling_leaves_nothing(worker: WorkerProcess, model: Path, tmp_path: Path, stage: str):
    spec = CalibrationSpec(samples=96 if stage == "answer" else 4, max_length=64)
    asked = command(model, tmp_path / "output", gptq(INT4_GROUP), calibration=spec)

    def there(event: AnyEvent) -> bool:
        return isinstance(event, StageStarted) and event.stage == stage

    events = worker.cancel_at(asked, there)
    assert finished(events).reason is FinishReason.CANCELLED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_that_a_killed_worker_leaves_the_staging_folder_only(model: Path, tmp_path: Path):
    staging = tmp_path / "artifacts" / ".staging"
    with worker_process(tmp_path / "worker.log") as worker:
        worker.send(command(model, staging, gptq(INT4_GROUP), calibration=CalibrationSpec(samples=96, max_length=64)))
        seen = []
        for event in worker.events(staging.name):
            seen.append(event)
            if isinstance(event, StageStarted) and event.stage == "answer":
                worker.process.kill()
        assert worker.process.wait(30) == -signal.SIGKILL
    assert isinstance(seen[1], StageStarted | Accepted)
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == [".staging"]


@pytest.mark.model
def test_that_the_starter_model_is_compressed_to_fp8_and_proved(starter: Path, tmp_path: Path):
    output = tmp_path / "fp8"
    with worker_process(tmp_path / "compress.log") as worker:
        result = finished(worker.run(command(starter, output, FP8))).result
    assert result["bytes"] <= 164_000_000
    with worker_process(tmp_path / "prove.log") as worker:
        proof = finished(
            worker.run(
                Prove(
                    job="proof",
                    original=str(starter),
                    artifact=str(output),
                    expected_modules=tuple(result["expected_modules"]),
                    expected=Expected(weight_bits=(8,)),
                    device="cpu",
                )
            )
        ).result
    assert proof["passed"], proof["checks"]
    assert proof["kl"] < 0.05
    assert len(proof["text"]) > 200
