"""The codebook format as the planning side sees it: bytes, labels, where it runs, what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitpress_codebook.layout import QUANT_METHOD, ModuleLayout
from core.engines.vllm_command import vllm_plan
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite
from core.methods.scheme import Scheme, Strategy, TensorScheme
from core.methods.storage import bits_per_weight, kept_count, stored_linear
from core.models.inspect import inspect
from core.models.quantized import CODEBOOK, precision_label
from core.plan.hardware import SUPPORT, runs_natively, where_it_runs


def _scheme(bits: int, kind: str, kept: float | None = None) -> Scheme:
    weights = TensorScheme(num_bits=bits, type=kind, strategy=Strategy.CHANNEL, symmetric=False, kept=kept)
    return Scheme(name=f"W{bits}A16_{kind.upper()}", weights=weights)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("kind", ["table", "binary"])
@pytest.mark.parametrize("kept", [None, 0.0045])
@pytest.mark.parametrize(("rows", "columns"), [(4096, 4096), (576, 1536), (100, 72), (3, 5)])
@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F32", 4)])
def test_that_cores_bytes_are_the_formulas_of_the_loader(
    bits: int, kind: str, kept: float | None, rows: int, columns: int, dtype: str, size: int
) -> None:
    stored = stored_linear("m", rows, columns, _scheme(bits, kind, kept), dtype)
    layout = ModuleLayout(
        rows, columns, bits, "table" if kind == "table" else "binary", kept_count(rows, columns, kept)
    )
    assert sum(tensor.bytes for tensor in stored) == layout.bytes(size)


def test_that_three_bits_at_4096_take_what_is_said_of_them() -> None:
    assert round(bits_per_weight(_scheme(3, "table")), 2) == 3.03
    assert round(bits_per_weight(_scheme(3, "table", 0.0045)), 2) == 3.26
    assert round(bits_per_weight(_scheme(3, "binary")), 3) == 3.016


def test_that_the_format_has_one_name() -> None:
    assert CODEBOOK == QUANT_METHOD


def _write(folder: Path, modules: dict[str, object]) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "quantization_config": {"quant_method": CODEBOOK, "version": 1, "modules": modules},
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {
            "model.embed_tokens.weight": np.zeros((10, 64), np.float16),
            "model.layers.0.mlp.up_proj.weight": np.zeros((8, 6), np.int32),
            "model.layers.0.mlp.up_proj.table": np.zeros((8, 8), np.float16),
            "model.layers.0.mlp.up_proj.kept_starts": np.zeros(9, np.int32),
            "model.layers.0.mlp.up_proj.kept_columns": np.zeros(3, np.int32),
            "model.layers.0.mlp.up_proj.kept_values": np.zeros(3, np.float16),
        },
        folder / "model.safetensors",
    )
    return folder


def test_that_an_artifact_shows_its_width_and_the_parameters_it_stands_for(tmp_path: Path) -> None:
    modules = {"model.layers.0.mlp.up_proj": {"bits": 3, "kind": "table", "kept": 3}}
    model = inspect(_write(tmp_path / "made", modules))
    assert model.precision == "3-bit table"
    assert model.quantization == CODEBOOK
    assert model.parameters == 10 * 64 + 8 * 64


@pytest.mark.parametrize(
    "modules",
    [
        None,
        [],
        {"a": 3},
        {"a": {"bits": "3", "kind": "table"}},
        {"a": {"bits": True, "kind": "table"}},
        {"a": {"bits": 3}},
    ],
)
def test_that_a_config_that_says_nothing_usable_has_no_label(modules: object) -> None:
    assert precision_label({"quant_method": CODEBOOK, "modules": modules}) == ""  # type: ignore[dict-item]


def test_that_several_widths_are_named_together() -> None:
    modules = {"a": {"bits": 4, "kind": "table"}, "b": {"bits": 3, "kind": "table"}, "c": {"bits": 3, "kind": "table"}}
    assert precision_label({"quant_method": CODEBOOK, "modules": modules}) == "3-bit table + 4-bit table"


def test_that_the_vllm_bench_refuses_the_format_and_says_what_to_do(tmp_path: Path) -> None:
    model = inspect(_write(tmp_path / "made", {}))
    with pytest.raises(BitpressError) as refused:
        vllm_plan(model, BenchmarkSuite(), port=1, cpu=True, threads=None)
    assert refused.value.problem.code == "not-servable"
    assert "export" in (refused.value.problem.hint or "")


@pytest.mark.parametrize("name", ["W3A16_TABLE", "W2A16_BINARY"])
def test_that_it_is_said_to_run_here_and_in_transformers_with_the_loader_and_not_in_vllm(name: str) -> None:
    said = " ".join(where_it_runs(name))
    assert "loader" in said
    assert "Not in vLLM" in said
    assert "this application anywhere" in said
    assert not runs_natively(name, (9, 0))[0]
    assert ("W4A16" in " ".join(SUPPORT[name.replace(name[1], "4", 1)].remarks)) is True
