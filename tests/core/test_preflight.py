from __future__ import annotations

from pathlib import Path

import pytest
from llama_shapes import GIB, gpu, llama_model, llama_survey, machine

from core.calibration.overlap import evaluation_texts
from core.calibration.sets import SetStore
from core.calibration.spec import CalibrationSample, CalibrationSpec, MixPart
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel, Origin, Remark, Weights
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.preflight import preflight
from core.value import Json


def findings(
    method: str = "gptq-w4a16",
    overrides: dict[str, Json] | None = None,
    *,
    model: LocalModel | None = None,
    survey: Survey | None = None,
    calibration: CalibrationSpec | None = None,
    where: Machine | None = None,
    output: Path | None = None,
) -> dict[str, Finding]:
    survey = survey or llama_survey()
    recipe = resolve_recipe(method, overrides or {}, calibration, survey)
    return by_code(preflight(model or llama_model(), survey, recipe, where or machine(gpu((8, 6))), output))


def by_code(found: tuple[Finding, ...]) -> dict[str, Finding]:
    assert len({finding.code for finding in found}) == len(found)
    return {finding.code: finding for finding in found}


def mended(finding: Finding, method: str, survey: Survey) -> dict[str, Finding]:
    """The findings after the fix was applied."""
    assert finding.fix is not None
    return findings(method, finding.fix, survey=survey)


def test_that_a_good_plan_has_nothing_but_the_note_on_its_group_size():
    assert set(findings()) == {"group-size-chosen"}
    assert findings("smoothquant-gptq-w8a8") == {}


def test_that_the_chosen_group_size_is_said_with_its_reason():
    note = findings()["group-size-chosen"]
    assert note.severity is Severity.NOTES
    assert "64" in note.message
    assert "576 columns in 180 of 210 layers" in note.message


def test_that_a_group_size_that_does_not_divide_is_refused_with_one_that_does():
    finding = findings(overrides={"group_size": 128})["group-size"]
    assert finding.severity is Severity.BLOCKS
    assert finding.fix == {"group_size": 64}
    assert "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj" in finding.message
    assert set(mended(finding, "gptq-w4a16", llama_survey())) == {"group-size-chosen"}


def test_that_layers_that_no_group_size_divides_can_be_left_alone():
    survey = llama_survey(hidden=576, intermediate=1500)
    finding = findings(survey=survey)["group-size"]
    assert finding.fix == {"group_size": 64, "ignore": ["lm_head", "re:.*down_proj$"]}
    assert "group-size" not in mended(finding, "gptq-w4a16", survey)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("lm_haed", "lm_head"),
        ("down_proj", "re:.*down_proj$"),
        ("model.layers.0", r"re:model\.layers\.0\."),
        ("mlp", r"re:.*mlp\."),
        ("donw_proj", "re:.*down_proj$"),
        ("re:down_proj", "re:.*down_proj"),
    ],
)
def test_that_a_layer_that_is_not_there_is_answered_with_the_one_that_was_meant(pattern: str, meant: str):
    finding = findings("fp8-dynamic", {"ignore": ["lm_head", pattern]})["ignore-unmatched"]
    assert finding.severity is Severity.BLOCKS
    assert finding.fix == {"ignore": list(dict.fromkeys(["lm_head", meant]))}
    assert "ignore-unmatched" not in mended(finding, "fp8-dynamic", llama_survey())


def test_that_a_layer_like_none_is_dropped():
    finding = findings("fp8-dynamic", {"ignore": ["lm_head", "zzzzzz"]})["ignore-unmatched"]
    assert finding.fix == {"ignore": ["lm_head"]}


def test_that_leaving_everything_alone_is_refused():
    finding = findings("fp8-dynamic", {"ignore": ["Linear"]})["nothing-to-compress"]
    assert finding.severity is Severity.BLOCKS
    assert mended(finding, "fp8-dynamic", llama_survey()) == findings("fp8-dynamic")


def test_that_compressing_a_tied_head_is_warned_of_with_what_it_costs():
    finding = findings("fp8-dynamic", {"ignore": []})["tied-head"]
    assert finding.severity is Severity.WARNS
    assert "28.4 MB" in finding.message
    assert finding.fix == {"ignore": ["lm_head"]}


def test_that_smoothing_an_architecture_that_llmcompressor_cannot_map_is_refused():
    survey = llama_survey(architecture="StrangeForCausalLM")
    kept = tuple(module for module in survey.modules if not module.name.endswith(("q_proj", "k_proj")))
    survey = survey.model_copy(update={"modules": kept})
    finding = findings("smoothquant-gptq-w8a8", survey=survey)["smoothing-mappings"]
    assert finding.severity is Severity.BLOCKS
    assert "q_proj, k_proj" in finding.message
    like_llama = findings("smoothquant-gptq-w8a8", survey=llama_survey(architecture="NewForCausalLM"))
    assert like_llama["smoothing-mappings"].severity is Severity.NOTES


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"weights": Weights.PICKLE}, "pickle"),
        ({"weights": Weights.GGUF}, "gguf"),
        ({"remote_code": True}, "remote-code"),
        ({"tokenizer": False}, "no-tokenizer"),
        ({"quantization": "gptq"}, "already-quantized"),
        ({"remarks": (Remark(code="truncated", level="blocks", message="5 bytes are missing."),)}, "truncated"),
    ],
)
def test_that_a_model_that_cannot_be_compressed_is_refused(changes: dict[str, object], code: str):
    assert findings(model=llama_model(**changes))[code].severity is Severity.BLOCKS


def test_that_what_was_remarked_about_a_model_is_said_once():
    pickles = Remark(code="pickle", level="blocks", message="Its weights are pickles.")
    found = findings(model=llama_model(weights=Weights.PICKLE, remarks=(pickles,)))
    assert found["pickle"].message == "Its weights are pickles."


def test_that_the_starter_model_may_still_be_a_gguf_file():
    assert "gguf" not in findings(model=llama_model(weights=Weights.GGUF, origin=Origin.STARTER))


def test_that_a_model_without_a_chat_template_is_warned_of_where_it_makes_the_data():
    bare = llama_model(chat_template=False)
    assert findings(model=bare)["no-chat-template"].severity is Severity.WARNS
    assert "no-chat-template" not in findings("fp8-dynamic", model=bare, where=machine(gpu((9, 0))))


def test_that_a_recipe_without_data_is_refused_where_data_are_needed():
    recipe = resolve_recipe("gptq-w4a16", {}, None, llama_survey()).model_copy(update={"calibration": None})
    found = by_code(preflight(llama_model(), llama_survey(), recipe, machine(), None))
    assert found["no-calibration"].severity is Severity.BLOCKS


def test_that_a_recipe_written_by_hand_is_checked():
    def check(**parameters: Json) -> dict[str, Finding]:
        recipe = Recipe(method="gptq-w4a16", parameters=parameters, calibration=CalibrationSpec())
        return by_code(preflight(llama_model(), llama_survey(), recipe, machine(), None))

    assert check(group=64)["unknown-parameter"].severity is Severity.BLOCKS
    assert check(actorder="group")["actorder-removed"].severity is Severity.BLOCKS
    assert check(group_size=64)["incomplete-recipe"].fix is not None
    unknown = Recipe(method="gptq", parameters={})
    assert "unknown-method" in by_code(preflight(llama_model(), None, unknown, machine(), None))


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("gone.txt", None, "calibration-missing"),
        ("empty.jsonl", b"", "calibration-empty"),
        ("blank.txt", b"\n \n", "calibration-empty"),
        ("latin.txt", "caf\u00e9 au lait".encode("latin-1"), "calibration-encoding"),
        ("broken.jsonl", b'{"text": "fine"}\n{"text": \n', "calibration-format"),
        ("data.xlsx", b"PK", "calibration-format"),
        ("other.jsonl", b'{"label": 3}\n', "calibration-field"),
    ],
)
def test_that_bad_calibration_data_are_refused(tmp_path: Path, name: str, content: bytes | None, code: str):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    finding = findings(calibration=CalibrationSpec(source=str(path)))[code]
    assert finding.severity is Severity.BLOCKS
    assert name in finding.message


def test_that_mended_data_are_looked_at_again(tmp_path: Path):
    path = tmp_path / "data.txt"
    path.write_bytes(b"\xff\xff")
    spec = CalibrationSpec(source=str(path))
    assert "calibration-encoding" in findings(calibration=spec)
    path.write_text("Good text at last.", encoding="utf-8")
    assert "calibration-encoding" not in findings(calibration=spec)


def test_that_the_evaluation_text_is_refused_as_calibration_data(tmp_path: Path):
    path = tmp_path / "data.txt"
    path.write_text("\n\n".join([*evaluation_texts().values()][:3]), encoding="utf-8")
    finding = findings(calibration=CalibrationSpec(source=str(path)))["calibration-overlap"]
    assert finding.severity is Severity.BLOCKS
    assert "98%" in finding.message


def test_that_the_evaluation_text_is_refused_in_a_set_and_as_a_small_part_of_a_mix(tmp_path: Path):
    samples = [CalibrationSample(kind="text", text=text) for text in evaluation_texts().values()]
    store = SetStore(tmp_path)
    store.create("copied", CalibrationSpec(), samples)
    copied = store.pinned(CalibrationSpec(source="set:copied"))
    assert findings(calibration=copied)["calibration-overlap"].severity is Severity.BLOCKS
    parts = (MixPart(source="self-chat", weight=100), MixPart(source="set:copied"))
    finding = findings(calibration=store.pinned(CalibrationSpec(mix=parts)))["calibration-overlap"]
    assert finding.severity is Severity.BLOCKS
    assert "set:copied" in finding.message


def test_that_a_set_that_is_gone_changed_or_unknown_is_refused(tmp_path: Path):
    store = SetStore(tmp_path)
    store.create("mine", CalibrationSpec(), [CalibrationSample(kind="text", text="A letter to nobody.")])
    spec = store.pinned(CalibrationSpec(source="set:mine"))
    assert "few-samples" not in findings(calibration=spec)
    file = Path(spec.sets[0].file)
    file.write_bytes(b'{"text":"Another letter to nobody."}\n')
    assert findings(calibration=spec)["calibration-set-changed"].severity is Severity.BLOCKS
    file.unlink()
    assert findings(calibration=spec)["calibration-set-missing"].severity is Severity.BLOCKS
    unknown = CalibrationSpec(source="set:other")
    assert findings(calibration=unknown)["calibration-set-unknown"].severity is Severity.BLOCKS


def test_that_a_part_without_samples_is_warned_of():
    parts = (MixPart(source="self-chat", weight=1000), MixPart(source="built-in"))
    found = findings(calibration=CalibrationSpec(mix=parts, samples=64))
    assert "built-in" in found["calibration-part-empty"].message


def test_that_odd_amounts_of_data_are_warned_of():
    found = findings(calibration=CalibrationSpec(samples=8, max_length=16_384))
    assert {"few-samples", "longer-than-context"} <= set(found)
    assert "321" in findings(calibration=CalibrationSpec(samples=1000))["few-prompts"].message


def test_that_an_output_that_exists_is_refused_with_a_free_name(tmp_path: Path):
    output = tmp_path / "artifact"
    output.mkdir()
    (tmp_path / "artifact-2").mkdir()
    finding = findings(output=output)["output-exists"]
    assert finding.severity is Severity.BLOCKS
    assert finding.fix == {"output": str(tmp_path / "artifact-3")}


def test_that_a_dangling_link_counts_as_existing(tmp_path: Path):
    (tmp_path / "artifact").symlink_to(tmp_path / "nowhere")
    assert "output-exists" in findings(output=tmp_path / "artifact")


def test_that_an_output_in_the_model_or_under_a_file_is_refused(tmp_path: Path):
    inside = findings(model=llama_model(tmp_path), output=tmp_path / "out" / "deep")["output-inside-model"]
    assert inside.fix == {"output": str(tmp_path.parent / "deep")}
    (tmp_path / "file").write_text("x")
    assert "output-not-writable" in findings(output=tmp_path / "file" / "artifact")
    assert findings(output=tmp_path / "new" / "artifact").keys() == {"group-size-chosen"}


def test_that_an_output_in_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # The superuser may write everywhere, so the system's answer is given here.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    assert str(tmp_path) in findings(output=tmp_path / "new" / "artifact")["output-not-writable"].message


def test_that_a_disk_without_room_is_refused_with_both_figures():
    finding = findings(where=machine(gpu((8, 6)), disk_free=50_000_000))["disk-too-small"]
    assert finding.severity is Severity.BLOCKS
    assert "50.0 MB free" in finding.message
    assert "disk-tight" in findings(where=machine(gpu((8, 6)), disk_free=150_000_000))


def test_that_too_little_memory_is_refused_and_scarce_memory_warned_of():
    assert findings(where=machine(memory_available=GIB // 2))["memory-too-small"].severity is Severity.BLOCKS
    assert findings(where=machine(memory_available=GIB))["memory-tight"].severity is Severity.WARNS


def test_that_a_full_gpu_is_refused_with_who_holds_it():
    full = gpu((8, 6), free=GIB // 4, others_bytes=23 * GIB)
    finding = findings(where=machine(full))["gpu-too-small"]
    assert finding.severity is Severity.BLOCKS
    assert "Other programs hold 23.0 GiB" in finding.message
    shared = gpu((8, 6), free=20 * GIB, others_bytes=4 * GIB)
    assert findings(where=machine(shared))["gpu-shared"].severity is Severity.NOTES
    assert findings(where=machine(gpu((8, 6), free=2 * GIB)))["gpu-tight"].severity is Severity.WARNS


def test_that_a_machine_without_a_gpu_gets_one_note_on_what_that_means():
    found = findings("fp8-dynamic", where=machine())
    assert set(found) == {"no-gpu"}
    assert found["no-gpu"].severity is Severity.NOTES
    assert "No NVIDIA driver was found." in found["no-gpu"].message
    assert "GPTQ W4A16" in found["no-gpu"].message


@pytest.mark.parametrize("method", ["drop-blocks", "narrow-mlp"])
def test_that_a_smaller_model_of_16_bits_is_not_sent_to_a_gpu_elsewhere(method: str):
    said = findings(method, where=machine())["no-gpu"].message
    assert "elsewhere" not in said
    assert "On processors it runs as any 16-bit model." in said


def test_that_a_gpu_without_kernels_for_the_result_is_told_with_what_suits_it():
    older = findings("fp8-dynamic", where=machine(gpu((8, 6))))["no-kernels"]
    assert older.severity is Severity.NOTES
    assert "8-bit weights only" in older.message
    assert "GPTQ W4A16 or SmoothQuant + GPTQ W8A8" in older.message
    newer = findings("smoothquant-gptq-w8a8", where=machine(gpu((12, 0))))["no-kernels"]
    assert newer.severity is Severity.WARNS
    assert "FP8 dynamic or GPTQ W4A16" in newer.message


def test_that_a_torch_without_cuda_is_told():
    assert "torch-without-cuda" in findings(where=machine(gpu((8, 6)), jobs_on_gpu=False))


def test_that_what_blocks_comes_first():
    found = preflight(
        llama_model(quantization="awq"),
        llama_survey(),
        resolve_recipe("gptq-w4a16", {"ignore": []}, None, llama_survey()),
        machine(),
        None,
    )
    order = [finding.severity for finding in found]
    assert order == sorted(order, key=[Severity.BLOCKS, Severity.WARNS, Severity.NOTES].index)
    assert order[0] is Severity.BLOCKS


def test_that_every_message_is_whole_sentences():
    for where in (machine(), machine(gpu((12, 0), free=GIB // 4), disk_free=0, memory_available=0)):
        for method in ("fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8"):
            for finding in findings(method, {"ignore": ["nothing"]}, where=where).values():
                assert finding.message[0].isupper()
                assert finding.message.endswith(".")
                assert "  " not in finding.message
