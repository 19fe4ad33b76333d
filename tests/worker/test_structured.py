"""Blocks, channels and heads taken out of tiny models of many families: cached, saved, opened again and proved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from family_journey import write_calibration
from safetensors.torch import load_file, save_file
from tiny_families import Family, family, write_family
from tiny_llama import Memory, reporter

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import Compress, CutModel, Metric, Progress, Prove
from core.measure.results import ProofResult
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.models.inspect import inspect
from core.plan.estimate import planned_job
from core.worker import compress, cut_model, prove
from core.worker.structured.blocks import remove_blocks
from core.worker.structured.channels import keep_columns
from core.worker.structured.skipping import Skipping, least_influence, least_missed
from core.worker.survey import survey

TEXTS = [[number * step % 300 + 5 for number in range(40)] for step in (7, 11, 13)]
JUDGED = {"close to the original", "generated text"}
"""What random weights without a part of them cannot pass."""


def deep(name: str, layers: int = 6, **more: Any) -> Family:
    member = family(name)
    return replace(member, settings={**member.settings, "num_hidden_layers": layers, **more})


def loaded(folder: Path, dtype: Any = torch.float32) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True).eval()


def logits(model: Any, row: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([row]), use_cache=False).logits[0]


def cached_logits(model: Any, row: list[int]) -> torch.Tensor:
    """The same, from half of the tokens at once and one after the other through the cache."""
    half = len(row) // 2
    with torch.no_grad():
        output = model(input_ids=torch.tensor([row[:half]]), use_cache=True)
        found = [output.logits[0]]
        for token in row[half:]:
            output = model(input_ids=torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
            found.append(output.logits[0])
    return torch.cat(found)


class Made:
    """One method taken through compression and proof on one family."""

    def __init__(self, member: Family, method: str, work: Path, **settings: Any) -> None:
        self.model = write_family(member, work / "model")
        self.output = work / "output"
        self.seen = survey(self.model)
        self.method = find(method)
        spec = CalibrationSpec(source=str(write_calibration(work)), samples=12, max_length=96)
        self.recipe = resolve_recipe(method, settings, spec, self.seen)
        self.memory = Memory()
        self.result = compress.run(
            Compress(
                job="job",
                model=str(self.model),
                output=str(self.output),
                modifiers=self.method.modifiers(self.recipe.parameters),
                calibration=self.recipe.calibration,
                memory=str(work / "memory"),
                device="cpu",
            ),
            reporter(self.memory),
        )
        self.kept = str(work / "memory")
        self.config = json.loads((self.output / "config.json").read_text())

    @property
    def estimated(self) -> int:
        return planned_job(inspect(self.model), self.seen, self.recipe).artifact

    def failed(self, **more: Any) -> dict[str, str]:
        """Checks of the proof that did not pass, with what they say."""
        asked = Prove(
            job="job",
            original=str(self.model),
            artifact=str(self.output),
            expected_modules=tuple(self.result["expected_modules"]),
            dropped_blocks=tuple(self.result["dropped_blocks"]),
            expected=self.method.expected(self.recipe.parameters),
            tokens=8,
            memory=self.kept,
            device="cpu",
        )
        checks = ProofResult.model_validate(prove.run(asked.model_copy(update=more), reporter(Memory()))).checks
        self.checks = {check.name: check.detail for check in checks}
        return {check.name: check.detail for check in checks if not check.passed}


@pytest.mark.parametrize(
    "name", ["llama-3", "mistral", "qwen-2", "qwen-3", "gemma-2", "gemma-3", "phi-3", "opt", "gpt-neox", "qwen-2-moe"]
)
def test_that_a_model_without_some_blocks_loads_again_as_itself_and_caches_right(name: str, tmp_path: Path):
    folder = write_family(deep(name), tmp_path / "model")
    model = loaded(folder)
    kinds = getattr(model.config, "layer_types", None)
    blocks = list(model.get_decoder().layers)
    gone = remove_blocks(model, [1, 4])
    assert [each.rpartition(".")[2] for each in gone] == ["1", "4"]
    assert list(model.get_decoder().layers) == [blocks[number] for number in (0, 2, 3, 5)]
    model.save_pretrained(tmp_path / "fewer")
    again = loaded(tmp_path / "fewer")
    assert again.config.num_hidden_layers == 4
    if kinds:
        assert again.config.layer_types == [kinds[number] for number in (0, 2, 3, 5)]
    wanted = logits(model, TEXTS[0])
    assert torch.equal(logits(again, TEXTS[0]), wanted)
    for each in (model, again):
        assert torch.allclose(cached_logits(each, TEXTS[0]), wanted, atol=1e-4)


def test_that_blocks_which_cannot_go_leave_the_model_as_it_was(tmp_path: Path):
    model = loaded(write_family(deep("llama-2", 3), tmp_path / "model"))
    for numbers, said in (([7], "blocks 0 to 2"), ([0, 1, 2], "no block would be left")):
        with pytest.raises(BitpressError, match=said):
            remove_blocks(model, numbers)
    layers = model.model.layers
    layers[2].mlp.up_proj.weight = layers[0].mlp.up_proj.weight
    with pytest.raises(BitpressError, match="share their weights"):
        remove_blocks(model, [1])
    assert (len(layers), model.config.num_hidden_layers) == (3, 3)


@pytest.mark.parametrize("name", ["llama-3", "gemma-3", "opt-projected"])
def test_that_the_loss_of_a_skipped_block_is_that_of_the_model_without_it(name: str, tmp_path: Path):
    folder = write_family(deep(name), tmp_path / "model")
    model = loaded(folder)
    skipping = Skipping(model, list(model.get_decoder().layers), TEXTS, "cpu")
    heard: list[tuple[int, int]] = []
    rises = skipping.rises([0, 1, 3, 4, 5], [1, 4], lambda *told: heard.append(told))
    assert heard[-1] == (6, 6)
    for number, rise in rises.items():
        other = loaded(folder)
        remove_blocks(other, sorted({2, number}))
        total = 0.0
        for row in TEXTS:
            p, q = (torch.log_softmax(logits(each, row), -1) for each in (model, other))
            total += float((p.exp() * (p - q)).sum())
        assert rise == pytest.approx(total / sum(map(len, TEXTS)), rel=1e-3)


def test_that_a_block_which_does_nothing_goes_first_by_either_measure(tmp_path: Path):
    model = loaded(write_family(deep("llama-2", 5), tmp_path / "model"))
    with torch.no_grad():
        for layer in (model.model.layers[3].self_attn.o_proj, model.model.layers[3].mlp.down_proj):
            layer.weight.mul_(1e-3)
    skipping = Skipping(model, list(model.model.layers), TEXTS, "cpu")
    for found in (
        least_missed(skipping, 2, (1, 2, 3), 5, lambda *_told: None),
        least_influence(skipping, 2, (1, 2, 3)),
    ):
        assert found[0][0] == 3
        assert found[1][1] > found[0][1] >= 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama-3", {"then": "none"}),
        ("gemma-3", {"then": "fp8-dynamic", "blocks": 2, "importance": "influence"}),
        ("qwen-2", {"then": "gptq-w4a16", "group_size": 32}),
        ("mixtral", {"then": "none"}),
    ],
)
def test_that_dropped_blocks_are_gone_from_files_config_and_estimate(name: str, settings: Any, tmp_path: Path):
    made = Made(deep(name), "drop-blocks", tmp_path, tokens=128, **settings)
    gone = made.result["dropped_blocks"]
    assert len(gone) == made.recipe.parameters["blocks"]
    assert not {0, 5} & set(gone)
    assert made.config["num_hidden_layers"] == 6 - len(gone)
    assert set(made.failed()) <= JUDGED
    assert f"{6 - len(gone)} blocks" in made.checks["smaller"]
    assert made.estimated == pytest.approx(made.result["bytes"], rel=0.01)
    figures = [event for event in made.memory.events if isinstance(event, Metric)]
    assert len({event.layer for event in figures if event.name == "block_influence"}) == 6
    steps = [event for event in made.memory.events if isinstance(event, Progress) and event.stage == "modifier-0"]
    assert any("to take out" in event.detail for event in steps) == (settings.get("importance") is None)


def test_that_a_block_in_the_wrong_place_fails_the_proof(tmp_path: Path):
    made = Made(deep("llama-2", 4), "drop-blocks", tmp_path, tokens=128, blocks=1)
    assert set(made.failed(memory=None)) <= JUDGED
    path = made.output / "model.safetensors"
    tensors = load_file(path)
    one, two = "model.layers.1.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight"
    save_file({**tensors, one: tensors[two], two: tensors[one]}, path, metadata={"format": "pt"})
    assert one in made.failed(memory=None)["blocks that are left"]
    said = made.failed(memory=None, expected=made.method.expected(made.recipe.parameters | {"blocks": 2}))
    assert said["smaller"] == "2 blocks were to be left, config.json says 3."


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama-3", {"kv_heads": 1, "then": "gptq-w4a16", "group_size": 32}),
        ("qwen-3", {"kv_heads": 1, "channels": 0.0}),
        ("gemma-2", {"kv_heads": 1, "importance": "product", "reconstruct": False}),
        ("llama-odd", {"multiple": 32, "kv_heads": 1, "then": "fp8-dynamic"}),
        ("phi-3", {"multiple": 32}),
        ("opt", {"multiple": 32}),
    ],
)
def test_that_narrower_layers_are_one_size_in_files_config_and_estimate(name: str, settings: Any, tmp_path: Path):
    member = deep(name, 3)
    settings = {"multiple": 64, "channels": 0.4, **settings}
    made = Made(member, "narrow-mlp", tmp_path, **settings)
    assert set(made.failed()) <= JUDGED
    assert made.estimated == pytest.approx(made.result["bytes"], rel=0.01)
    before = json.loads((made.model / "config.json").read_text())
    size = "ffn_dim" if name == "opt" else "intermediate_size"
    if settings["channels"]:
        assert made.config[size] < before[size]
        assert made.config[size] % settings["multiple"] == 0
    if settings.get("kv_heads"):
        assert made.config["num_key_value_heads"] == before["num_key_value_heads"] - 1
        assert before["num_attention_heads"] * made.config["num_key_value_heads"] == (
            made.config["num_attention_heads"] * before["num_key_value_heads"]
        )
        if settings.get("then") is None:
            again = loaded(made.output)
            assert torch.allclose(cached_logits(again, TEXTS[1]), logits(again, TEXTS[1]), atol=1e-3)
    figures = [event for event in made.memory.events if isinstance(event, Metric)]
    errors = [event.relative for event in figures if event.name == "narrowing_error"]
    assert len(errors) == 3 * (bool(settings["channels"]) + bool(settings.get("kv_heads")))
    assert all(error is not None and 0 < error < 1 for error in errors)


def test_that_a_row_of_another_channel_fails_the_proof(tmp_path: Path):
    made = Made(deep("llama-2", 2), "narrow-mlp", tmp_path, channels=0.5, multiple=32)
    assert set(made.failed(memory=None)) <= JUDGED
    assert "of 4 narrowed layers" in made.checks["channels that are left"]
    path = made.output / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.1.mlp.gate_proj.weight"
    save_file({**tensors, name: tensors[name].flip(0).contiguous()}, path, metadata={"format": "pt"})
    assert name in made.failed(memory=None)["channels that are left"]


@pytest.mark.parametrize(
    ("name", "method", "settings", "said"),
    [
        ("llama-2", "drop-blocks", {"blocks": 6}, "2 decoder blocks were to go|6 of 6"),
        ("qwen-2-moe", "narrow-mlp", {"channels": 0.5}, "no MLP of a kind|different"),
        ("gpt-neox", "narrow-mlp", {"kv_heads": 1, "channels": 0.0}, "apart"),
        ("llama-2", "narrow-mlp", {"channels": 0.1, "multiple": 256}, "less than half"),
    ],
)
def test_that_what_cannot_be_made_smaller_is_refused_with_the_reason(
    name: str, method: str, settings: Any, said: str, tmp_path: Path
):
    with pytest.raises(BitpressError, match=said):
        Made(deep(name), method, tmp_path, **settings)
    assert not (tmp_path / "output").exists()


def test_that_columns_which_are_left_stand_in_for_those_that_go():
    torch.manual_seed(0)
    inputs = torch.randn(400, 24)
    inputs[:, 5] = inputs[:, 6] + inputs[:, 7]
    weight = torch.randn(10, 24)
    gram = inputs.T @ inputs
    kept = {
        (corrected, reconstruct): keep_columns(
            weight, gram, 1, 23, corrected=corrected, reconstruct=reconstruct, dampening=1e-6
        )
        for corrected in (True, False)
        for reconstruct in (True, False)
    }
    # One column is the sum of two others: without loss any of the three can go, and the score sees it.
    best = kept[True, True]
    assert best.error < 1e-6
    assert len({5, 6, 7} & set(best.columns.tolist())) == 2
    now, was = inputs[:, best.columns] @ best.weight.T, inputs @ weight.T
    assert torch.allclose(now, was, atol=1e-2)
    assert kept[False, True].error <= kept[False, False].error
    groups = keep_columns(weight, gram, 4, 3, corrected=True, reconstruct=True, dampening=0.01)
    assert groups.weight.shape == (10, 12)
    assert all(int(column) % 4 == place % 4 for place, column in enumerate(groups.columns))


def test_that_a_cut_has_blocks_to_spare_where_blocks_are_to_go(tmp_path: Path):
    folder = write_family(deep("llama-2"), tmp_path / "model")
    method = find("drop-blocks")
    parameters = resolve_recipe("drop-blocks", {"blocks": 3, "keep_first": 2}, None, survey(folder)).parameters
    asked = CutModel(job="job", model=str(folder), output=str(tmp_path / "cut"), modifiers=method.modifiers(parameters))
    result = cut_model.run(asked, reporter(Memory()))
    assert result["layers"] == [0, 1, 2]
    arguments = result["modifiers"][0]["arguments"]
    assert (arguments["blocks"], arguments["keep_first"], arguments["keep_last"]) == (1, 1, 1)
