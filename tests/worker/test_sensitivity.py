"""Divergence of one part at a time: against computations of its own, with weights that come back as they were."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_families import family, write_family
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig, MixtralForCausalLM

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import AnyEvent, Compress, MeasureSensitivity, Progress, StageStarted
from core.measure.parts import parts_of
from core.measure.sensitivity_values import SensitivityResult
from core.methods.catalogue import find
from core.methods.parameters import default_ignore
from core.methods.resolve_recipe import resolve_recipe
from core.methods.schemes import named
from core.worker import compress, loading, sensitivity
from core.worker.layer_inputs import LayerInputs
from core.worker.one_part import compressed, rounded
from core.worker.pieces import Pieces
from core.worker.reporter import JobCancelledError
from core.worker.survey import survey

pytestmark = pytest.mark.model

DOWN = "model.layers.1.mlp.down_proj"
TEXT = "\n\n".join(
    f"Line {number}: the {word} of the house was painted before the winter came, and nobody asked who had done it."
    for number, word in enumerate(("door", "roof", "fence", "gate", "wall", "floor"))
)


@pytest.fixture(scope="module")
def original(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("sensitive") / "model", starter)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for number, paragraph in enumerate(TEXT.split("\n\n")):
        (folder / f"{number}.txt").write_text(paragraph)
    return folder


def command(model: Path, text: Path, cache: Path | None = None, *schemes: str) -> MeasureSensitivity:
    return MeasureSensitivity(
        job="job",
        model=str(model),
        schemes=tuple(named(name, 32) for name in schemes or ("W4A16", "W8A16")),
        ignore=("lm_head",),
        calibration=CalibrationSpec(source=str(text), samples=6, max_length=64),
        tokens=100,
        cache=None if cache is None else str(cache),
        device="cpu",
    )


def measured(asked: MeasureSensitivity, memory: Memory | None = None) -> SensitivityResult:
    return SensitivityResult.model_validate(sensitivity.run(asked, reporter(memory or Memory())))


def kl_of(found: SensitivityResult, part: str, scheme: str) -> float:
    return next(cell.kl.value for cell in found.cells if (cell.part, cell.scheme) == (part, scheme))


def rtn_int(weight: torch.Tensor, bits: int, group: int) -> torch.Tensor:
    """Symmetric rounding written down anew: scale = largest magnitude over (2^bits - 1) / 2, as compressed-tensors."""
    groups = weight.unflatten(-1, (-1, group))
    scale = groups.abs().amax(-1, keepdim=True) / ((2**bits - 1) / 2)
    return ((groups / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale).flatten(-2)


def test_that_a_cell_equals_an_independent_computation(original: Path, text: Path) -> None:
    found = measured(command(original, text))
    tokenizer = AutoTokenizer.from_pretrained(original)
    base = AutoModelForCausalLM.from_pretrained(original).double()
    other = AutoModelForCausalLM.from_pretrained(original)
    names = [f"model.layers.1.mlp.{name}_proj" for name in ("gate", "up")]
    with torch.no_grad():
        for name in names:
            weight = other.get_submodule(name).weight
            weight.copy_(rtn_int(weight, 4, 32))
        other.double()
        kl = []
        lengths = [len(tokenizer(part)["input_ids"]) - 1 for part in TEXT.split("\n\n")]
        share = 100 // 6
        assert min(lengths) > share + 1
        spare = 100 - 6 * share
        for place, part in enumerate(TEXT.split("\n\n")):
            # What does not divide goes to the last ones: even_shares gives the shortest their share first.
            ids = torch.tensor([tokenizer(part)["input_ids"][: 1 + share + (place >= 6 - spare)]])
            p, q = (model(ids).logits[0, :-1].log_softmax(-1) for model in (base, other))
            kl += (p.exp() * (p - q)).sum(-1).tolist()
    assert found.tokens == len(kl) == 100
    assert kl_of(found, "model.layers.1.mlp.gate_up", "W4A16") == pytest.approx(sum(kl) / len(kl), rel=1e-3)
    assert [part.kind for part in found.parts] == ["qkv", "o", "gate_up", "down"] * 2
    assert len(found.cells) == 16
    assert all(cell.kl.low <= cell.kl.value <= cell.kl.high for cell in found.cells)
    assert kl_of(found, DOWN, "W8A16") < kl_of(found, DOWN, "W4A16") / 20


@pytest.mark.parametrize("scheme", ["W4A16", "W4A16_ASYM", "W8A16", "W8A8", "FP8_DYNAMIC", "MXFP4A16"])
def test_that_rounding_is_what_llmcompressor_saves(original: Path, tmp_path: Path, starter: Path, scheme: str) -> None:
    model = write_tiny_llama(tmp_path / "bf16", starter, dtype=torch.bfloat16)
    settings = {"rules": {DOWN: scheme}, "group_size": 32, "algorithm": "nearest"}
    recipe = resolve_recipe("mixed", settings, None, survey(model))
    modifiers = find("mixed").modifiers(recipe.parameters)
    output = tmp_path / "artifact"
    compress.run(
        Compress(job="job", model=str(model), output=str(output), modifiers=modifiers, device="cpu"),
        reporter(Memory()),
    )
    reopened = AutoModelForCausalLM.from_pretrained(output, dtype="auto")
    with torch.no_grad():
        reopened(input_ids=torch.zeros((1, 4), dtype=torch.long))
    stored = load_file(model / "model.safetensors")[f"{DOWN}.weight"]
    assert torch.equal(rounded(stored, named(scheme, 32).weights), reopened.get_submodule(DOWN).weight.data)


def test_that_weights_and_outputs_are_bit_for_bit_what_they_were(original: Path, text: Path) -> None:
    loaded = loading.load(str(original), "cpu")
    before = {name: values.clone() for name, values in loaded.model.state_dict().items()}
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        logits = loaded.model(ids).logits
        with suppress(RuntimeError), compressed(loaded.model, [DOWN], named("W8A8", 32)):
            assert not torch.equal(loaded.model.state_dict()[f"{DOWN}.weight"], before[f"{DOWN}.weight"])
            raise RuntimeError
        assert torch.equal(loaded.model(ids).logits, logits)
    assert all(torch.equal(values, before[name]) for name, values in loaded.model.state_dict().items())


@pytest.mark.parametrize("name", ["llama-3", "gemma-2", "opt", "phi-3", "gpt-neox", "qwen-2-moe"])
def test_that_a_pass_from_a_later_layer_gives_the_same_numbers_as_a_whole_one(name: str, tmp_path: Path) -> None:
    folder = write_family(family(name), tmp_path / "model")
    seen = survey(folder)
    model = loading.load(str(folder), "cpu").model
    inputs = LayerInputs(model)
    ids = torch.arange(4, 36).reshape(2, 16)
    last = parts_of(seen, default_ignore(seen))[-1]
    layer = inputs.layer_of(last.modules)
    with torch.no_grad():
        with inputs.recording():
            model(ids, use_cache=False)
        with compressed(model, last.modules, named("W4A16", 32)):
            whole = model(ids, use_cache=False).logits
            with inputs.beginning_at(layer, 0):
                short = model(ids, use_cache=False).logits
        unchanged = model(ids, use_cache=False).logits
    assert layer == inputs.layers - 1 == 1
    assert torch.equal(whole, short)
    assert not torch.equal(whole, unchanged)
    assert all("forward" not in module.__dict__ for module in model.modules())


def test_that_a_layer_with_outliers_is_found(original: Path, text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "planted"
    folder.mkdir()
    for path in original.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    # One huge weight in each group takes the scale, and all others in the group are rounded away.
    weights["model.layers.0.mlp.down_proj.weight"][:, ::32] *= 40
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = measured(command(folder, text, None, "W4A16"))
    ranked = sorted(found.cells, key=lambda cell: -cell.kl.value)
    assert ranked[0].part == "model.layers.0.mlp.down_proj"


def test_that_a_run_goes_on_where_it_was_stopped(original: Path, text: Path, tmp_path: Path) -> None:
    stopped = threading.Event()

    def stop(event: AnyEvent) -> None:
        if isinstance(event, Progress) and event.stage == "measure" and event.done >= 5:
            stopped.set()

    asked = command(original, text, tmp_path)
    with pytest.raises(JobCancelledError):
        sensitivity.run(asked, reporter(Memory(stop), stopped))
    (kept,) = tmp_path.glob("*.pieces")
    pieces = Pieces(kept, seconds=0)
    cells = pieces.found
    assert 5 <= len(cells) < 16
    # A kill may tear the last one; and a figure that was kept is taken as it is.
    noise, first = (json.loads(cell) for cell in cells[:2])
    assert noise["scheme"] == "noise"
    first["kl"] = [700.0] + [0.0] * 5
    pieces.restart()
    for cell in (cells[0], json.dumps(first).encode(), *cells[2:]):
        pieces.add(cell)
    pieces.close()
    with kept.open("ab") as torn:
        torn.write(bytes(20))
    found = measured(asked)
    assert found.cells[0].kl.value == pytest.approx(7.0, abs=1e-5)
    fresh = measured(command(original, text))
    assert [cell.kl for cell in found.cells[1:]] == [cell.kl for cell in fresh.cells[1:]]
    again = Memory()
    assert measured(asked, again).cells == found.cells
    assert "reference" in {event.stage for event in again.events if isinstance(event, StageStarted)}


def test_that_cells_of_other_tokens_or_group_sizes_are_not_taken(original: Path, text: Path, tmp_path: Path) -> None:
    asked = command(original, text, tmp_path, "W4A16")
    first = measured(asked)
    coarse = measured(asked.model_copy(update={"schemes": (named("W4A16", 64),)}))
    fewer = measured(asked.model_copy(update={"tokens": 60}))
    assert kl_of(first, DOWN, "W4A16") != kl_of(coarse, DOWN, "W4A16")
    assert kl_of(first, DOWN, "W4A16") != kl_of(fewer, DOWN, "W4A16")
    assert len(list(tmp_path.glob("*.pieces"))) == 2


def test_that_what_eight_bits_lose_is_told_from_what_bfloat16_rounds(starter: Path, text: Path, tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "bf16", starter, dtype=torch.bfloat16)
    rounded_16 = measured(command(model, text, None, "W8A16"))
    exact = measured(command(write_tiny_llama(tmp_path / "f32", starter), text, None, "W8A16"))
    assert all(cell.noise < 1e-6 for cell in exact.cells)
    assert all(cell.noise > 1e-5 for cell in rounded_16.cells)
    # What is above the noise is nearer to what single precision says than what was measured.
    pairs = list(zip(rounded_16.cells, exact.cells, strict=True))
    assert sum(abs(one.kl.value - other.kl.value) for one, other in pairs) < sum(
        abs(one.kl.value + one.noise - other.kl.value) for one, other in pairs
    )


def test_that_fused_experts_are_measured_as_one_part(original: Path, text: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        max_position_embeddings=512,
        initializer_range=0.25,
    )
    MixtralForCausalLM(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((original / name).read_bytes())
    found = measured(command(tmp_path, text, None, "W4A16"))
    assert {part.kind for part in found.parts if part.layer == 0} >= {"qkv", "o", "experts"}
    assert all(cell.kl.value > 0 for cell in found.cells)
