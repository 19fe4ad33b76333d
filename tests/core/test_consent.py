"""Facts about consents to code that came with a model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from model_files import LLAMA, make_model

from core.errors import BitpressError
from core.jobs.launch import WorkerLaunch
from core.jobs.order import EvaluateOrder, kept_order, repeated
from core.jobs.protocol import AnyEvent, Finished, FinishReason
from core.jobs.run import OWN_CODE, NewRun, Run, RunKind
from core.jobs.trusted import trusting
from core.jobs.work import WorkContext
from core.measure.results import EvaluationSuite
from core.models.consent import Consent, foreign, given, keep, kept, kept_consent, with_consent, withdraw
from core.models.inspect import inspect
from core.models.own_code import OwnCode, TrustedCode, differing, own_code
from core.models.survey_store import fingerprint
from core.paths import Home
from core.plan.finding import CONSENT
from core.plan.mend import next_mend
from core.plan.model_check import model_findings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AUTO_MAP = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}


def a_model(place: Path, **config: object) -> Path:
    folder = make_model(place, {**LLAMA, "model_type": "own", "auto_map": AUTO_MAP, **config})
    (folder / "own.py").write_text("raise SystemExit\n")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def code_of(folder: Path) -> OwnCode:
    found = own_code(folder)
    assert found is not None
    return found


def agreed(home: Home, folder: Path, *, lasting: bool = True) -> Consent:
    consent = given(home, code_of(folder), now=NOW, version="1", lasting=lasting)
    if lasting:
        keep(home, consent)
    return consent


def test_that_a_consent_says_for_what_by_whom_and_when_and_can_be_withdrawn(home: Home, tmp_path: Path) -> None:
    consent = agreed(home, a_model(tmp_path / "model"))
    (found,) = kept(home)
    assert found == consent
    assert (found.model, found.path, found.given) == ("model", tmp_path / "model", NOW)
    assert [file.name for file in found.files] == ["own.py"]
    assert found.by
    assert withdraw(home, consent.fingerprint[:12]) == consent
    assert kept(home) == ()
    with pytest.raises(BitpressError, match="No consent"):
        withdraw(home, consent.fingerprint[:12])


def test_that_a_home_from_elsewhere_brings_no_consent(home: Home, tmp_path: Path) -> None:
    consent = agreed(home, a_model(tmp_path / "model"))
    brought = Home(tmp_path / "brought")
    shutil.copytree(home.root, brought.root)
    assert kept(brought) == ()
    assert foreign(brought) == 1
    # Nor does another one at the very same place.
    aside = home.root.rename(tmp_path / "aside")
    home.root.mkdir()
    shutil.copytree(aside / "consents", home.consents)
    assert kept_consent(home, consent.fingerprint) is None


@pytest.mark.parametrize("field", ["fingerprint", "files", "path", "given", "lasting", "seal"])
def test_that_a_consent_that_was_edited_counts_for_nothing(home: Home, tmp_path: Path, field: str) -> None:
    consent = agreed(home, a_model(tmp_path / "model"))
    (file,) = home.consents.iterdir()
    said = json.loads(file.read_text())
    said[field] = {
        "fingerprint": "0" * 64,
        "files": [{"name": "own.py", "bytes": 1, "sha256": "0" * 64}],
        "path": "/elsewhere",
        "given": "2020-01-01T00:00:00Z",
        "lasting": False,
        "seal": "",
    }[field]
    file.write_text(json.dumps(said))
    assert kept_consent(home, consent.fingerprint) is None
    assert kept(home) == ()


def test_that_a_link_or_a_torn_file_is_no_consent(home: Home, tmp_path: Path) -> None:
    consent = agreed(home, a_model(tmp_path / "model"))
    (file,) = home.consents.iterdir()
    file.rename(tmp_path / "kept.json")
    file.symlink_to(tmp_path / "kept.json")
    assert kept_consent(home, consent.fingerprint) is None
    file.unlink()
    file.write_bytes((tmp_path / "kept.json").read_bytes()[:40])
    assert kept_consent(home, consent.fingerprint) is None
    assert kept_consent(home, "../../settings") is None


def test_that_a_consent_makes_a_model_usable_and_one_byte_ends_it(home: Home, tmp_path: Path) -> None:
    folder = a_model(tmp_path / "model")
    before = inspect(folder)
    assert not before.usable
    assert before.needs_code == ("model",)
    consent = agreed(home, folder)
    model = with_consent(before, consent)
    assert model.usable
    assert model.consented
    assert next(remark.code for remark in model.remarks) == "own-code"
    assert not any(finding.severity == "blocks" for finding in model_findings(model))
    mark = fingerprint(folder)
    (folder / "own.py").write_text("raise SystemExit \n")
    changed = inspect(folder)
    assert not with_consent(changed, consent).usable
    assert differing(consent.trusted, code_of(folder)) == ("own.py was changed",)
    assert fingerprint(folder) != mark


def test_that_the_same_files_elsewhere_are_covered(home: Home, tmp_path: Path) -> None:
    consent = agreed(home, a_model(tmp_path / "model"))
    artifact = a_model(tmp_path / "artifact")
    # The loader of our own format lies in an artifact; it is no code of the model's, and is never run as such.
    (artifact / "loader").mkdir()
    (artifact / "loader" / "setup.py").write_text("")
    assert with_consent(inspect(artifact), consent).usable
    (artifact / "more").mkdir()
    (artifact / "more" / "setup.py").write_text("")
    assert not with_consent(inspect(artifact), consent).usable


@pytest.mark.parametrize(
    ("auto_map", "why"),
    [
        ({**AUTO_MAP, "AutoConfig": "other/repo--own.OwnConfig"}, "another repository, other/repo"),
        ({**AUTO_MAP, "AutoModel": "other/repo--own.Own"}, "another repository, other/repo"),
        ({**AUTO_MAP, "AutoConfig": "gone.OwnConfig"}, "gone.py, which is not in the folder"),
        ({**AUTO_MAP, "AutoConfig": "../own.OwnConfig"}, "not in the folder"),
        ({"AutoModelForCausalLM": "own.Own"}, "AutoConfig"),
        ({"AutoConfig": ["own.OwnConfig"], "AutoModelForCausalLM": "own.Own"}, "AutoConfig"),
        (["own.Own"], "AutoConfig"),
        ("own.Own", "AutoConfig"),
        (7, "No Python file is named"),
        ({"AutoConfig": {"own": 1}}, "No Python file is named"),
    ],
)
def test_that_nobody_can_agree_to_code_that_is_elsewhere_or_not_named(
    home: Home, tmp_path: Path, auto_map: object, why: str
) -> None:
    folder = a_model(tmp_path / "model", auto_map=auto_map)
    model = inspect(folder)
    assert model.own_code == ""
    assert not model.usable
    assert why in next(remark.message for remark in model.remarks if remark.code == "remote-code")
    if (code := own_code(folder)) is not None:
        with pytest.raises(BitpressError) as refused:
            given(home, code, now=NOW, version="1", lasting=True)
        assert refused.value.problem.code == "code-refused"


def test_that_a_consent_is_a_mend_that_nothing_takes_over_by_itself(tmp_path: Path) -> None:
    model = inspect(a_model(tmp_path / "model"))
    (finding,) = (one for one in model_findings(model) if one.code == "remote-code")
    assert finding.fix == {CONSENT: model.own_code}
    assert next_mend((finding,), ()) is None


# Jobs -------------------------------------------------------------------------------------------------------------


async def launched(home: Home, *consents: Consent) -> tuple[TrustedCode, ...]:
    """What a job's workers may run that was queued with these consents."""
    seen: list[tuple[TrustedCode, ...]] = []

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        seen.append(context.launch.code)
        yield Finished(job=context.job, reason=FinishReason.COMPLETED)

    run = Run(id=1, kind=RunKind.EVALUATE, title="t", models=("m",), model_name="m", created=NOW)
    context = WorkContext(run, home.root, WorkerLaunch((), {}), home, lambda _: None)
    async for _ in trusting(work, consents)(context):
        pass
    return seen[0]


def test_that_a_job_brings_the_consent_to_its_workers(home: Home, tmp_path: Path) -> None:
    once = agreed(home, a_model(tmp_path / "model"), lasting=False)
    assert asyncio.run(launched(home, once)) == (once.trusted,)
    assert kept(home) == ()


def test_that_a_consent_that_was_withdrawn_ends_what_waits_with_it(home: Home, tmp_path: Path) -> None:
    consent = agreed(home, a_model(tmp_path / "model"))
    assert asyncio.run(launched(home, consent)) == (consent.trusted,)
    withdraw(home, consent.fingerprint)
    with pytest.raises(BitpressError) as refused:
        asyncio.run(launched(home, consent))
    assert refused.value.problem.code == "consent-withdrawn"


def test_that_a_queued_job_from_elsewhere_runs_no_code(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    for lasting in (True, False):
        consent = agreed(other, a_model(tmp_path / f"model-{lasting}"), lasting=lasting)
        with pytest.raises(BitpressError) as refused:
            asyncio.run(launched(home, consent))
        assert refused.value.problem.code == "consent-elsewhere"


def test_that_an_order_carries_its_consents_and_the_same_again_does_not(home: Home, tmp_path: Path) -> None:
    consent = agreed(home, a_model(tmp_path / "model"), lasting=False)
    order = EvaluateOrder(original="a", others=(), suite=EvaluationSuite(), consents=(consent,))
    told = kept_order(order)
    assert Consent.model_validate(told["consents"][0]) == consent
    run = Run(
        id=1,
        kind=RunKind.EVALUATE,
        title="t",
        models=("a",),
        model_name="a",
        created=NOW,
        order=told,
        settings={OWN_CODE: [{"model": "m", "fingerprint": consent.fingerprint}, "x", 7]},
    )
    assert run.own_code == (("m", consent.fingerprint),)
    assert "consents" not in cast("dict[str, object]", repeated(run, None).order)
    assert NewRun(kind=RunKind.EVALUATE, title="t", models=(), model_name="", settings={OWN_CODE: 3}).own_code == ()


# Files of code ----------------------------------------------------------------------------------------------------


def test_that_a_name_cannot_pass_for_another_file(tmp_path: Path) -> None:
    two, one = a_model(tmp_path / "two"), a_model(tmp_path / "one")
    (two / "b.py").write_text("b")
    hashes = {file.name: file.sha256 for file in code_of(two).files}
    (one / "own.py").unlink()
    (one / f"b.py\n{hashes['own.py']}  own.py").write_text("b")
    assert code_of(one).fingerprint != code_of(two).fingerprint


def test_that_a_name_that_is_no_text_and_endless_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_model(tmp_path / "model")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.py"))
    odd.touch()
    with pytest.raises(BitpressError) as refused:
        own_code(folder)
    assert refused.value.problem.code == "not-readable"
    odd.unlink()
    (folder / "deep").mkdir()
    monkeypatch.setattr("core.models.own_code.MOST_ENTRIES", 50)
    for number in range(51):
        (folder / "deep" / f"{number}.txt").touch()
    with pytest.raises(BitpressError) as refused:
        own_code(folder)
    assert refused.value.problem.code == "too-much-code"
    assert not inspect(folder).usable
