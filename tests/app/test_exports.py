"""Facts about exports as runs: planned, refused, put into the queue, and asked again by the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from unittest.mock import patch

import pytest
from fake_worker import finished, launch_fake
from llama_shapes import llama_model, llama_survey

from app.compression import Inside
from app.engine import Engine
from app.export import PlannedExport, export_findings, plan_export, start_export
from core.errors import BitpressError
from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.models.local_model import LocalModel
from core.paths import Home
from core.plan.export_forms import Form
from core.report.reproduce import command_line

PROOF = {"passed": True, "checks": [], "seconds": 1.0, "kl": 0.0}
SCRIPT = {
    "export_plain": [
        {"event": {"type": "accepted", "stages": []}},
        {"write": "model.safetensors"},
        finished({"bytes": 7, "tensors_sha256": "", "versions": {}}),
    ],
    "prove": [{"event": {"type": "accepted", "stages": []}}, finished(PROOF)],
}


async def planned(engine: Engine, model: LocalModel) -> PlannedExport:
    with patch("app.export.look_inside", return_value=Inside(llama_survey())):
        return await plan_export(engine, model)


def tables(folder: Path) -> LocalModel:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return llama_model(folder, name="mine", quantization="bitpress-codebook", precision="4-bit table")


def play(home: Home, tmp_path: Path, form: Form, output: Path | None) -> Run:
    async def go() -> Run:
        with patch("app.engine.default_launch", lambda **_: launch_fake(tmp_path, SCRIPT)):
            engine = Engine.open(home, nice=0)
        try:
            run = await start_export(engine, await planned(engine, tables(tmp_path / "mine")), form, output)
            await asyncio.wait_for(engine.queue.wait(run.id), 30)
            return engine.store.get(run.id)
        finally:
            await engine.close()

    return asyncio.run(go())


def test_that_an_export_is_a_run_of_the_queue_that_can_be_asked_again(home: Home, tmp_path: Path) -> None:
    run = play(home, tmp_path, Form.PLAIN, None)
    assert (run.kind, run.reason, run.problem) == (RunKind.EXPORT, FinishReason.COMPLETED, None)
    assert run.order["type"] == "export"
    assert run.output == str(home.models / "mine-plain"), "a plain model lies with those that were imported"
    assert (home.models / "mine-plain" / "model.safetensors").exists()
    assert command_line(run) == f"bitpress export {tmp_path}/mine --as plain --output {home.models}/mine-plain"


def test_that_what_is_in_the_way_is_said_before_anything_runs(home: Home, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(BitpressError) as raised:
        play(home, tmp_path, Form.PLAIN, there)
    assert raised.value.problem.code == "output-exists"


@pytest.mark.parametrize(
    ("precision", "code", "said"), [("3-bit table", "cannot-export", "3-bit table"), (None, "nothing-to-export", "not")]
)
def test_that_a_form_that_the_artifact_cannot_take_is_refused_with_the_one_that_it_can(
    home: Home, tmp_path: Path, precision: str | None, code: str, said: str
) -> None:
    async def go() -> None:
        engine = Engine.open(home, nice=0)
        try:
            quantization = None if precision is None else "bitpress-codebook"
            model = llama_model(tmp_path, quantization=quantization, precision=precision or "BF16")
            with pytest.raises(BitpressError) as raised:
                await start_export(engine, await planned(engine, model), Form.W4A16)
            assert raised.value.problem.code == code
            assert said in raised.value.problem.message
            assert precision is None or "Plain weights" in raised.value.problem.hint
        finally:
            await engine.close()

    asyncio.run(go())


def test_that_a_model_that_turns_its_activations_is_found_by_its_config(home: Home, tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "compressed-tensors", "transform_config": {"R1": {}}}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    async def go() -> PlannedExport:
        engine = Engine.open(home, nice=0)
        try:
            model = llama_model(tmp_path, quantization="compressed-tensors pack-quantized", precision="INT4")
            return await planned(engine, model)
        finally:
            await engine.close()

    found = asyncio.run(go())
    assert "turns activations" in found.form(Form.PLAIN).why_not
    inside = export_findings(found, Form.PLAIN, tmp_path / "inside")
    assert [finding.code for finding in inside] == ["output-inside-model"]
