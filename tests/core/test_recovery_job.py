"""Facts about recovery as a job: on a finished artifact, and as a step between pressing and proof."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_worker import finished
from test_compression import PASSED, PRESSED, during, perform, plan, pressing, proving, stage, wanted

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.compression import compression
from core.jobs.protocol import FinishReason
from core.jobs.recovery import Recovery, recovery
from core.jobs.snapshot import Phase
from core.methods.catalogue import find
from core.methods.recipe_command import read_command, recipe_command
from core.methods.recipe_document import RecipeDocument, edited_text, read_document, recipe_text
from core.methods.recovery import RecoverySpec, recovery_settings
from core.methods.resolve_recipe import resolve_recipe
from core.models.artifact import Manifest, read_manifest, write_manifest
from core.plan.recovery_check import impossible


def estimate(value: float, spread: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def outcome(*, helped: bool) -> dict[str, Any]:
    return {
        "recovery": {
            "helped": helped,
            "before": estimate(0.3),
            "after": estimate(0.1 if helped else 0.3),
            "change": estimate(-0.2 if helped else 0.0),
            "trained": {"scales": 12},
            "changed_tensors": ["a.weight_scale"] if helped else [],
            "judged_samples": 16,
        },
        "versions": {"torch": "2"},
        "calibration": None,
        "bytes": 1000,
        "tensors_sha256": "recovered" if helped else "abc",
    }


def recovering(*, helped: bool, instead: tuple[dict[str, Any], ...] = ()) -> list[dict[str, Any]]:
    written = [{"write": "recovered.safetensors"}] if helped else []
    return [plan("train"), *stage("train", *written, *instead), finished(outcome(helped=helped))]


def asked(folder: Path) -> Recovery:
    artifact = folder / "artifact"
    artifact.mkdir()
    (artifact / "model.safetensors").write_text("weights")
    return Recovery(
        original=Path("/models/smol"),
        artifact=artifact,
        output=folder / "out",
        spec=RecoverySpec(),
        calibration=CalibrationSpec(),
        app_version="0.2",
    )


def with_recovery(output: Path) -> Any:
    plain = wanted(output)
    return compression(replace(plain, recipe=plain.recipe.model_copy(update={"recovery": RecoverySpec(minutes=3)})))


def test_that_a_recovered_artifact_is_proved_and_says_what_it_came_from(tmp_path: Path) -> None:
    job = asked(tmp_path)
    manifest = Manifest(
        made_from="/models/smol",
        recipe=resolve_recipe("gptq-w4a16", {}, None, None),
        method_title="GPTQ W4A16",
        created="2026-01-01T00:00:00Z",
        expected_modules=("layers.0.q_proj",),
    )
    write_manifest(job.artifact, manifest)
    snapshot, _, _ = perform(tmp_path, recovery(job), {"recover": recovering(helped=True), "prove": proving(PASSED)})
    assert snapshot.reason is FinishReason.COMPLETED
    assert snapshot.result["output"] == str(job.output)
    assert [state.stage.id for state in snapshot.stages] == ["train", "prove-load", "prove-kl"]
    found = read_manifest(job.output)
    assert found is not None
    assert found.recovered is not None
    assert found.recovered_from == str(job.artifact)
    assert (found.proved, found.tensors_sha256, found.app_version) == (True, "recovered", "0.2")
    assert found.expected_modules == manifest.expected_modules
    assert read_manifest(job.artifact) == manifest


def test_that_a_recovery_without_gain_writes_nothing_and_says_so(tmp_path: Path) -> None:
    job = asked(tmp_path)
    snapshot, _, _ = perform(tmp_path, recovery(job), {"recover": recovering(helped=False)})
    assert snapshot.reason is FinishReason.COMPLETED
    assert snapshot.result["output"] is None
    assert [warning.code for warning in snapshot.warnings] == ["recovery-without-gain"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "home", "scripts"]


def test_that_a_recovered_artifact_that_fails_its_proof_is_not_kept(tmp_path: Path) -> None:
    job = asked(tmp_path)
    failed = {"passed": False, "seconds": 1.0, "checks": [{"name": "kl", "passed": False, "detail": "7 nats"}]}
    snapshot, _, _ = perform(tmp_path, recovery(job), {"recover": recovering(helped=True), "prove": proving(failed)})
    assert snapshot.reason is FinishReason.FAILED
    assert snapshot.problem is not None
    assert snapshot.problem.code == "proof-failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "home", "scripts"]


@pytest.mark.parametrize("helped", [True, False])
def test_that_a_compression_is_recovered_before_its_proof_where_that_helps(helped: bool, tmp_path: Path) -> None:
    script = {"compress": pressing(), "recover": recovering(helped=helped), "prove": proving(PASSED)}
    snapshot, _, _ = perform(tmp_path, with_recovery(tmp_path / "out"), script)
    assert snapshot.reason is FinishReason.COMPLETED
    assert [state.stage.id for state in snapshot.stages] == ["load", "save", "recover-train", "prove-load", "prove-kl"]
    assert snapshot.result["recovery"]["helped"] is helped
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (manifest.recovered is not None) is helped
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"bitpress.json", "recovered.safetensors" if helped else "model.safetensors"}
    assert snapshot.result["tensors_sha256"] == ("recovered" if helped else PRESSED["tensors_sha256"])
    assert [warning.code for warning in snapshot.warnings] == ([] if helped else ["recovery-without-gain"])


def test_that_a_recovery_that_breaks_leaves_the_compression_as_it_was(tmp_path: Path) -> None:
    problem = {"code": "recovery-not-possible", "message": "It cannot.", "hint": ""}
    broken = [
        plan("train"),
        {"write": "half.safetensors"},
        {"event": {"type": "finished", "reason": "failed", "problem": problem}},
    ]
    script = {"compress": pressing(), "recover": broken, "prove": proving(PASSED)}
    snapshot, _, _ = perform(tmp_path, with_recovery(tmp_path / "out"), script)
    assert snapshot.reason is FinishReason.COMPLETED
    assert [warning.code for warning in snapshot.warnings] == ["recovery-failed"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bitpress.json", "model.safetensors"}


def test_that_cancelling_during_the_recovery_leaves_no_folder(tmp_path: Path) -> None:
    async def cancel(queue: Any, run: Any, _snapshot: Any) -> None:
        await queue.cancel(run.id)

    slow = recovering(helped=True, instead=({"sleep": 30},))
    script = {"compress": pressing(), "recover": slow, "prove": proving(PASSED)}
    snapshot, _, _ = perform(tmp_path, with_recovery(tmp_path / "out"), script, during("recover-train", cancel))
    assert (snapshot.phase, snapshot.reason) == (Phase.FINISHED, FinishReason.CANCELLED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "scripts"]


def test_that_a_recipe_with_a_recovery_is_written_and_read_back() -> None:
    spec = RecoverySpec(minutes=3.5, norms=False, adapters="kept", tokens=5000)
    recipe = resolve_recipe("gptq-w4a16", {}, None, None, 4, recovery=spec)
    document = read_document(recipe_text(recipe))
    assert isinstance(document, RecipeDocument)
    assert document.resolved(None) == recipe
    read = read_command(recipe_command(recipe, None))
    assert isinstance(read, RecipeDocument)
    assert read.resolved(None) == recipe
    without = recipe.model_copy(update={"recovery": None})
    again = read_document(edited_text(recipe_text(recipe), without, None))
    assert isinstance(again, RecipeDocument)
    assert again.recovery is None


def test_that_a_data_free_method_keeps_the_data_that_its_recovery_trains_on() -> None:
    data = CalibrationSpec(samples=64)
    assert resolve_recipe("fp8-dynamic", {}, data, None).calibration is None
    assert resolve_recipe("fp8-dynamic", {}, data, None, recovery=RecoverySpec()).calibration == data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recovery:\n  minuts: 3\n", "has no 'minuts'"),
        ("recovery:\n  minutes: soon\n", "minutes cannot be"),
        ("recovery: yes\n", "made of `name: value` lines"),
    ],
)
def test_that_a_fault_in_a_recovery_is_told_at_its_line(text: str, said: str) -> None:
    faults = read_document(f"method: gptq-w4a16\n{text}")
    assert not isinstance(faults, RecipeDocument)
    assert any(said in fault.message for fault in faults)
    assert all(fault.line >= 2 for fault in faults)


@pytest.mark.parametrize("item", ["minuts=3", "minutes", "minutes=soon", "adapters=both", "rank=0"])
def test_that_a_wrong_setting_of_a_recovery_is_refused(item: str) -> None:
    with pytest.raises(BitpressError) as error:
        recovery_settings([item])
    assert error.value.problem.code == "bad-recovery"


def test_that_methods_whose_artifacts_cannot_be_trained_are_named() -> None:
    def why(identity: str, **parameters: Any) -> str | None:
        return impossible(find(identity), resolve_recipe(identity, parameters, None, None))

    assert why("gptq-w4a16") is None
    assert why("awq-w4a16") is None
    assert "activations" in (why("fp8-dynamic") or "")
    assert "Keys and values" in (why("gptq-w4a16", kv_cache="fp8") or "")
