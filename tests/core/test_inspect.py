from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import LLAMA, llama_tensors, make_model, make_shards, safetensors_bytes

from core.errors import BitpressError
from core.methods.recipe import Recipe
from core.models.artifact import Manifest, write_manifest
from core.models.inspect import inspect
from core.models.local_model import Origin, Weights


def failure(path: Path) -> tuple[str, str]:
    with pytest.raises(BitpressError) as caught:
        inspect(path)
    assert caught.value.problem.hint
    return caught.value.problem.code, caught.value.problem.message


def outcome(path: Path) -> str:
    try:
        inspect(path)
    except BitpressError as error:
        return error.problem.code
    return "sound"


def remarks(path: Path) -> dict[str, str]:
    return {remark.code: remark.level for remark in inspect(path).remarks}


def test_that_a_plain_model_is_described_from_config_and_headers(tmp_path: Path) -> None:
    model = inspect(make_model(tmp_path / "tiny"))
    assert (model.name, model.architecture, model.weights) == ("tiny", "LlamaForCausalLM", Weights.SAFETENSORS)
    assert (model.layers, model.hidden_size, model.intermediate_size) == (2, 8, 16)
    assert (model.heads, model.kv_heads, model.vocabulary, model.context_length) == (2, 1, 32, 64)
    assert model.parameters == 32 * 8 + 8 + 2 * (8 + 8 + 64 + 32 + 32 + 64 + 3 * 128)
    assert model.precision == "BF16"
    assert model.bytes == (tmp_path / "tiny" / "model.safetensors").stat().st_size
    assert model.tied_embeddings is True
    assert model.tokenizer
    assert model.usable
    assert model.remarks == ()


def test_that_shards_are_counted_and_summed(tmp_path: Path) -> None:
    sharded, whole = inspect(make_shards(tmp_path / "shards")), inspect(make_model(tmp_path / "whole"))
    assert sharded.shards == 2
    assert sharded.parameters == whole.parameters


def test_that_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    make_model(tmp_path / "tiny")
    (tmp_path / "tiny" / "config.json").unlink()
    code, message = failure(tmp_path / "tiny")
    assert code == "no-config"
    assert str(tmp_path / "tiny") in message


def test_that_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert failure(tmp_path / "nothing")[0] == "no-such-model"


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '"text"', '{"hidden_size": -3}', "[" * 50_000])
def test_that_an_unreadable_config_is_refused(tmp_path: Path, text: str) -> None:
    (make_model(tmp_path / "tiny") / "config.json").write_text(text)
    assert failure(tmp_path / "tiny")[0] == "bad-config"


def test_that_a_truncated_model_is_refused_with_the_missing_bytes(tmp_path: Path) -> None:
    weights = make_model(tmp_path / "tiny") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1234])
    code, message = failure(tmp_path / "tiny")
    assert code == "truncated-weights"
    assert "1,234 bytes" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 16),
        ("vocab_size", 33),
        ("num_hidden_layers", 3),
        ("num_hidden_layers", 1),
        ("intermediate_size", 12),
        ("num_attention_heads", 4),
        ("num_key_value_heads", 2),
        ("tie_word_embeddings", False),
    ],
)
def test_that_a_config_that_contradicts_the_weights_is_refused_by_name(tmp_path: Path, key: str, value: Any) -> None:
    # With a stated head_dim the number of heads changes the shapes; without it only their split.
    make_model(tmp_path / "tiny", LLAMA | {"head_dim": 4} | {key: value})
    code, message = failure(tmp_path / "tiny")
    assert code == "config-mismatch"
    assert key in message


def test_that_layers_for_several_tokens_at_once_are_no_contradiction(tmp_path: Path) -> None:
    config = LLAMA | {"model_type": "deepseek_v3", "num_nextn_predict_layers": 1}
    model = inspect(make_model(tmp_path / "tiny", config, llama_tensors(layers=3)))
    assert model.layers == 2


def test_that_the_text_part_of_a_config_with_several_parts_counts(tmp_path: Path) -> None:
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "vision_config": {"num_hidden_layers": 27, "hidden_size": 1152},
        "text_config": LLAMA,
    }
    tensors = {name.replace("model.", "language_model.model.", 1): entry for name, entry in llama_tensors().items()}
    tensors |= {f"vision_tower.encoder.layers.{layer}.norm.weight": ("BF16", (8,)) for layer in range(5)}
    model = inspect(make_model(tmp_path / "many", config, tensors))
    assert (model.layers, model.hidden_size, model.model_type) == (2, 8, "gemma3")


def test_that_pickled_weights_are_shown_and_never_opened(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "old")
    (folder / "model.safetensors").unlink()
    trap = folder / "pytorch_model.bin"
    trap.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    (folder / "training_args.bin").write_bytes(b"1234")
    trap.chmod(0)
    model = inspect(folder)
    assert (model.weights, model.bytes, model.parameters) == (Weights.PICKLE, trap.stat().st_size, None)
    assert remarks(folder) == {"pickle": "blocks"}
    assert not model.usable
    assert not (tmp_path / "ran").exists()


def with_code(folder: Path, name: str, **changes: object) -> Path:
    kept = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps(kept | {"auto_map": {"AutoModel": "modeling.Evil"}} | changes))
    return folder


def test_that_a_model_whose_own_code_is_not_needed_is_usable_with_a_warning(tmp_path: Path) -> None:
    folder = with_code(make_model(tmp_path / "coded"), "config.json")
    (folder / "tokenizer.json").write_text("{}")
    with_code(folder, "tokenizer_config.json")
    model = inspect(folder)
    assert model.usable
    assert not model.remote_code
    assert remarks(folder) == {"own-code-unused": "warns"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [("config.json", {"model_type": "own"}), ("tokenizer_config.json", {"tokenizer_class": "XgenTokenizer"})],
)
def test_that_a_model_that_needs_its_own_code_is_blocked(tmp_path: Path, name: str, changes: dict[str, object]) -> None:
    folder = make_model(tmp_path / "coded")
    (folder / "tokenizer.json").unlink(missing_ok=True)
    (folder / "tokenizer.model").write_bytes(b"x")
    with_code(folder, name, **changes)
    model = inspect(folder)
    assert model.remote_code
    assert remarks(folder) == {"remote-code": "blocks"}


def test_that_a_folder_with_only_a_config_has_no_weights(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "empty")
    (folder / "model.safetensors").unlink()
    assert remarks(folder) == {"no-weights": "blocks"}


def test_that_weights_under_an_unusual_name_are_blocked(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "odd")
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert remarks(folder) == {"unusual-names": "blocks"}


def test_that_an_encoder_is_marked_as_no_text_generator(tmp_path: Path) -> None:
    make_model(tmp_path / "bert", LLAMA | {"architectures": ["BertModel"], "model_type": "bert"})
    assert remarks(tmp_path / "bert") == {"not-a-text-generator": "warns"}


def quantized(folder: Path, quantization: dict[str, Any], tensors: dict[str, Any]) -> Path:
    plain = {name: entry for name, entry in llama_tensors().items() if not name.endswith("_proj.weight")}
    make_model(folder, LLAMA | {"quantization_config": quantization}, plain | tensors)
    return folder


def compressed_tensors(form: str, bits: int, kind: str = "int") -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("quantization", "precision", "label"),
    [
        (compressed_tensors("float-quantized", 8, "float"), "FP8", "compressed-tensors float-quantized"),
        (compressed_tensors("int-quantized", 8), "INT8", "compressed-tensors int-quantized"),
        (compressed_tensors("pack-quantized", 4), "INT4", "compressed-tensors pack-quantized"),
        (compressed_tensors("pack-quantized", 3), "INT3", "compressed-tensors pack-quantized"),
        (compressed_tensors("nvfp4-pack-quantized", 4, "float"), "NVFP4", "compressed-tensors nvfp4-pack-quantized"),
        ({"quant_method": "gptq", "bits": 4}, "INT4", "gptq"),
        ({"quant_method": "awq", "bits": 4}, "INT4", "awq"),
        ({"quant_method": "fp8"}, "FP8", "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "NF4", "bitsandbytes"),
        ({"quant_method": "mxfp4"}, "MXFP4", "mxfp4"),
        ({"quant_method": "newest"}, "BF16", "newest"),
        ({}, "BF16", "unknown"),
    ],
)
def test_that_an_existing_quantization_gets_a_short_label(
    tmp_path: Path, quantization: dict[str, Any], precision: str, label: str
) -> None:
    make_model(tmp_path / "pressed", LLAMA | {"quantization_config": quantization})
    model = inspect(tmp_path / "pressed")
    assert (model.precision, model.quantization) == (precision, label)


def test_that_packed_weights_count_as_the_parameters_they_stand_for(tmp_path: Path) -> None:
    stem = "model.layers.0.mlp.gate_proj"
    folder = quantized(
        tmp_path / "int4",
        compressed_tensors("pack-quantized", 4),
        {
            f"{stem}.weight_packed": ("I32", (16, 1)),
            f"{stem}.weight_scale": ("BF16", (16, 1)),
            f"{stem}.weight_zero_point": ("I32", (2, 1)),
            f"{stem}.weight_shape": ("I64", (2,)),
        },
    )
    tensors = llama_tensors()
    plain = sum(a[0] * (a[1] if len(a) > 1 else 1) for n, (_, a) in tensors.items() if not n.endswith("_proj.weight"))
    weights = folder / "model.safetensors"
    raw = weights.read_bytes()
    weights.write_bytes(raw[:-16] + (16).to_bytes(8, "little") + (8).to_bytes(8, "little"))
    assert inspect(folder).parameters == plain + 16 * 8


def test_that_scales_of_eight_bit_weights_are_no_parameters(tmp_path: Path) -> None:
    stem = "model.layers.0.mlp.gate_proj"
    eight = {f"{stem}.weight": ("F8_E4M3", (16, 8)), f"{stem}.weight_scale": ("BF16", (16, 1))}
    folder = quantized(tmp_path / "fp8", compressed_tensors("float-quantized", 8, "float"), eight)
    plain = quantized(tmp_path / "plain", compressed_tensors("float-quantized", 8, "float"), {})
    assert (inspect(folder).parameters or 0) - (inspect(plain).parameters or 0) == 16 * 8


def test_that_the_parameters_of_an_unknown_packing_stay_unknown(tmp_path: Path) -> None:
    make_model(tmp_path / "new", LLAMA | {"quantization_config": {"quant_method": "newest"}})
    assert inspect(tmp_path / "new").parameters is None


def test_that_a_tied_head_that_is_stored_counts_once(tmp_path: Path) -> None:
    tensors = llama_tensors() | {"lm_head.weight": ("BF16", (32, 8))}
    tied = inspect(make_model(tmp_path / "tied", LLAMA, tensors))
    untied = inspect(make_model(tmp_path / "untied", LLAMA | {"tie_word_embeddings": False}, tensors))
    assert (untied.parameters or 0) - (tied.parameters or 0) == 32 * 8


def test_that_ties_are_told_by_the_weights_where_the_config_is_silent(tmp_path: Path) -> None:
    silent = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    assert inspect(make_model(tmp_path / "tied", silent)).tied_embeddings is True
    tensors = llama_tensors() | {"lm_head.weight": ("BF16", (32, 8))}
    assert inspect(make_model(tmp_path / "untied", silent, tensors)).tied_embeddings is False


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("README.md", "---\ntags: [x]\nlicense: apache-2.0\n---\n# Model", "apache-2.0"),
        ("README.md", "---\nlicense: other\nlicense_name: llama3.1\n---\n", "llama3.1"),
        ("README.md", "---\r\nlicense: 'mit'\r\n---\r\n", "mit"),
        ("README.md", "# no front matter\nlicense: mit", ""),
        ("LICENSE", "\n  Apache License  \nVersion 2.0", "Apache License"),
    ],
)
def test_that_the_licence_is_read(tmp_path: Path, name: str, text: str, licence: str) -> None:
    (make_model(tmp_path / "tiny") / name).write_text(text, newline="")
    assert inspect(tmp_path / "tiny").licence == licence


def test_that_a_chat_template_is_found_in_either_place(tmp_path: Path) -> None:
    assert not inspect(make_model(tmp_path / "none")).chat_template
    (make_model(tmp_path / "file") / "chat_template.jinja").write_text("{{ messages }}")
    assert inspect(tmp_path / "file").chat_template
    (make_model(tmp_path / "config") / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert inspect(tmp_path / "config").chat_template


def test_that_a_manifest_makes_a_folder_an_artifact(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "pressed")
    manifest = Manifest(
        run=41,
        made_from="/models/tiny",
        recipe=Recipe(method="fp8-dynamic", parameters={}),
        method_title="FP8 dynamic",
        proved=True,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )
    write_manifest(folder, manifest)
    model = inspect(folder)
    assert (model.origin, model.made_from, model.made_by_run, model.proved) == (
        Origin.ARTIFACT,
        "/models/tiny",
        41,
        True,
    )
    assert model.remarks == ()
    write_manifest(folder, manifest.model_copy(update={"proved": False}))
    assert remarks(folder) == {"unproved": "warns"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [*LLAMA, "text_config", "quantization_config", "auto_map", "head_dim", "multi_query", "torch_dtype"]
        ),
        JSON_VALUES,
        min_size=1,
        max_size=4,
    )
)
def test_that_no_config_makes_inspection_raise_anything_but_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-config"
    if not folder.exists():
        make_model(folder)
    (folder / "config.json").write_text(json.dumps(LLAMA | changes))
    assert outcome(folder) in ("sound", "bad-config", "config-mismatch")


def test_that_names_from_a_model_cannot_break_a_message(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny")
    (folder / "model.safetensors").write_bytes(safetensors_bytes({"evil\n\x1b[31m" + "x" * 500: ("I8", (4,))})[:-1])
    assert failure(folder)[0] == "truncated-weights"
    (folder / "config.json").write_text(json.dumps(LLAMA | {"architectures": ["A\n\x1b[31mB"]}))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(llama_tensors()))
    assert inspect(folder).architecture == "A??[31mB"
