"""The preflight table held against the libraries: the cause still fails there as said, and the mended job runs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from core.methods.catalogue import find
from core.methods.method import ModifierSpec, Parameters
from core.models.inspect import inspect
from core.models.native_types import native_types
from core.plan.finding import Finding
from core.plan.machine import Machine
from core.plan.mend import Draft, applied
from core.plan.preflight import in_order, preflight
from core.plan.setting_check import resolved
from core.value import Json
from core.worker.survey import survey

VOCABULARY = 256
WHERE = Machine(cpu_name="", cores=2, memory_total=2**40, memory_available=2**40, disk_free=2**40)
Maker = Callable[..., Path]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="w0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Maker:
    """Saves a tiny model; without one, a Llama of one layer with these sizes."""

    def make(model: Any = None, **sizes: Any) -> Path:
        folder = tmp_path_factory.mktemp("models") / "tiny"
        torch.manual_seed(0)
        if model is None:
            known = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
            config = LlamaConfig(
                num_hidden_layers=1,
                vocab_size=VOCABULARY,
                tie_word_embeddings=True,
                max_position_embeddings=64,
                **(known | sizes),
            )
            model = LlamaForCausalLM(config)
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def llama(made: Maker) -> Path:
    return made()


@pytest.fixture(scope="module")
def odd(made: Maker) -> Path:
    """96 columns, which groups of 64 do not divide."""
    return made(hidden_size=96, intermediate_size=192)


@pytest.fixture(scope="module")
def wide(made: Maker) -> Path:
    """2,080 = 32 x 65 columns, for which there is no Hadamard matrix."""
    return made(hidden_size=2080, intermediate_size=64, num_attention_heads=2, num_key_value_heads=2, head_dim=32)


def data() -> dict[str, Any]:
    from datasets import Dataset

    draw = random.Random(0)
    rows = [[draw.randrange(VOCABULARY) for _ in range(32)] for _ in range(4)]
    return {
        "dataset": Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * 32] * 4}),
        "num_calibration_samples": 4,
        "max_seq_length": 32,
        "shuffle_calibration_samples": False,
    }


def press(folder: Path, modifiers: Sequence[Any], tokenizer: Any, **arguments: Any) -> Any:
    """llmcompressor's oneshot on the model, without anything of ours."""
    from llmcompressor import oneshot

    model = AutoModelForCausalLM.from_pretrained(folder)
    oneshot(model=model, processor=tokenizer, recipe=list(modifiers), **(arguments or data()))
    return model


def built(specs: Sequence[ModifierSpec]) -> list[Any]:
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.pruning.reap import REAPPruningModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.spinquant import SpinQuantModifier

    known = {
        each.__name__: each for each in (GPTQModifier, QuantizationModifier, SpinQuantModifier, REAPPruningModifier)
    }
    return [known[spec.name](**json.loads(json.dumps(spec.arguments))) for spec in specs]


def unchecked(method: str, folder: Path, **overrides: Json) -> list[Any]:
    """The modifiers of these parameters as if preflight had not looked."""
    parameters: Parameters = find(method).defaults(survey(folder)) | overrides
    return built(find(method).modifiers(parameters))


def found(folder: Path, asked: Draft) -> tuple[Finding, ...]:
    inside = survey(folder)
    recipe, wrong = resolved(find(asked.method), asked.overrides, None, inside)
    return in_order((*wrong, *preflight(inspect(folder), inside, recipe, WHERE, None)))


def mended(folder: Path, code: str, method: str, **overrides: Json) -> list[Any]:
    """The modifiers after the fix of the finding, which must be there before and gone afterwards."""
    asked = Draft(method=method, overrides=overrides)
    finding = next(each for each in found(folder, asked) if each.code == code)
    assert finding.fix
    after = applied(asked, finding.fix)
    assert code not in {each.code for each in found(folder, after)}
    recipe, wrong = resolved(find(after.method), after.overrides, None, survey(folder))
    assert wrong == ()
    return built(find(after.method).modifiers(recipe.parameters))


def runs(model: Any, output: Path) -> list[str]:
    """Names of the tensors of the saved model, which opens again and computes."""
    model.save_pretrained(output)
    again = AutoModelForCausalLM.from_pretrained(output)
    with torch.no_grad():
        assert again(torch.tensor([[1, 2, 3, 4, 5]])).logits.isfinite().all()
    with safe_open(output / "model.safetensors", framework="pt") as tensors:
        return list(tensors.keys())


def test_that_groups_that_do_not_divide_are_refused_and_the_offered_size_runs(
    odd: Path, tokenizer: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="weight column counts not divisible by group_size"):
        press(odd, unchecked("rtn-w4a16", odd, group_size=64), tokenizer)
    model = press(odd, mended(odd, "group-size", "rtn-w4a16", group_size=64), tokenizer)
    assert any(name.endswith("weight_packed") for name in runs(model, tmp_path / "out"))


def test_that_blocks_that_do_not_divide_fail_when_the_artifact_runs_and_the_others_alone_run(
    llama: Path, tokenizer: Any, tmp_path: Path
) -> None:
    broken = press(llama, unchecked("fp8-block", llama), tokenizer)
    with pytest.raises(RuntimeError, match="unflatten: Provided sizes"):
        runs(broken, tmp_path / "broken")
    model = press(llama, mended(llama, "block-size", "fp8-block"), tokenizer)
    scales = [name for name in runs(model, tmp_path / "out") if name.endswith("weight_scale")]
    assert scales == ["model.layers.0.mlp.down_proj.weight_scale"]


def test_that_the_removed_ordering_is_refused_at_the_first_layer_and_static_runs(
    llama: Path, tokenizer: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="Invalid activation ordering group"):
        press(llama, unchecked("gptq-w4a16", llama, actorder="group"), tokenizer)
    model = press(llama, mended(llama, "actorder-removed", "gptq-w4a16", actorder="group"), tokenizer)
    assert any(name.endswith("weight_packed") for name in runs(model, tmp_path / "out"))


@pytest.mark.parametrize(("code", "ignore"), [("ignore-unmatched", ["lm_haed"]), ("tied-head", [])])
def test_that_a_head_that_is_not_left_alone_is_stored_twice_and_mended_is_not(
    llama: Path, tokenizer: Any, tmp_path: Path, code: str, ignore: list[Json]
) -> None:
    model = press(llama, unchecked("fp8-dynamic", llama, ignore=ignore), tokenizer)
    assert "lm_head.weight" in runs(model, tmp_path / "twice")
    model = press(llama, mended(llama, code, "fp8-dynamic", ignore=ignore), tokenizer)
    assert not any(name.startswith("lm_head") for name in runs(model, tmp_path / "out"))
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("out", "twice")]
    assert sizes[0] < sizes[1]


def test_that_rules_that_name_nothing_compress_nothing_and_the_nearest_pattern_does(
    llama: Path, tokenizer: Any, tmp_path: Path
) -> None:
    rules = {"down_prj": "FP8_DYNAMIC"}
    model = press(llama, unchecked("mixed", llama, rules=rules, algorithm="nearest"), tokenizer)
    assert not any("scale" in name for name in runs(model, tmp_path / "nothing"))
    with pytest.raises(ValueError, match="unable to find any modules to quantize"):
        press(llama, unchecked("mixed", llama, rules=rules), tokenizer)
    model = press(llama, mended(llama, "rules-unmatched", "mixed", rules=rules), tokenizer)
    assert "model.layers.0.mlp.down_proj.weight_scale" in runs(model, tmp_path / "out")


def test_that_an_unknown_scheme_is_refused_and_the_nearest_runs(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    from llmcompressor.modifiers.quantization import QuantizationModifier

    with pytest.raises(ValueError, match="must either be a preset scheme name"):
        press(llama, [QuantizationModifier(targets=["Linear"], scheme="FP8_DYNAMC")], tokenizer)
    rules = {"re:.*mlp.*": "FP8_DYNAMC"}
    model = press(llama, mended(llama, "unknown-scheme", "mixed", rules=rules), tokenizer)
    assert "model.layers.0.mlp.up_proj.weight_scale" in runs(model, tmp_path / "out")


def test_that_leaving_everything_alone_does_nothing_and_the_usual_does(
    llama: Path, tokenizer: Any, tmp_path: Path
) -> None:
    model = press(llama, unchecked("fp8-dynamic", llama, ignore=["Linear"]), tokenizer)
    assert "quantization_config" not in json.loads(saved(model, tmp_path / "nothing"))
    with pytest.raises(ValueError, match="unable to find any modules to quantize"):
        press(llama, unchecked("gptq-w4a16", llama, ignore=["Linear"]), tokenizer)
    model = press(llama, mended(llama, "nothing-to-compress", "fp8-dynamic", ignore=["Linear"]), tokenizer)
    assert "quantization_config" in json.loads(saved(model, tmp_path / "out"))


def saved(model: Any, output: Path) -> str:
    runs(model, output)
    return (output / "config.json").read_text()


def test_that_widths_without_a_hadamard_matrix_are_refused_and_blocks_run(
    wide: Path, tokenizer: Any, tmp_path: Path
) -> None:
    from llmcompressor.modifiers.transform.spinquant import SpinQuantModifier

    with pytest.raises(ValueError, match=r"Cannot construct deterministic hadamard of size != 2\^n"):
        press(wide, [SpinQuantModifier(rotations=["R1"], transform_type="hadamard")], tokenizer)
    plain: dict[str, Json] = {"algorithm": "nearest", "rotations": "R1"}
    with pytest.raises(ValueError, match=r"(?i)hadamard"):
        press(wide, unchecked("spinquant-w4a16", wide, **plain), tokenizer)
    model = press(wide, mended(wide, "rotation-size", "spinquant-w4a16", **plain), tokenizer)
    assert "lm_head.weight" in runs(model, tmp_path / "out")


def test_that_experts_cannot_be_taken_out_of_a_dense_model(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Could not find a config attribute for the number of experts"):
        press(llama, unchecked("reap", llama), tokenizer)
    runs(press(llama, mended(llama, "no-experts", "reap"), tokenizer), tmp_path / "out")


def test_that_data_are_needed_and_recipes_have_them(llama: Path, tokenizer: Any) -> None:
    with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
        press(llama, unchecked("gptq-w4a16", llama), tokenizer, dataset=None)
    assert resolved(find("gptq-w4a16"), {}, None, None)[0].calibration is not None


def test_that_scales_cannot_be_searched_without_rounding_behind(llama: Path, tokenizer: Any) -> None:
    from llmcompressor.modifiers.transform.awq import AWQModifier

    with pytest.raises(ValueError, match="no subsequent quantization modifier"):
        press(llama, [AWQModifier()], tokenizer)


def test_that_magnitude_pruning_still_changes_nothing(llama: Path, tokenizer: Any) -> None:
    from llmcompressor.modifiers.pruning import MagnitudePruningModifier

    prune = MagnitudePruningModifier(
        targets=["re:.*proj$"], init_sparsity=0.5, final_sparsity=0.5, start=0.0, end=1.0, update_scheduler="cubic"
    )
    model = press(llama, [prune], tokenizer)
    assert all((weight != 0).all() for name, weight in model.named_parameters() if name.endswith("proj.weight"))


def opt() -> Any:
    from transformers import OPTConfig, OPTForCausalLM

    return OPTForCausalLM(
        OPTConfig(
            hidden_size=64,
            word_embed_proj_dim=64,
            ffn_dim=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            vocab_size=VOCABULARY,
            max_position_embeddings=64,
        )
    )


def neox() -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            vocab_size=VOCABULARY,
            max_position_embeddings=64,
        )
    )


def test_that_keys_and_values_of_opt_stop_the_job_and_those_of_neox_are_left_in_silence(
    made: Maker, tokenizer: Any, tmp_path: Path
) -> None:
    folder = made(opt())
    with pytest.raises(ValueError, match="Cannot determine num_key_value_heads"):
        press(folder, unchecked("fp8-dynamic", folder, kv_cache="fp8"), tokenizer)
    runs(
        press(folder, mended(folder, "kv-cache-architecture", "fp8-dynamic", kv_cache="fp8"), tokenizer), tmp_path / "a"
    )
    folder = made(neox())
    names = runs(press(folder, unchecked("fp8-kv-cache", folder), tokenizer), tmp_path / "b")
    assert not any(name.endswith(("k_scale", "v_scale")) for name in names)
    names = runs(press(folder, mended(folder, "kv-cache-architecture", "fp8-kv-cache"), tokenizer), tmp_path / "c")
    assert any(name.endswith("weight_scale") for name in names)


def test_that_keys_and_values_of_llama_are_found(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    assert "kv-cache-architecture" not in {each.code for each in found(llama, Draft(method="fp8-kv-cache"))}
    names = runs(press(llama, unchecked("fp8-kv-cache", llama), tokenizer), tmp_path / "out")
    assert any(name.endswith("k_scale") for name in names)


# Code that comes with a model -----------------------------------------------------------------------------------------


def test_that_the_model_types_are_those_that_transformers_builds() -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    assert native_types() == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) | set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def test_that_a_model_whose_code_is_not_needed_opens_and_its_code_never_runs(made: Maker, tmp_path: Path) -> None:
    from core.worker.loading import load

    folder = made()
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    for name, code in (
        ("config.json", {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["own.Tokenizer", None]}),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": code}))
    (folder / "own.py").write_text(trap)
    assert inspect(folder).usable
    assert survey(folder).architecture == "LlamaForCausalLM"
    loaded = load(str(folder), "cpu")
    assert type(loaded.model).__name__ == "LlamaForCausalLM"
    assert loaded.tokenizer("w3 w4")["input_ids"] == [0] or loaded.tokenizer("w3")["input_ids"] == [3]
    assert not (tmp_path / "ran").exists()
