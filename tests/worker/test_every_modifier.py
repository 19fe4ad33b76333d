"""Each kind of recipe in the real llmcompressor on a tiny model: it is followed, saved, opened again and proved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import Compress, Metric, Progress, Prove, StageFinished
from core.measure.results import ProofResult
from core.methods.catalogue import find
from core.methods.method import Expected, ModifierSpec
from core.methods.scheme import LINEAR, Rule, Scheme, config_groups
from core.methods.schemes import (
    FP8_KV_CACHE,
    fp8_block,
    fp8_dynamic,
    fp8_static,
    int8,
    int_weights,
    mxfp,
    nvfp4,
    w4afp8,
)
from core.worker import compress, proof_windows, prove

pytestmark = pytest.mark.model

KV: dict[str, Any] = {"kv_cache_scheme": FP8_KV_CACHE.arguments()}
W8 = int_weights(8, 32)
WHOLE_MODEL = ["re:^$"]
"""Pruning modifiers compare `target.module` with what to ignore; the whole model's name is empty."""


def rules(*pairs: tuple[tuple[str, ...], Scheme], name: str = "QuantizationModifier", **more: Any) -> ModifierSpec:
    groups = config_groups(tuple(Rule(targets=targets, scheme=scheme) for targets, scheme in pairs))
    return ModifierSpec(name=name, arguments={"config_groups": groups, "ignore": ["lm_head"], **more})


def rounding(scheme: Scheme, **more: Any) -> ModifierSpec:
    return rules((LINEAR, scheme), **more)


def pruning(name: str, mask: str) -> ModifierSpec:
    arguments = {"sparsity": 0.5, "mask_structure": mask, "targets": WHOLE_MODEL, "ignore": [".lm_head"]}
    return ModifierSpec(name=name, arguments=arguments)


@dataclass(frozen=True)
class Case:
    """A recipe, what its artifact must hold, and which figures are told on the way."""

    modifiers: tuple[ModifierSpec, ...]
    expected: Expected
    data: bool = True
    metrics: frozenset[str] = field(default_factory=frozenset)


AWQ = ModifierSpec(name="AWQModifier", arguments={"n_grid": 4})
SPIN = ModifierSpec(
    name="SpinQuantModifier", arguments={"rotations": ["R1", "R2"], "transform_type": "random-hadamard"}
)
AUTOROUND = rounding(W8, name="AutoRoundModifier", iters=3, batch_size=2, lr=0.005, enable_torch_compile=False)

CASES = {
    "fp8-static": Case((rounding(fp8_static()),), Expected(weight_bits=(8,))),
    "w8a8": Case((rounding(int8()),), Expected(weight_bits=(8,)), data=False),
    "w2a16-asymmetric": Case((rounding(int_weights(2, 32, symmetric=False)),), Expected(weight_bits=(2,)), data=False),
    "w4afp8": Case((rounding(w4afp8(32)),), Expected(weight_bits=(4,)), data=False),
    "nvfp4": Case((rounding(nvfp4(activations=True)),), Expected(weight_bits=(4,))),
    "mxfp4": Case((rounding(mxfp(4, activations=True)),), Expected(weight_bits=(4,)), data=False),
    "mxfp8-weights": Case((rounding(mxfp(8, activations=False)),), Expected(weight_bits=(8,)), data=False),
    "importance": Case((rounding(int_weights(8, 32, observer="imatrix_mse")),), Expected(weight_bits=(8,))),
    "awq": Case((AWQ, rounding(W8)), Expected(weight_bits=(8,)), metrics=frozenset({"smoothing_error"})),
    "awq-gptq": Case(
        (AWQ, rounding(W8, name="GPTQModifier")),
        Expected(weight_bits=(8,)),
        metrics=frozenset({"smoothing_error", "quantization_error"}),
    ),
    "autoround": Case(
        (AUTOROUND,), Expected(weight_bits=(8,)), metrics=frozenset({"rounding_loss", "rounding_loss_before"})
    ),
    "kv-alone": Case(
        (ModifierSpec(name="QuantizationModifier", arguments={"config_groups": {}, **KV}),), Expected(kv_cache_bits=8)
    ),
    "fp8-and-kv": Case((rounding(fp8_dynamic(), **KV),), Expected(weight_bits=(8,), kv_cache_bits=8)),
    "mixed": Case(
        (rules((("re:.*mlp.*_proj$",), int_weights(4, 32)), (("re:.*self_attn.*_proj$",), fp8_dynamic())),),
        Expected(weight_bits=(4, 8)),
        data=False,
    ),
    "sparsegpt-fp8": Case(
        (pruning("SparseGPTModifier", "2:4"), rounding(fp8_dynamic())),
        Expected(weight_bits=(8,), zeros=0.5, mask="2:4"),
        metrics=frozenset({"pruning_error"}),
    ),
    "wanda": Case((pruning("WandaPruningModifier", "0:0"),), Expected(zeros=0.5)),
    "spinquant": Case((SPIN, rounding(W8)), Expected(weight_bits=(8,), turned=True), data=False),
}
ROUGH = {"w2a16-asymmetric", "w4afp8", "nvfp4", "mxfp4", "mixed", "sparsegpt-fp8", "wanda"}
"""What so few bits leave of random weights is far from them; only the rest of the proof is looked at there."""


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def experts(starter: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-MoE with eight experts a layer."""
    folder = tmp_path_factory.mktemp("models") / "experts"
    torch.manual_seed(0)
    config = Qwen2MoeConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=64,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
        num_experts=8,
        num_experts_per_tok=2,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    Qwen2MoeForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((model / name).read_bytes())
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer tokens than in earnest: random weights write no text that could be judged."""
    for name, value in (("DOCUMENTS", 2), ("WINDOW", 64)):
        monkeypatch.setattr(proof_windows, name, value)


def calibration(folder: Path) -> CalibrationSpec:
    path = folder / "texts.txt"
    path.write_text(
        "\n\n".join(f"Count from {number}: " + " ".join(map(str, range(number, 40))) for number in range(9))
    )
    return CalibrationSpec(source=str(path), samples=4, max_length=64)


def pressed(case: Case, model: Path, folder: Path, memory: Memory) -> dict[str, Any]:
    command = Compress(
        job="job",
        model=str(model),
        output=str(folder / "output"),
        modifiers=case.modifiers,
        calibration=calibration(folder) if case.data else None,
        device="cpu",
    )
    return compress.run(command, reporter(memory))


def failed(case: Case, model: Path, folder: Path, result: dict[str, Any]) -> dict[str, str]:
    """Checks that did not pass, the judgement of random text apart."""
    command = Prove(
        job="job",
        original=str(model),
        artifact=str(folder / "output"),
        expected_modules=tuple(result["expected_modules"]),
        pruned_modules=tuple(result["pruned_modules"]),
        expected=case.expected,
        tokens=4,
        device="cpu",
    )
    proof = ProofResult.model_validate(prove.run(command, reporter(Memory())))
    return {check.name: check.detail for check in proof.checks if not check.passed and check.name != "generated text"}


@pytest.mark.parametrize("name", CASES)
def test_that_it_is_followed_and_its_artifact_proved(name: str, model: Path, tmp_path: Path):
    case, memory = CASES[name], Memory()
    result = pressed(case, model, tmp_path, memory)
    assert set(failed(case, model, tmp_path, result)) <= ({"close to the original"} if name in ROUGH else set())
    assert (result["calibration"] is not None) is case.data
    stages = [event.stage for event in memory.events if isinstance(event, StageFinished)]
    assert stages == ["load", *(f"modifier-{index}" for index in range(len(case.modifiers))), "save"]
    metrics = [event for event in memory.events if isinstance(event, Metric)]
    assert {event.name for event in metrics} == case.metrics
    assert all(event.layer.startswith("model.layers.") for event in metrics)
    errors = [event for event in metrics if event.name in ("quantization_error", "pruning_error")]
    assert all(event.relative is not None and 0 < event.relative < 1 for event in errors)
    for index in range(len(case.modifiers)):
        steps = [event for event in memory.events if isinstance(event, Progress) and event.stage == f"modifier-{index}"]
        layers = [event.done for event in steps if event.total]
        assert layers == sorted(layers)
        assert (steps[-1].done, steps[-1].total) == (2, 2)


def test_that_experts_go_and_the_rest_is_rounded(experts: Path, tmp_path: Path):
    reap = ModifierSpec(name="REAPPruningModifier", arguments={"sparsity": 0.25})
    router = ["lm_head", "re:.*mlp.gate$", "re:.*shared_expert_gate$"]
    case = Case((reap, rounding(fp8_dynamic(), ignore=router)), Expected(weight_bits=(8,), dropped_experts=0.25))
    result = pressed(case, experts, tmp_path, Memory())
    assert sum(".experts." in name for name in result["expected_modules"]) == 2 * 6 * 3
    assert failed(case, experts, tmp_path, result) == {}
    too_many = Case(case.modifiers, Expected(weight_bits=(8,), dropped_experts=0.5))
    assert "4 of 8" in failed(too_many, experts, tmp_path, result)["experts"]


def test_that_blocks_which_divide_every_layer_are_proved(starter: Path, tmp_path: Path):
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path / "wide"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=0.1,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((starter / name).read_bytes())
    case = Case((rounding(fp8_block()),), Expected(weight_bits=(8,)), data=False)
    assert failed(case, folder, tmp_path, pressed(case, folder, tmp_path, Memory())) == {}


def test_that_layers_which_the_catalogue_leaves_alone_are_neither_pruned_nor_demanded(model: Path, tmp_path: Path):
    name = "model.layers.0.mlp.down_proj"
    method = find("wanda")
    chosen = {"then": "none", "ignore": ["lm_head", name, "re:.*q_proj"]}
    parameters = method.defaults(None) | chosen
    case = Case(method.modifiers(parameters), method.expected(parameters))
    result = pressed(case, model, tmp_path, Memory())
    assert len(result["pruned_modules"]) == 14 - 3
    assert set(failed(case, model, tmp_path, result)) <= {"close to the original"}
    tensors = load_file(tmp_path / "output" / "model.safetensors")
    before = load_file(model / "model.safetensors")
    for kept in (name, "model.layers.1.self_attn.q_proj", "model.embed_tokens"):
        assert torch.equal(tensors[f"{kept}.weight"], before[f"{kept}.weight"])


def test_that_a_cache_without_scales_fails_the_proof(model: Path, tmp_path: Path):
    case = CASES["fp8-and-kv"]
    result = pressed(case, model, tmp_path, Memory())
    path = tmp_path / "output" / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.self_attn.v_scale"]
    save_file(tensors, path, metadata={"format": "pt"})
    found = failed(case, model, tmp_path, result)
    assert "model.layers.1.self_attn" in found["KV cache"]


def test_that_a_promised_cache_fails_where_keys_and_values_stay_as_they_are(model: Path, tmp_path: Path):
    case = Case((rounding(fp8_dynamic()),), Expected(weight_bits=(8,), kv_cache_bits=8), data=False)
    found = failed(case, model, tmp_path, pressed(case, model, tmp_path, Memory()))
    assert set(found) == {"KV cache"}


def test_that_data_which_is_needed_and_not_there_is_asked_for(model: Path, tmp_path: Path):
    case = Case((rounding(fp8_static()),), Expected(), data=False)
    with pytest.raises(BitpressError) as caught:
        pressed(case, model, tmp_path, Memory())
    assert caught.value.problem.code == "no-calibration"
    assert not (tmp_path / "output").exists()


def test_that_data_which_nothing_needs_is_not_read(model: Path, tmp_path: Path):
    command = Compress(
        job="job",
        model=str(model),
        output=str(tmp_path / "output"),
        modifiers=(rounding(fp8_dynamic()),),
        calibration=CalibrationSpec(source=str(tmp_path / "not there.txt")),
        device="cpu",
    )
    assert compress.run(command, reporter(Memory()))["calibration"] is None
