"""What preflight says of a recovery: what it takes, what it cannot do, and the mend."""

from __future__ import annotations

import pytest
from llama_shapes import GIB, llama_model, llama_survey, machine

from core.calibration.spec import CalibrationSpec
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.methods.resolve_recipe import resolve_recipe
from core.plan.estimate import estimate, planned_job
from core.plan.finding import Finding, Severity
from core.plan.mend import Draft, applied
from core.plan.recovery_check import START, recovery_bytes, recovery_findings

DATA = CalibrationSpec(source="/data/texts.jsonl", samples=128, max_length=256)


def recipe(method: str, spec: RecoverySpec | None, data: CalibrationSpec = DATA) -> Recipe:
    return resolve_recipe(method, {}, data, llama_survey(), recovery=spec)


def findings(asked: Recipe) -> list[Finding]:
    job = planned_job(llama_model(), llama_survey(), asked)
    return list(recovery_findings(find(asked.method), asked, job.shape))


def test_that_a_recovery_adds_its_time_its_memory_and_a_second_copy_on_disk() -> None:
    spec = RecoverySpec(minutes=10)
    plain, more = (
        estimate(llama_model(), llama_survey(), recipe("gptq-w4a16", each), machine(), ()) for each in (None, spec)
    )
    assert 30 < more.seconds.value - plain.seconds.value < 15 * 60
    assert more.disk_bytes >= plain.disk_bytes + plain.artifact_bytes
    assert more.host_bytes.high > plain.host_bytes.high
    assert more.artifact_bytes == plain.artifact_bytes


def test_that_the_memory_estimate_holds_what_was_measured_on_the_starter_model() -> None:
    """2.61 GiB at the peak, GPTQ W4A16 with batches of 1,024 tokens on two cores."""
    job = planned_job(llama_model(), llama_survey(), recipe("gptq-w4a16", RecoverySpec()))
    assert START + recovery_bytes(job.shape, job.weights, RecoverySpec()) == pytest.approx(2.61 * GIB, rel=0.25)


@pytest.mark.parametrize("method", ["fp8-dynamic", "smoothquant-gptq-w8a8", "mxfp4a16"])
def test_that_what_a_gradient_cannot_go_through_blocks_and_the_mend_is_to_leave_recovery_out(method: str) -> None:
    (found,) = findings(recipe(method, RecoverySpec()))
    assert (found.code, found.severity) == ("recovery-not-possible", Severity.BLOCKS)
    draft = Draft(method=method, recovery=RecoverySpec())
    assert applied(draft, found.fix or {}).recovery is None
    assert findings(recipe(method, None)) == []


def test_that_too_few_samples_and_too_much_text_are_said_with_the_numbers() -> None:
    (few,) = findings(recipe("gptq-w4a16", RecoverySpec(), DATA.model_copy(update={"samples": 8})))
    assert "8 samples" in few.message
    assert "16" in few.message
    (much,) = findings(
        recipe("gptq-w4a16", RecoverySpec(), DATA.model_copy(update={"samples": 100_000, "max_length": 8192}))
    )
    assert "GiB" in much.message
    assert findings(recipe("gptq-w4a16", RecoverySpec())) == []
