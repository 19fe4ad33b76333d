"""Facts about jobs on models whose own code may run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from model_files import LLAMA, make_model

from app.consent import agree
from app.engine import Engine
from core.errors import BitpressError
from core.jobs.order import EvaluateOrder, kept_order, repeated
from core.jobs.run import NewRun, Run, RunKind
from core.measure.results import EvaluationSuite
from core.models.consent import Consent, withdraw
from core.models.own_code import OwnCode, own_code
from core.paths import Home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    made = make_model(tmp_path / "model", {**LLAMA, "model_type": "own", "auto_map": auto_map})
    (made / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    return made


def code_of(folder: Path) -> OwnCode:
    found = own_code(folder)
    assert found is not None
    return found


def asked(folder: Path) -> NewRun:
    order = EvaluateOrder(original=str(folder), others=(), suite=EvaluationSuite())
    return NewRun(
        kind=RunKind.EVALUATE,
        title="Evaluation",
        models=(str(folder), "http://127.0.0.1"),
        model_name="model",
        order=kept_order(order),
    )


def put(home: Home, folder: Path, *once: str) -> Run:
    async def play() -> Run:
        engine = Engine.open(home, nice=0)
        engine.once = once
        try:
            return await engine.put(asked(folder))
        finally:
            await engine.close()

    return asyncio.run(play())


def test_that_a_job_without_a_consent_is_not_queued(home: Home, folder: Path) -> None:
    with pytest.raises(BitpressError) as refused:
        put(home, folder)
    assert refused.value.problem.code == "own-code"
    assert code_of(folder).fingerprint[:12] in refused.value.problem.hint
    with pytest.raises(BitpressError):
        put(home, folder, "0" * 64)
    with pytest.raises(BitpressError):
        put(home, folder, code_of(folder).fingerprint[:11])


def test_that_a_job_carries_the_fingerprint_in_its_order_and_in_what_is_told_of_it(home: Home, folder: Path) -> None:
    fingerprint = code_of(folder).fingerprint
    once = put(home, folder, fingerprint[:12])
    (consent,) = (Consent.model_validate(one) for one in once.order["consents"])
    assert (consent.fingerprint, consent.lasting) == (fingerprint, False)
    assert once.own_code == (("model", fingerprint),)
    agree(home, code_of(folder), lasting=True)
    kept = put(home, folder)
    assert Consent.model_validate(kept.order["consents"][0]).lasting
    # Asked again, it is asked again whether one has agreed.
    again = repeated(once, None)
    assert "consents" not in again.order


def test_that_one_byte_after_the_consent_ends_it_before_the_next_job(home: Home, folder: Path) -> None:
    agree(home, code_of(folder), lasting=True)
    put(home, folder)
    (folder / "own.py").write_text((folder / "own.py").read_text() + "\n")
    with pytest.raises(BitpressError) as refused:
        put(home, folder)
    assert refused.value.problem.code == "own-code"
    assert not (folder.parent / "ran").exists()


def test_that_models_are_usable_while_the_consent_holds(home: Home, folder: Path) -> None:
    engine = Engine.open(home, nice=0)
    try:
        assert not engine.model(str(folder)).usable
        consent = agree(home, code_of(folder), lasting=True)
        assert engine.model(str(folder)).consented
        assert asyncio.run(engine.launch_for(folder)).code == (consent.trusted,)
        withdraw(home, consent.fingerprint[:12])
        assert not engine.model(str(folder)).usable
        assert engine.launch.code == ()
    finally:
        asyncio.run(engine.close())


def test_that_the_moment_and_the_person_are_kept(home: Home, folder: Path) -> None:
    before = datetime.now(UTC)
    consent = agree(home, code_of(folder), lasting=True)
    assert before <= consent.given <= datetime.now(UTC)
    assert consent.by
    assert consent.path == folder
