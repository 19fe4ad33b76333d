"""Every row of the preflight table: what triggers it, what is found before the start, and that the mend mends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from llama_shapes import GIB, gpu, llama_model, llama_survey, machine

from core.calibration.builtin import prompts
from core.calibration.spec import CalibrationSpec
from core.errors import Problem
from core.methods.catalogue import METHODS, find
from core.models.local_model import LocalModel, Remark, Weights
from core.models.survey import Survey, SurveyedModule
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.mend import Draft, applied, next_mend, together
from core.plan.preflight import in_order, preflight
from core.plan.setting_check import resolved
from core.value import Json

BLOCKS, WARNS, NOTES = Severity
H100 = machine(gpu((9, 0), total=80 * GIB))
WIDE = llama_survey(layers=2, hidden=4096, intermediate=11008, heads=32, kv_heads=8)
ODD = llama_survey(layers=2, hidden=520, intermediate=1032, heads=8, kv_heads=8)
LARGE = llama_model(bytes=16 * 10**9, hidden_size=4096, context_length=131_072)


@dataclass(frozen=True)
class Row:
    """A cause: the job that has it, and the finding. `fix` None: nothing is offered; `...`: any."""

    code: str
    severity: Severity
    method: str = "gptq-w4a16"
    overrides: dict[str, Json] = field(default_factory=dict)
    calibration: CalibrationSpec | None = None
    model: LocalModel = field(default_factory=llama_model)
    survey: Survey | None = field(default_factory=llama_survey)
    where: Machine = H100
    device: str = "auto"
    problem: Problem | None = None
    fix: Json = None
    says: str = ""


def without(survey: Survey, *endings: str, architecture: str = "") -> Survey:
    """A model that lacks layers."""
    kept = tuple(module for module in survey.modules if not module.name.endswith(endings))
    return survey.model_copy(update={"modules": kept, "architecture": architecture or survey.architecture})


def renamed(old: str, new: str, architecture: str) -> Survey:
    survey = llama_survey(layers=2)
    modules = tuple(module.model_copy(update={"name": module.name.replace(old, new)}) for module in survey.modules)
    return survey.model_copy(update={"modules": modules, "architecture": architecture})


def convolutions() -> Survey:
    """GPT-2's kind: weights in Conv1D."""
    survey = llama_survey(layers=1, architecture="GPT2LMHeadModel")
    kinds = {"Linear": "Conv1D"}
    modules = tuple(
        module if module.name == "lm_head" else module.model_copy(update={"kind": kinds.get(module.kind, module.kind)})
        for module in survey.modules
    )
    return survey.model_copy(update={"modules": modules})


def experts(count: int) -> Survey:
    survey = llama_survey(layers=1, architecture="MixtralForCausalLM")
    fused = SurveyedModule(
        name="model.layers.0.mlp.experts", kind="MixtralExperts", shape=(count, 64, 64), elements=count * 64 * 64 * 3
    )
    return survey.model_copy(update={"modules": (*survey.modules, fused)})


def remark(code: str) -> tuple[Remark, ...]:
    return (Remark(code=code, level="blocks", message="It cannot be used."),)


ROWS = (
    # Divisibility, for every kind of scheme that has groups.
    Row("group-size", BLOCKS, overrides={"group_size": 128}, fix={"group_size": 64}, says="576 columns"),
    Row("group-size", BLOCKS, "rtn-w8a16", {"group_size": 128}, fix={"group_size": 64}),
    Row("group-size", BLOCKS, "rtn-w4afp8", {"group_size": 128}, fix={"group_size": 64}),
    Row("group-size", BLOCKS, "awq-w4a16", {"group_size": 128}, fix={"group_size": 64}),
    Row("group-size", BLOCKS, "autoround-w4a16", {"group_size": 128}, fix={"group_size": 64}),
    Row("group-size", BLOCKS, overrides={"group_size": 64}, survey=ODD, fix={"group_size": "channel"}),
    Row("group-size", BLOCKS, "nvfp4", survey=ODD, fix={"method": "fp8-dynamic"}),
    Row("group-size", BLOCKS, "mxfp4a16", survey=ODD, fix={"method": "fp8-dynamic"}),
    Row("group-size", BLOCKS, "mixed", {"group_size": 128}, fix=...),
    Row("block-size", BLOCKS, "fp8-block", fix=..., says="could not run"),
    Row("block-size", BLOCKS, "fp8-block", survey=ODD, fix={"method": "fp8-dynamic"}),
    # Settings that llmcompressor refuses.
    Row("actorder-removed", BLOCKS, overrides={"actorder": "group"}, fix={"actorder": "static"}, says="removed"),
    Row(
        "unknown-scheme",
        BLOCKS,
        "mixed",
        {"rules": {"re:.*mlp.*": "W4A61"}},
        fix={"rules": {"re:.*mlp.*": "W4A16"}},
        says="Did you mean W4A16?",
    ),
    # Accelerators.
    Row("awq-on-processor", NOTES, "awq-w4a16", where=machine(), says="takes about"),
    Row("autoround-on-processor", WARNS, "autoround-w4a16", where=machine(), fix={"method": "gptq-w4a16"}),
    # Rotations.
    Row("rotation-size", BLOCKS, "spinquant-w4a16", {"rotation_block": 512}, fix={"rotation_block": "whole"}),
    Row(
        "rotation-size",
        BLOCKS,
        "spinquant-w4a16",
        survey=llama_survey(layers=1, hidden=4160, intermediate=8320, heads=65, kv_heads=65),
        fix={"rotation_block": 64},
    ),
    Row(
        "rotation-architecture",
        BLOCKS,
        "spinquant-w4a16",
        survey=without(llama_survey(), "gate_proj", architecture="OPTForCausalLM"),
        fix={"method": "gptq-w4a16"},
    ),
    Row("head-untied", NOTES, "spinquant-w4a16", says="56.6 MB more"),
    # Data.
    Row("few-samples", WARNS, calibration=CalibrationSpec(samples=4), fix={"samples": 128}),
    Row("few-prompts", WARNS, calibration=CalibrationSpec(samples=5000), fix={"samples": len(prompts())}),
    Row("longer-than-context", WARNS, calibration=CalibrationSpec(max_length=9000), fix={"max_length": 8192}),
    Row("calibration-missing", BLOCKS, calibration=CalibrationSpec(source="/nowhere/a"), fix={"source": "self-chat"}),
    Row("no-chat-template", WARNS, model=llama_model(chat_template=False)),
    # What is compressed.
    Row("ignore-unmatched", BLOCKS, "fp8-dynamic", {"ignore": ["lm_haed"]}, fix={"ignore": ["lm_head"]}),
    Row(
        "rules-unmatched",
        BLOCKS,
        "mixed",
        {"rules": {"re:.*self_attn.*": "FP8_DYNAMIC", "down_prj": "W4A16"}},
        fix={"rules": {"re:.*self_attn.*": "FP8_DYNAMIC", "re:.*down_proj$": "W4A16"}},
        says="did you mean",
    ),
    Row("nothing-to-compress", BLOCKS, "fp8-dynamic", {"ignore": ["Linear"]}, fix={"ignore": ["lm_head"]}),
    Row("nothing-to-compress", BLOCKS, "fp8-dynamic", survey=convolutions(), says="Conv1D"),
    Row("tied-head", WARNS, "fp8-dynamic", {"ignore": []}, fix={"ignore": ["lm_head"]}, says="a second time"),
    Row("no-experts", BLOCKS, "reap", fix={"method": "fp8-dynamic"}),
    Row("no-expert-dropped", BLOCKS, "reap", {"sparsity": 0.05}, survey=experts(8), fix=...),
    Row("zeros-save-nothing", WARNS, "sparsegpt", {"then": "none"}, fix={"then": "fp8-dynamic"}),
    Row("mask-decides", WARNS, "wanda", {"mask": "2:4", "sparsity": 0.7}, fix={"sparsity": 0.5}),
    Row("byte-per-weight", NOTES, "rtn-w4afp8", survey=WIDE, model=LARGE, fix={"method": "gptq-w4a16"}),
    Row("kv-cache-architecture", BLOCKS, overrides={"kv_cache": "fp8"}, fix={"kv_cache": "none"},
        survey=renamed("self_attn.q_proj", "attention.query_key_value", "GPTNeoXForCausalLM").model_copy(
            update={"modules": without(renamed("self_attn.q_proj", "attention.query_key_value", "GPTNeoXForCausalLM"),
                                       "k_proj", "v_proj").modules})),
    Row("kv-cache-architecture", BLOCKS, "fp8-kv-cache", survey=llama_survey(architecture="OPTForCausalLM"),
        fix={"method": "fp8-dynamic"}),
    Row("smoothing-mappings", BLOCKS, "smoothquant-gptq-w8a8", fix={"method": "gptq-w8a8"},
        survey=without(llama_survey(), "q_proj", "k_proj", architecture="OwnForCausalLM")),
    Row("awq-mappings", BLOCKS, "awq-w4a16", fix={"method": "gptq-w4a16"},
        survey=without(llama_survey(), "q_proj", "k_proj", architecture="OwnForCausalLM")),
    # The model.
    Row("already-quantized", BLOCKS, model=llama_model(quantization="gptq"), says="Choose the original"),
    Row("pickle", BLOCKS, model=llama_model(weights=Weights.PICKLE), survey=None),
    Row("gguf", BLOCKS, model=llama_model(weights=Weights.GGUF), survey=None, says="Import it"),
    Row("remote-code", BLOCKS, model=llama_model(remote_code=True), survey=None),
    Row("no-tokenizer", BLOCKS, model=llama_model(tokenizer=False)),
    Row("truncated-weights", BLOCKS, model=llama_model(remarks=remark("truncated-weights"))),
    *(
        Row(code, BLOCKS, survey=None, problem=Problem(code=code, message="Not built.", hint="Fetch it."), says="Fetch")
        for code in ("unknown-architecture", "config-mismatch", "bad-config")
    ),
    Row("not-surveyed", NOTES, survey=None),
    # The machine.
    Row("disk-too-small", BLOCKS, where=machine(disk_free=10**6), says="1.0 MB free"),
    Row("disk-tight", WARNS, where=machine(disk_free=150_000_000)),
    Row("memory-too-small", BLOCKS, where=machine(memory_available=GIB // 4)),
    Row("memory-tight", WARNS, model=LARGE, survey=WIDE, fix=...,
        calibration=CalibrationSpec(source=__file__, samples=4096, max_length=4096),
        where=machine(memory_available=200 * GIB, memory_total=256 * GIB), says="it fits"),
    Row("memory-too-small", BLOCKS, model=LARGE, survey=WIDE, fix=...,
        calibration=CalibrationSpec(source=__file__, samples=4096, max_length=4096),
        where=machine(memory_available=40 * GIB, memory_total=64 * GIB), says="it fits"),
    Row("gpu-too-small", BLOCKS, where=machine(gpu((9, 0), free=GIB // 4, others_bytes=23 * GIB)), says="23.0 GiB"),
    Row("gpu-tight", WARNS, where=machine(gpu((9, 0), free=5 * GIB)), fix=...,
        calibration=CalibrationSpec(source=__file__, samples=4096, max_length=8192), says="it fits"),
    Row("gpu-shared", NOTES, where=machine(gpu((9, 0), others_bytes=4 * GIB))),
    Row("no-gpu", NOTES, where=machine(), says="runs on the processor"),
    Row("torch-without-cuda", NOTES, where=machine(gpu((9, 0)), jobs_on_gpu=False)),
    Row("no-kernels", WARNS, "rtn-w8a8", where=machine(gpu((12, 0))), fix=..., says="Test GPU 12.0"),
    Row("no-kernels", NOTES, "fp8-dynamic", where=machine(gpu((8, 6))), fix=..., says="weights only"),
    Row("too-large-to-run", WARNS, where=machine(gpu((9, 0), total=GIB // 8, free=20 * GIB))),
    Row("no-such-device", BLOCKS, where=machine(), device="cuda", says="No NVIDIA driver"),
    Row("no-such-device", BLOCKS, device="cuda:3", says="There is 1 GPU"),
    Row("no-such-device", BLOCKS, where=machine(gpu((9, 0)), jobs_on_gpu=False), device="cuda:0", says="without CUDA"),
)  # fmt: skip

EACH = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.code}-{row.method}")


def planned(row: Row, asked: Draft) -> tuple[Finding, ...]:
    """The findings as the window and the command line make them."""
    recipe, wrong = resolved(find(asked.method), asked.overrides, asked.calibration, row.survey)
    found = preflight(
        row.model, row.survey, recipe, row.where, asked.output, problem=row.problem, device=row.device
    )  # fmt: skip
    return in_order((*wrong, *found))


def asked_of(row: Row) -> Draft:
    return Draft(method=row.method, overrides=row.overrides, calibration=row.calibration)


def the(code: str, findings: tuple[Finding, ...]) -> Finding:
    found = [finding for finding in findings if finding.code == code]
    assert len(found) == 1, [finding.code for finding in findings]
    return found[0]


@EACH
def test_that_the_cause_is_found_before_the_job_starts(row: Row) -> None:
    finding = the(row.code, planned(row, asked_of(row)))
    assert finding.severity is row.severity
    assert row.says in finding.message
    assert finding.message.endswith((".", "?"))
    assert bool(finding.fix) is bool(row.fix)
    if row.fix not in (None, ...):
        assert finding.fix == row.fix


@pytest.mark.parametrize("row", [row for row in ROWS if row.fix], ids=lambda row: f"{row.code}-{row.method}")
def test_that_the_mend_gives_a_plan_without_the_finding(row: Row) -> None:
    asked = asked_of(row)
    finding = the(row.code, planned(row, asked))
    assert finding.fix
    after = planned(row, applied(asked, finding.fix))
    assert row.code not in {each.code for each in after}
    before = {each.code for each in planned(row, asked) if each.severity is Severity.BLOCKS}
    assert {each.code for each in after if each.severity is Severity.BLOCKS} <= before


# The output folder ----------------------------------------------------------------------------------------------------


def exists(place: Path) -> Path:
    (place / "out").mkdir()
    return place / "out"


def inside(place: Path) -> Path:
    return place / "model" / "out"


def itself(place: Path) -> Path:
    return place / "model"


def under_a_file(place: Path) -> Path:
    (place / "file").write_text("x")
    return place / "file" / "out"


def too_long(place: Path) -> Path:
    return place / ("é" * 120)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (exists, "output-exists"),
        (inside, "output-inside-model"),
        (itself, "output-is-model"),
        (under_a_file, "output-not-writable"),
        (too_long, "output-name-too-long"),
    ],
)
def test_that_a_place_that_cannot_be_written_is_mended_with_a_free_one(
    tmp_path: Path, make: Callable[[Path], Path], code: str
) -> None:
    (tmp_path / "model").mkdir()
    row = Row(code, BLOCKS, model=llama_model(tmp_path / "model"))
    asked = asked_of(row).model_copy(update={"output": make(tmp_path)})
    finding = the(code, planned(row, asked))
    assert finding.severity is BLOCKS
    assert finding.fix
    mended = applied(asked, finding.fix)
    assert mended.output is not None
    assert not os.path.lexists(mended.output)
    assert [each for each in planned(row, mended) if each.severity is BLOCKS] == []


def test_that_a_folder_that_may_not_be_written_is_mended_with_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may write everywhere, so the system's answer is given here.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    row = Row("output-not-writable", BLOCKS)
    asked = asked_of(row).model_copy(update={"output": tmp_path / "out"})
    finding = the("output-not-writable", planned(row, asked))
    assert finding.fix == {"output": None}
    assert applied(asked, finding.fix).output is None


# Several at once ------------------------------------------------------------------------------------------------------


def mended(row: Row, asked: Draft) -> tuple[Draft, tuple[Finding, ...]]:
    done: list[Finding] = []
    while (mend := next_mend(planned(row, asked), done)) is not None:
        done.append(mend)
        asked = applied(asked, mend.fix or {})
    return asked, tuple(done)


def test_that_everything_that_blocks_is_mended_one_after_the_other(tmp_path: Path) -> None:
    row = Row("group-size", BLOCKS)
    asked = Draft(
        method="gptq-w4a16",
        overrides={"group_size": 128, "actorder": "group", "ignore": ["lm_haed", "donw_proj"]},
        calibration=CalibrationSpec(source="/nowhere/a.txt"),
        output=exists(tmp_path),
    )
    blocking = {finding.code for finding in planned(row, asked) if finding.severity is BLOCKS}
    assert blocking == {
        "actorder-removed", "group-size", "ignore-unmatched", "output-exists", "calibration-missing",
    }  # fmt: skip
    after, done = mended(row, asked)
    assert {finding.code for finding in done} == blocking
    assert [finding for finding in planned(row, after) if finding.severity is BLOCKS] == []
    assert after.overrides == {"group_size": 64, "actorder": "static", "ignore": ["lm_head", "re:.*down_proj$"]}
    assert applied(asked, together(done)) == after


def test_that_mending_ends_where_nothing_helps() -> None:
    row = Row("no-tokenizer", BLOCKS, model=llama_model(tokenizer=False))
    assert mended(row, asked_of(row)) == (asked_of(row), ())
    looping = Finding(code="x", severity=BLOCKS, message="X.", fix={"group_size": 64})
    assert next_mend((looping,), ()) == looping
    assert next_mend((looping,), (looping,)) is None


def test_that_another_method_takes_only_the_ignored_layers_along() -> None:
    asked = Draft(method="fp8-block", overrides={"ignore": ["lm_head", "re:.*o_proj$"], "observer": "mse"})
    after = applied(asked, {"method": "fp8-dynamic"})
    assert after == Draft(method="fp8-dynamic", overrides={"ignore": ["lm_head", "re:.*o_proj$"]})


# What cannot happen ---------------------------------------------------------------------------------------------------


def test_that_scales_are_never_searched_without_rounding_behind_and_never_for_whole_tensors() -> None:
    """AWQ last in a recipe, and AWQ with one scale a tensor, are refused by llmcompressor; no entry can make them."""
    for method in METHODS:
        specs = method.modifiers(method.defaults(llama_survey()))
        for place, spec in enumerate(specs):
            if spec.name in ("AWQModifier", "SmoothQuantModifier", "SpinQuantModifier"):
                assert specs[place + 1].name in ("QuantizationModifier", "GPTQModifier")
            if spec.name == "AWQModifier":
                groups = specs[place + 1].arguments["config_groups"].values()
                assert {group["weights"]["strategy"] for group in groups} <= {"group", "channel"}


def test_that_every_method_says_what_it_needs_data_for_and_gets_it() -> None:
    """No modifier that needs data is ever without: the built-in chat is taken where none is named."""
    for method in METHODS:
        recipe, _ = resolved(method, {}, None, llama_survey())
        assert (recipe.calibration is not None) is method.calibrates(recipe.parameters)
