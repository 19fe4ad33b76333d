"""SqueezeLLM: k-means against exact search and a plain loop, gradients against autograd, a job on a tiny model."""

from __future__ import annotations

import itertools
import json
import math
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import Memory, reporter, write_tiny_llama
from torch import Tensor

from bitpress_codebook import codebook_modules
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, Compress, Metric, Progress, StageStarted
from core.methods.catalogue import find
from core.value import Json
from core.worker import compress
from core.worker.codebook import fisher_stage
from core.worker.codebook.correlated import fitted
from core.worker.codebook.fisher import FisherSums
from core.worker.codebook.fisher_stage import measured_alone
from core.worker.codebook.kept import kept_mask, kept_weights
from core.worker.codebook.kmeans import weighted_kmeans
from core.worker.codebook.sensitivity_file import holds, write_sensitivities
from core.worker.codebook.squeezellm import SqueezeLLMModifier, press
from core.worker.gptqt.compensation import compensate
from core.worker.reporter import JobCancelledError


def heavy_tailed(rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Weights and sensitivities as unlike a grid as trained ones are."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=generator)
    values *= torch.rand(rows, columns, generator=generator).clamp_min(0.01) ** -0.2
    return values, torch.randn(rows, columns, generator=generator).square()


def exact(values: Tensor, weights: Tensor, clusters: int) -> float:
    """The least error that any table has, by dynamic programming over the sorted row."""
    x, order = values.double().sort()
    w = weights.double()[order]
    sums = [torch.nn.functional.pad((w * x**power).cumsum(0), (1, 0)) for power in range(3)]
    weight, moment, square = (part[None, :] - part[:, None] for part in sums)
    cost = torch.where(weight > 0, square - moment.square() / weight.clamp_min(1e-300), 0.0).clamp_min(0.0)
    cost = cost.masked_fill(torch.ones_like(cost).tril(-1).bool(), math.inf)
    best = cost[0]
    for _ in range(clusters - 1):
        best = (best[:, None] + cost).min(0).values
    return float(best[-1])


def error_of(values: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """Each row's error with every value at its nearest, one at a time."""
    distance = (values[:, :, None].double() - table[:, None, :].double()).square().min(-1).values
    return (distance * weights.double()).sum(1)


def lloyd(values: Tensor, weights: Tensor, table: Tensor, rounds: int) -> Tensor:
    """The textbook's loop."""
    table = table.double().clone()
    for _ in range(rounds):
        nearest = (values[:, :, None].double() - table[:, None, :]).abs().argmin(-1)
        for row in range(len(values)):
            for cluster in range(table.shape[1]):
                mine = nearest[row] == cluster
                if weights[row][mine].sum() > 0:
                    table[row, cluster] = (values[row][mine] * weights[row][mine]).double().sum() / weights[row][
                        mine
                    ].double().sum()
    return table


@pytest.mark.parametrize(("clusters", "most"), [(4, 1.08), (8, 1.12), (16, 1.12)])
def test_that_the_error_is_near_the_least_there_is(clusters: int, most: float):
    values, weights = heavy_tailed(24, 160)
    found = weighted_kmeans(values, weights, clusters, dtype=torch.float32)
    least = torch.tensor([exact(x, w, clusters) for x, w in zip(values, weights, strict=True)])
    assert (found.error >= least * (1 - 1e-6)).all()
    assert float(found.error.sum()) < most * float(least.sum())


def test_that_the_error_never_rises_and_moves_beat_lloyds_algorithm_alone():
    values, weights = heavy_tailed(16, 200, seed=1)
    errors = [
        weighted_kmeans(values, weights, 8, iterations=count, moves=0, dtype=torch.float32).error
        for count in (0, 1, 2, 4, 8, 50)
    ]
    errors.append(weighted_kmeans(values, weights, 8, dtype=torch.float32).error)
    for before, after in itertools.pairwise(errors):
        assert (after <= before * (1 + 1e-9)).all()
    assert float(errors[-1].sum()) < float(errors[-2].sum())


def test_that_it_settles_where_the_textbooks_loop_settles():
    values, weights = heavy_tailed(6, 120, seed=2)
    first = weighted_kmeans(values, weights, 8, iterations=0, moves=0, dtype=torch.float32)
    ours = weighted_kmeans(values, weights, 8, iterations=200, moves=0, dtype=torch.float32)
    plain = lloyd(values, weights, first.table, 200)
    assert torch.allclose(error_of(values, weights, plain), ours.error, rtol=1e-4)


def test_that_error_table_and_codes_belong_together_and_every_value_has_its_nearest():
    values, weights = heavy_tailed(9, 77, seed=3)
    found = weighted_kmeans(values, weights, 8)
    assert torch.equal(found.table, found.table.to(torch.float16).float())
    assert (found.table.diff(dim=1) >= 0).all()
    chosen = found.table.gather(1, found.codes.long())
    assert torch.allclose(((values - chosen).double().square() * weights).sum(1), found.error, rtol=1e-5)
    assert torch.allclose(error_of(values, weights, found.table), found.error, rtol=1e-5)


def test_that_constant_rows_few_values_ties_and_zero_weights_are_met():
    values = torch.tensor(
        [[2.0] * 8, [1, 1, 1, -1, -1, 5, 5, 5], [0.0, 1, 2, 3, 4, 5, 6, 7], [0.0, 1, 2, 3, 4, 5, 6, 9]]
    )
    weights = torch.ones(4, 8)
    weights[2] = 0.0
    weights[3, 4:] = 0.0
    found = weighted_kmeans(values, weights, 4)
    assert found.error[:2].tolist() == [0.0, 0.0]
    assert 2.0 <= float(found.error[2]) <= 3.0
    assert float(found.error[3]) == 0.0
    assert torch.isfinite(found.table).all()
    assert (found.codes < 4).all()
    assert torch.equal(found.table.gather(1, found.codes.long())[3, :4], values[3, :4])


def test_that_rows_are_worked_on_alone_and_twice_gives_the_same_bits():
    values, weights = heavy_tailed(40, 64, seed=4)
    whole, again = weighted_kmeans(values, weights, 8), weighted_kmeans(values, weights, 8)
    row = weighted_kmeans(values[7:8], weights[7:8], 8)
    assert torch.equal(whole.table, again.table)
    assert torch.equal(whole.codes, again.codes)
    assert torch.equal(whole.codes[7:8], row.codes)
    assert torch.equal(weighted_kmeans(values, weights * 1e-30, 8).codes, whole.codes)


def test_that_what_is_no_number_is_refused():
    values, weights = heavy_tailed(2, 8)
    for damaged in (values.clone().fill_(math.nan), values.clone().fill_(math.inf)):
        with pytest.raises(ValueError, match="finite"):
            weighted_kmeans(damaged, weights, 4)
    with pytest.raises(ValueError, match="below zero"):
        weighted_kmeans(values, -weights, 4)


def test_that_shares_are_exact_sensitive_first_and_nothing_is_counted_twice():
    weight, sensitivity = heavy_tailed(50, 40, seed=5)
    largest = weight.abs().flatten().topk(8).indices
    sensitivity.view(-1)[largest[:4]] = 100.0
    mask = kept_mask(weight, sensitivity, sensitive=0.002, outliers=0.004)
    assert int(mask.sum()) == 4 + 8
    assert mask.view(-1)[largest].all()
    assert mask.view(-1)[weight.abs().flatten().topk(12).indices].all()
    tied = kept_mask(torch.ones(3, 4), None, sensitive=0.5, outliers=0.25)
    assert tied.view(-1).nonzero()[:, 0].tolist() == [0, 1, 2]
    assert kept_weights(weight, torch.zeros_like(mask)) is None


def test_that_kept_weights_are_exact_to_the_bit_and_lower_the_error():
    weight, sensitivity = heavy_tailed(32, 96, seed=6)
    weight = weight.bfloat16()
    dense = press(weight, sensitivity, bits=3)
    sparse = press(weight, sensitivity, bits=3, sensitive=0.001, outliers=0.004)
    mask = kept_mask(weight, sensitivity, sensitive=0.001, outliers=0.004)
    made = sparse.weight.dense(torch.bfloat16)
    assert sparse.weight.kept is not None
    assert sparse.weight.kept.values.numel() == int(mask.sum()) == round(0.001 * 3072) + round(0.004 * 3072)
    assert torch.equal(made[mask].view(torch.int16), weight[mask].view(torch.int16))
    assert dense.weight.kept is None

    def cost(found: Tensor) -> float:
        return float(((found.float() - weight.float()).square() * sensitivity).sum())

    unweighted = press(weight, None, bits=3).weight.dense(torch.bfloat16)
    assert cost(made) < cost(dense.weight.dense(torch.bfloat16)) < cost(unweighted)


def test_that_rows_without_sensitivity_count_all_their_weights_alike():
    weight, sensitivity = heavy_tailed(4, 64, seed=7)
    sensitivity[2] = 0.0
    alike, found = press(weight, None, bits=3), press(weight, sensitivity, bits=3)
    assert found.weight.table is not None
    assert alike.weight.table is not None
    assert torch.equal(found.weight.table[2], alike.weight.table[2])


def correlated(columns: int, seed: int = 8) -> Tensor:
    """The mean of x xᵀ over inputs that go together, as those of a layer do."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(2000, columns // 4, generator=generator) @ torch.randn(
        columns // 4, columns, generator=generator
    )
    inputs += 0.3 * torch.randn(2000, columns, generator=generator)
    return inputs.T @ inputs / len(inputs)


def output_error(weight: Tensor, made: Tensor, hessian: Tensor) -> float:
    off = weight.double() - made.double()
    return float(((off @ hessian.double()) * off).sum())


def test_that_fitting_lowers_the_error_of_outputs_step_by_step_and_kept_weights_stay_exact():
    weight, hessian = heavy_tailed(32, 96, seed=9)[0].bfloat16(), correlated(96)
    counted = hessian.diagonal().clone()

    def pressed(**more: Any) -> Tensor:
        return press(weight, counted, bits=3, **more).weight.dense(torch.bfloat16)

    kept = {"sensitive": 0.001, "outliers": 0.01}
    plain, fit = pressed(), pressed(hessian=hessian.clone())
    sparse = pressed(hessian=hessian.clone(), **kept)
    table = press(weight, counted, bits=3).weight.table
    assert table is not None
    codes = compensate(weight, hessian.clone(), table.float()).codes
    compensated = table.gather(1, codes.long())
    errors = [output_error(weight, made, hessian) for made in (plain, compensated, fit, sparse)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.9 * errors[1] < 0.5 * errors[0]
    mask = kept_mask(weight, counted.expand(32, 96), **kept)
    assert torch.equal(sparse[mask].view(torch.int16), weight[mask].view(torch.int16))
    again = press(weight, counted, bits=3, hessian=hessian.clone())
    assert torch.equal(again.weight.dense(torch.bfloat16), fit)
    assert 0 < again.relative < 0.1


def test_that_each_step_of_the_fit_lowers_the_error():
    weight, hessian = heavy_tailed(24, 64, seed=10)[0], correlated(64)
    mask = torch.zeros_like(weight, dtype=torch.bool)
    table = weighted_kmeans(weight, torch.ones_like(weight), 8).table
    errors = [fitted(weight, table, hessian.clone(), mask, rounds=rounds).relative for rounds in (0, 1, 2, 4)]
    # The table is rounded to 16 bits after each step, which may cost a little.
    assert all(after <= before * 1.001 for before, after in itertools.pairwise(errors))
    assert errors[-1] < 0.95 * errors[0]


def test_that_columns_nothing_came_through_are_rounded_by_themselves():
    weight, hessian = heavy_tailed(8, 64, seed=11)[0], correlated(64)
    hessian[:, 5] = hessian[5] = 0.0
    fit = press(weight, hessian.diagonal().clone(), bits=3, hessian=hessian.clone()).weight
    assert fit.table is not None
    nearest = (weight[:, 5:6] - fit.table.float()).abs().min(1).values
    assert torch.allclose((fit.dense(torch.float32)[:, 5] - weight[:, 5]).abs(), nearest, atol=1e-3)
    nothing = press(weight, None, bits=3, hessian=torch.zeros(64, 64))
    assert torch.isfinite(nothing.weight.dense(torch.float32)).all()


@pytest.fixture(scope="module")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(" ".join(f"The {number}th boat came back with {number % 7} fish." for number in range(600)))
    return path


@pytest.mark.model
def test_that_sums_are_the_squared_gradients_of_each_token_and_the_model_is_as_it_was(tiny: Path, tmp_path: Path):
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    targets = {name: each for name, each in model.named_modules() if type(each).__name__ == "Linear" and "proj" in name}
    samples = [list(range(5, 60)), list(range(300, 330)), [7, 8, 9]]
    before = model(torch.tensor(samples[:1])).logits
    with FisherSums(model, targets, drawn=False) as found:
        losses = [found.add(sample) for sample in samples]
        with pytest.raises(ValueError, match="next token"):
            found.add([1])
    drawn = []
    for _ in range(2):
        with FisherSums(model, targets) as other:
            other.add(samples[0])
        drawn.append(other.sums)
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in targets), "the same tokens are drawn"
    assert any(not torch.allclose(drawn[0][name], found.sums[name]) for name in targets)
    assert torch.equal(model(torch.tensor(samples[:1])).logits, before)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    expected = {name: torch.zeros_like(each.weight) for name, each in targets.items()}
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def hear(name: str) -> Any:
        def heard(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            output.retain_grad()
            seen[name] = inputs[0].detach()[0], output

        return heard

    for name, each in targets.items():
        each.register_forward_hook(hear(name))
    for sample, loss in zip(samples, losses, strict=True):
        ids = torch.tensor([sample])
        plain = model(ids, labels=ids).loss
        assert float(plain.detach()) == pytest.approx(loss, rel=1e-4)
        (plain * (len(sample) - 1)).backward()
        for name, (entered, output) in seen.items():
            assert output.grad is not None
            for came, gradient in zip(entered, output.grad[0], strict=True):
                expected[name] += torch.outer(gradient, came).square()
    assert found.tokens == sum(len(sample) - 1 for sample in samples)
    for name in targets:
        assert torch.allclose(
            found.sums[name], expected[name], rtol=2e-3, atol=1e-9 + 1e-4 * float(expected[name].max())
        )
    write_sensitivities(tmp_path / "kept", found.sums, 1 / found.tokens)
    shapes = {name: tuple(each.weight.shape) for name, each in targets.items()}
    assert holds(tmp_path / "kept", shapes)
    assert not holds(tmp_path / "kept", {**shapes, "another": (1, 1)})
    (tmp_path / "kept").write_bytes((tmp_path / "kept").read_bytes()[:-1])
    assert not holds(tmp_path / "kept", shapes)


def asked(tiny: Path, output: Path, source: Path, cache: Path | None = None, **chosen: Json) -> Compress:
    method = find("squeezellm-w3")
    return Compress(
        job="one", model=str(tiny), output=str(output), device="cpu",
        modifiers=method.modifiers({**method.defaults(None), "outlier_share": 0.01, **chosen}),
        calibration=CalibrationSpec(source=str(source), samples=6, max_length=64),
        sensitivities=str(cache) if cache else None,
    )  # fmt: skip


@pytest.mark.model
def test_that_a_job_measures_tells_and_saves_what_opens_as_it_was_and_the_next_takes_what_is_kept(
    tiny: Path, text: Path, tmp_path: Path
):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    memory, cache, tokens = Memory(), tmp_path / "cache", tmp_path / "tokens.json"
    wanted = asked(tiny, tmp_path / "out", text, cache).model_copy(update={"tokens_file": str(tokens)})
    result = compress.run(wanted, reporter(memory))
    stages = [event.stage for event in memory.events if isinstance(event, StageStarted)]
    assert stages == ["load", "fisher", "modifier-0", "save"]
    errors = [event for event in memory.events if isinstance(event, Metric)]
    assert {error.layer for error in errors} == set(result["expected_modules"])
    assert len(errors) == 14
    assert all(error.relative is not None and 0 < error.relative < 0.3 for error in errors)
    steps = [event.done for event in memory.events if isinstance(event, Progress) and event.stage == "modifier-0"]
    assert steps == sorted(steps)
    assert steps[-1] == 2
    (kept,) = cache.iterdir()
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    original = AutoModelForCausalLM.from_pretrained(tiny, dtype="auto")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    sensitivities = load_file(kept)
    found = codebook_modules(opened)
    assert len(found) == 14
    for name, module in found.items():
        weight = original.get_submodule(name).weight
        mask = kept_mask(weight, sensitivities[name], sensitive=0.0005, outliers=0.01)
        dense = module.codebook().dense(torch.bfloat16)
        assert torch.equal(dense[mask], weight[mask])
        assert module.layout.kept == int(mask.sum())
        mine = [part for key, part in stored.items() if key.rpartition(".")[0] == name]
        assert sum(part.nbytes for part in mine) == module.layout.bytes()
    assert not (tmp_path / "out" / ".sensitivity").exists()
    assert str(tmp_path) not in (tmp_path / "out" / "recipe.yaml").read_text()

    memory = Memory()
    again = compress.run(asked(tiny, tmp_path / "again", text, cache), reporter(memory))
    assert again["tensors_sha256"] == result["tensors_sha256"]
    said = [event.detail for event in memory.events if isinstance(event, Progress) and event.stage == "fisher"]
    assert said == ["kept from an earlier job"]
    assert list(cache.iterdir()) == [kept]
    # A script that repeats the job measures the same.
    alone = SqueezeLLMModifier(ignore=["lm_head"], bits=3)
    with measured_alone([alone], original, json.loads(tokens.read_text())) or nullcontext("") as folder:
        (made,) = Path(folder).iterdir()
        assert made.read_bytes() == kept.read_bytes()
    assert measured_alone([SqueezeLLMModifier(sensitivity="none")], original, None) is None


@pytest.mark.model
def test_that_a_cancelled_pass_leaves_nothing(tiny: Path, text: Path, tmp_path: Path):
    stop = threading.Event()

    def heard(event: AnyEvent) -> None:
        if isinstance(event, StageStarted) and event.stage == "fisher":
            stop.set()

    with pytest.raises(JobCancelledError):
        compress.run(asked(tiny, tmp_path / "out", text, tmp_path / "cache"), reporter(Memory(heard), stop))
    assert not (tmp_path / "out").exists()
    assert not any((tmp_path / "cache").iterdir())


@pytest.mark.model
def test_that_activations_and_equal_weights_need_no_gradients(tiny: Path, text: Path, tmp_path: Path):
    hashes = set()
    for sensitivity in ("activation", "none"):
        memory = Memory()
        wanted = asked(tiny, tmp_path / sensitivity, text, sensitivity=sensitivity, compensation=False)
        result = compress.run(wanted, reporter(memory))
        stages = [event.stage for event in memory.events if isinstance(event, StageStarted)]
        assert stages == ["load", "modifier-0", "save"]
        assert len(result["expected_modules"]) == 14
        assert (result["calibration"] is None) == (sensitivity == "none")
        steps = [event.done for event in memory.events if isinstance(event, Progress) and event.stage == "modifier-0"]
        assert steps == sorted(steps)
        hashes.add(result["tensors_sha256"])
    assert len(hashes) == 2


def test_that_only_the_fisher_measure_announces_its_pass():
    method = find("squeezellm-w4")
    for sensitivity, there in (("fisher", True), ("activation", False), ("none", False)):
        modifiers = method.modifiers({**method.defaults(None), "sensitivity": sensitivity})
        assert fisher_stage.wanted(modifiers) is there


def test_that_a_modifier_without_its_sensitivities_says_so(tmp_path: Path):
    from core.worker.codebook.squeezellm import SqueezeLLMModifier

    class State:
        model = torch.nn.Sequential(torch.nn.Linear(4, 4))

    State.model.get_input_embeddings = lambda: None  # type: ignore[assignment]
    with pytest.raises(BitpressError, match="are not there"):
        SqueezeLLMModifier().initialize(State())  # type: ignore[arg-type]
