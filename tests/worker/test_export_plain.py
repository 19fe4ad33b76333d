"""Exports: what leaves the application computes what the artifact computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from nearest_codebook import swapped
from safetensors import safe_open
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoModelForCausalLM

from core.errors import BitpressError
from core.jobs.protocol import Compress, ExportPlain, Prove
from core.measure.results import ProofResult
from core.methods.catalogue import find
from core.methods.method import Expected, ModifierSpec
from core.models.inspect import inspect
from core.worker import compress, export_plain, prove
from core.worker.loading import load
from core.worker.module_error import module_errors
from core.worker.save_artifact import save_artifact
from core.worker.survey import survey

pytestmark = pytest.mark.model

IDS = torch.arange(1, 50)[None]


@pytest.fixture(scope="module")
def original(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def tables(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    artifact = tmp_path_factory.mktemp("artifacts") / "tables"
    artifact.mkdir()
    save_artifact(swapped(original, 4, kept=9, spread=0.3), load(str(original), "cpu").tokenizer, original, artifact)
    return artifact


def _export(artifact: Path, output: Path) -> Any:
    return export_plain.run(ExportPlain(job="job", model=str(artifact), output=str(output)), reporter(Memory()))


def _logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = load(str(folder), "cpu").model(IDS).logits
    return found


def test_that_a_plain_export_of_tables_computes_the_same_and_needs_no_loader(tables: Path, tmp_path: Path) -> None:
    result = _export(tables, tmp_path / "plain")
    assert result["modules"] == 14
    model = inspect(tmp_path / "plain")
    assert model.quantization is None
    assert model.precision == "BF16"
    assert model.bytes == result["bytes"]
    assert torch.equal(_logits(tmp_path / "plain"), _logits(tables))
    assert not (tmp_path / "plain" / "loader").exists()
    assert (tmp_path / "plain" / "tokenizer.json").read_bytes() == (tables / "tokenizer.json").read_bytes()


def test_that_the_export_is_proved_against_the_artifact(tables: Path, tmp_path: Path) -> None:
    _export(tables, tmp_path / "plain")
    command = Prove(
        job="job",
        original=str(tables),
        artifact=str(tmp_path / "plain"),
        expected=Expected(plain=True),
        kl_bound=1e-6,
        tokens=5,
    )
    proof = ProofResult.model_validate(prove.run(command, reporter(Memory())))
    assert proof.passed, proof.checks
    assert proof.kl == 0.0


def test_that_an_artifact_is_not_proved_as_a_plain_model(tables: Path) -> None:
    command = Prove(job="job", original=None, artifact=str(tables), expected=Expected(plain=True), tokens=5)
    proof = ProofResult.model_validate(prove.run(command, reporter(Memory())))
    assert [check.name for check in proof.checks if not check.passed] == ["quantization config"]


def test_that_a_large_export_is_several_files_with_an_index(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_plain, "SHARD_BYTES", 6_400_000)
    result = _export(tables, tmp_path / "plain")
    files = sorted((tmp_path / "plain").glob("*.safetensors"))
    assert [path.name for path in files] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert sum(path.stat().st_size for path in files) == result["bytes"]
    assert torch.equal(_logits(tmp_path / "plain"), _logits(tables))


def test_that_what_does_not_fit_is_refused_and_leaves_nothing(tables: Path, original: Path, tmp_path: Path) -> None:
    with pytest.raises(BitpressError) as plain:
        _export(original, tmp_path / "out")
    assert plain.value.problem.code == "nothing-to-export"
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tables.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    config["quantization_config"]["modules"]["model.layers.0.mlp.up_proj"]["bits"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BitpressError) as broken:
        _export(copy, tmp_path / "out")
    assert broken.value.problem.code == "broken-weights"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scheme", ["W4A16", "FP8_DYNAMIC"])
def test_that_a_compressed_tensors_artifact_becomes_a_plain_model_with_the_same_numbers(
    original: Path, tmp_path: Path, scheme: str
) -> None:
    arguments = {"targets": ["Linear"], "scheme": scheme, "ignore": ["lm_head"]}
    if scheme == "W4A16":
        weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
        arguments = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}, "ignore": ["lm_head"]}
    modifier = ModifierSpec(name="QuantizationModifier", arguments=arguments)
    made = Compress(job="job", model=str(original), output=str(tmp_path / "made"), modifiers=(modifier,))
    compress.run(made, reporter(Memory()))
    assert _export(tmp_path / "made", tmp_path / "plain")["modules"] == 14
    model = load(str(tmp_path / "made"), "cpu").model
    with torch.no_grad():
        model(IDS)
        weight = model.model.layers[0].mlp.up_proj.weight
    with safe_open(tmp_path / "plain" / "model.safetensors", framework="pt") as file:
        exported = file.get_tensor("model.layers.0.mlp.up_proj.weight")
    assert torch.equal(exported, weight.to(exported.dtype))
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path / "plain").model.layers[0].mlp.up_proj) is torch.nn.Linear


def test_that_tables_of_four_bits_become_w4a16_and_the_error_of_each_module_is_told(
    tables: Path, tmp_path: Path
) -> None:
    _export(tables, tmp_path / "plain")
    method = find("rtn-w4a16")
    seen = survey(tables)
    modifiers = method.modifiers(method.defaults(seen))
    made = Compress(job="job", model=str(tmp_path / "plain"), output=str(tmp_path / "w4a16"), modifiers=modifiers)
    compress.run(made, reporter(Memory()))
    errors = tuple(module_errors(tmp_path / "plain", tmp_path / "w4a16"))
    assert len(errors) == 14
    assert all(error.passed and 0.01 < error.relative < 0.2 for error in errors)
    assert inspect(tmp_path / "w4a16").precision == "INT4"
