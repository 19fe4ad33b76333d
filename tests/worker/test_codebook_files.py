"""Artifacts of tables and binary codes: saved, opened again in other processes, refused where they are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from nearest_codebook import nearest, swapped, write_plain
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM

from bitpress_codebook import ArtifactError, attach, codebook_modules, materialise, replace_linears
from bitpress_codebook.carry import PYPROJECT
from bitpress_codebook.layout import ModuleLayout
from core.worker.save_artifact import save_artifact

ROOT = Path(__file__).resolve().parent.parent.parent
LOADER = ROOT / "packaging" / "codebook"
IDS = torch.arange(24)[None]

OPEN = """
import sys, torch
import bitpress_codebook
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
if len(sys.argv) > 3:
    bitpress_codebook.materialise(model)
with torch.no_grad():
    torch.save(model(torch.arange(24)[None]).logits, sys.argv[2])
assert not any(name.split(".")[0] in ("core", "app", "llmcompressor", "compressed_tensors") for name in sys.modules)
"""

OPEN_WITHOUT = """
import sys, tempfile, torch
from transformers import AutoModelForCausalLM
for options in ({}, {"device_map": "cpu"}, {"low_cpu_mem_usage": True}, "disk"):
    try:
        with tempfile.TemporaryDirectory() as folder:
            # With weights left on the disk nothing is compared before the first pass.
            disk = {"device_map": "auto", "max_memory": {"cpu": 60_000}, "offload_folder": folder}
            chosen = disk if options == "disk" else options
            model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto", **chosen)
            try:
                model(torch.arange(24)[None])
                print("computed")
            except Exception as error:
                print("forward:", type(error).__name__)
    except RuntimeError as error:
        assert "mismatched" in str(error), error
        print("RuntimeError")
"""


class _Tokenizer:
    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "tokenizer_config.json").write_text("{}")


def _save(model: Any, original: Path, folder: Path) -> Path:
    folder.mkdir()
    save_artifact(model, _Tokenizer(), original, folder)
    return folder


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def _elsewhere(folder: Path, out: Path, loader: Path, *, dense: bool = False) -> subprocess.CompletedProcess[str]:
    """Open the artifact in a fresh process that can import the loader alone."""
    return _process(OPEN, folder, out, *(["dense"] if dense else []), PYTHONPATH=str(loader))


def _process(code: str, folder: Path, *arguments: object, **surroundings: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, str(folder), *map(str, arguments)],
        env={**inherited, **surroundings, "HF_HUB_OFFLINE": "1"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("plain") / "model", dtype=torch.bfloat16, tied=True, biased=True)


@pytest.fixture(scope="module")
def artifact(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(swapped(plain), plain, tmp_path_factory.mktemp("artifacts") / "made")


@pytest.fixture
def broken(artifact: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any], dict[str, Any]], None]], Path]:
    """A copy of the artifact whose config and tensors were changed by hand."""

    def change(by: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
        folder = tmp_path / "broken"
        folder.mkdir()
        config = json.loads((artifact / "config.json").read_text())
        tensors = load_file(artifact / "model.safetensors")
        by(config["quantization_config"], tensors)
        (folder / "config.json").write_text(json.dumps(config))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return change


@pytest.mark.parametrize(
    ("dtype", "tied", "biased", "kind", "bits", "kept"),
    [
        (torch.bfloat16, True, False, "table", 3, 5),
        (torch.float16, False, True, "table", 4, 0),
        (torch.float32, True, True, "binary", 3, 7),
        (torch.bfloat16, False, True, "binary", 2, 0),
    ],
)
def test_that_logits_after_reopening_are_those_before_saving_to_the_bit(
    tmp_path: Path,
    dtype: torch.dtype,
    tied: bool,
    biased: bool,
    kind: Literal["table", "binary"],
    bits: int,
    kept: int,
) -> None:
    original = write_plain(tmp_path / "plain", dtype=dtype, tied=tied, biased=biased)
    model = swapped(original, bits, kind, kept)
    before = _logits(model)
    folder = _save(model, original, tmp_path / "made")

    again, said = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not any(said[f"{key}_keys"] for key in ("missing", "unexpected", "mismatched"))
    assert again.dtype == dtype
    assert torch.equal(_logits(again), before)
    assert materialise(again) == len(codebook_modules(model))
    assert torch.equal(_logits(again), before)


@pytest.mark.parametrize("dense", [False, True])
def test_that_a_fresh_process_with_the_loader_alone_finds_the_same_logits(
    plain: Path, artifact: Path, tmp_path: Path, dense: bool
) -> None:
    done = _elsewhere(artifact, tmp_path / "logits.pt", artifact / "loader" if dense else LOADER, dense=dense)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "logits.pt"), _logits(swapped(plain)))


def test_that_opening_without_the_loader_fails_loudly(artifact: Path) -> None:
    done = _process(OPEN_WITHOUT, artifact)
    assert done.stdout.splitlines() == ["RuntimeError", "RuntimeError", "RuntimeError", "forward: ValueError"]


def test_that_an_artifact_carries_the_loader_and_says_how_to_use_it(artifact: Path) -> None:
    names = {path.name for path in (LOADER / "bitpress_codebook").glob("*.py")}
    assert {path.name for path in (artifact / "loader" / "bitpress_codebook").glob("*.py")} == names
    assert (LOADER / "pyproject.toml").read_text() == PYPROJECT
    assert "import bitpress_codebook" in (artifact / "LOADING.md").read_text()


def test_that_run_dense_in_the_config_gives_plain_modules_and_the_same_logits(
    plain: Path, broken: Callable[..., Path]
) -> None:
    folder = broken(lambda config, _tensors: config.update(run="dense"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert not codebook_modules(model)
    assert torch.equal(_logits(model), _logits(swapped(plain)))


def test_that_the_decoder_alone_opens_too(artifact: Path) -> None:
    assert len(codebook_modules(AutoModel.from_pretrained(artifact, dtype="auto"))) == 14


def test_that_a_materialised_model_is_saved_as_a_plain_one(artifact: Path, plain: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(artifact, dtype="auto")
    materialise(model)
    model.save_pretrained(tmp_path / "exported")
    assert "quantization_config" not in json.loads((tmp_path / "exported" / "config.json").read_text())
    assert torch.equal(
        _logits(AutoModelForCausalLM.from_pretrained(tmp_path / "exported", dtype="auto")), _logits(swapped(plain))
    )


FIRST = "model.layers.0.mlp.up_proj"


def _without(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda _config, tensors: tensors.pop(name)


def _with(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda _config, tensors: tensors.update({name: value(tensors[name])})


def _fact(**changed: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda config, _tensors: config["modules"][FIRST].update(changed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config, _: config.update(version=2), "version 2"),
        (lambda config, _: config.update(modules=[]), "none of"),
        (lambda config, _: config.update(code="x.py"), "unknown entries: code"),
        (lambda config, _: config["modules"].update({"model.norm": config["modules"][FIRST]}), "not a Linear"),
        (lambda config, _: config["modules"].update({"lm_head": config["modules"][FIRST]}), "shares its weight"),
        (lambda config, _: config["modules"].update({"model.other": config["modules"][FIRST]}), "no module"),
        (_fact(bits=31), "31 bits"),
        (_fact(bits=True), "nothing usable"),
        (_fact(kept=-1), "unknown"),
        (_fact(kept=10**12), "keeps 1000000000000 weights"),
        (_fact(kept=6), "of (6,) is needed"),
        (_fact(kind="binary"), "coefficients is missing"),
        (_fact(bits=4), "of (100, 9) is needed"),
        (_without(f"{FIRST}.table"), "table is missing"),
        (_without(f"{FIRST}.weight"), "weight is missing"),
        (_without(f"{FIRST}.kept_values"), "kept_values is missing"),
        (_with(f"{FIRST}.table", lambda found: found.float()), "F32 of (100, 8)"),
        (_with(f"{FIRST}.weight", lambda found: found[:, :-1].contiguous()), "I32 of (100, 6)"),
        (_with(f"{FIRST}.kept_columns", lambda found: found + 72), "names a column"),
        (_with(f"{FIRST}.kept_columns", lambda found: found - 72), "names a column"),
        (_with(f"{FIRST}.kept_starts", lambda found: found.flip(0)), "does not divide"),
        (_with(f"{FIRST}.kept_starts", lambda found: found + 1), "does not divide"),
    ],
)
def test_that_a_broken_artifact_is_refused_with_what_is_wrong(
    broken: Callable[..., Path], change: Callable[[dict[str, Any], dict[str, Any]], None], said: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        AutoModelForCausalLM.from_pretrained(broken(change), dtype="auto")
    assert said in str(refused.value)


def test_that_a_kept_weight_twice_in_one_place_is_refused(broken: Callable[..., Path]) -> None:
    def twice(_config: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors[f"{FIRST}.kept_starts"] = torch.tensor([0] + [5] * 100, dtype=torch.int32)
        tensors[f"{FIRST}.kept_columns"] = torch.tensor([1, 2, 2, 3, 4], dtype=torch.int32)

    with pytest.raises(ArtifactError, match="does not rise"):
        AutoModelForCausalLM.from_pretrained(broken(twice), dtype="auto")


def test_that_a_tied_head_is_not_replaced(plain: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(plain, dtype="auto")
    with pytest.raises(ValueError, match="shares its weight"):
        replace_linears(model, {"lm_head": nearest(model.lm_head.weight.detach(), 4)})


def test_that_a_model_without_tables_cannot_be_saved_as_one(plain: Path) -> None:
    with pytest.raises(ValueError, match="no module"):
        attach(AutoModelForCausalLM.from_pretrained(plain, dtype="auto"))


@pytest.mark.parametrize("kept", [0, 75_497])
def test_that_a_layer_of_4096_has_the_bytes_of_the_formula(tmp_path: Path, kept: int) -> None:
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4096, 4096, bias=False, dtype=torch.bfloat16))
    weight = torch.randn((4096, 4096), generator=generator, dtype=torch.bfloat16)
    replace_linears(model, {"0": nearest(weight, 3, kept=kept)})
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "x.safetensors")
    formula = ModuleLayout(4096, 4096, 3, kept=kept).bytes()
    assert abs((tmp_path / "x.safetensors").stat().st_size / formula - 1) < 0.001
    assert round(8 * formula / 4096**2, 2) == (3.26 if kept else 3.03)
