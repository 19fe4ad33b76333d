"""Facts about code that came with a model: it runs by a consent to its very bytes, and never otherwise."""

from __future__ import annotations

import hashlib
import inspect as python_inspect
import json
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest
from own_code_models import ran, write_own_model, write_own_tokenizer
from worker_process import WorkerProcess, worker_process

from core.errors import BitpressError
from core.jobs.protocol import Command, Compress, Finished, FinishReason, Generate, Load, SurveyModel
from core.measure.results import Sampling
from core.methods.catalogue import find
from core.models.own_code import TrustedCode, own_code
from core.worker.carry_code import carry_code
from core.worker.own_code import open_own_code, own_tokenizer_class, package_of
from core.worker.tokenizer_files import load_tokenizer

MODULES = ("configuration_own", "modeling_own", "scaling")
FP8 = find("fp8-dynamic")


def trusted(folder: Path) -> tuple[TrustedCode, ...]:
    code = own_code(folder)
    assert code is not None
    return (code.trusted,)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.py"))
    }


def ended(worker: WorkerProcess, command: Command) -> Finished:
    event = worker.run(command)[-1]
    assert isinstance(event, Finished)
    return event


def done(worker: WorkerProcess, command: Command) -> Finished:
    event = ended(worker, command)
    assert event.reason is FinishReason.COMPLETED, event.problem
    return event


def refused(worker: WorkerProcess, command: Command) -> tuple[str, str]:
    event = ended(worker, command)
    assert event.problem is not None
    return event.problem.code, event.problem.message


def pressed(folder: Path, output: Path, *, stream: bool) -> Compress:
    return Compress(
        job="press",
        model=str(folder),
        output=str(output),
        modifiers=FP8.modifiers(FP8.defaults(None)),
        device="cpu",
        stream=stream,
        code=trusted(folder),
    )


def test_that_a_models_code_runs_by_consent_and_goes_along_with_the_artifact(starter: Path, tmp_path: Path) -> None:
    folder = write_own_model(tmp_path / "own", starter)
    artifact = tmp_path / "artifact"
    with worker_process(tmp_path / "log") as worker:
        code, message = refused(worker, SurveyModel(job="none", model=str(folder)))
        assert code == "unknown-architecture", message
        assert ran(folder) == ()
        survey = done(worker, SurveyModel(job="survey", model=str(folder), code=trusted(folder)))
        assert survey.result["architecture"] == "OwnForCausalLM"
        # Not the folder's own __init__.py, which transformers leaves alone as well.
        assert ran(folder) == MODULES
        done(worker, pressed(folder, artifact, stream=True))
    assert hashes(artifact) == hashes(folder)
    assert json.loads((artifact / "config.json").read_text())["auto_map"]
    assert not list(tmp_path.rglob("__pycache__"))
    ran(folder)
    with worker_process(tmp_path / "log") as worker:
        code, _ = refused(worker, Load(job="none", model=str(artifact), device="cpu"))
        assert code == "cannot-load"
        assert ran(folder) == ()
        # The consent to the original covers the artifact: the files are the same to the byte.
        done(worker, Load(job="load", model=str(artifact), device="cpu", code=trusted(folder)))
        answer = done(worker, Generate(job="ask", prompt="Once", sampling=Sampling(max_tokens=4)))
        assert len(answer.result["tokens"]) > 0
        assert ran(folder) == MODULES


def test_that_one_changed_byte_and_a_swapped_model_are_refused_by_name_and_nothing_runs(
    starter: Path, tmp_path: Path
) -> None:
    folder = write_own_model(tmp_path / "own", starter)
    agreed = trusted(folder)
    scaling = folder / "parts" / "scaling.py"
    before = scaling.read_text()
    with worker_process(tmp_path / "log") as worker:
        scaling.write_text(before + " ")
        code, message = refused(worker, SurveyModel(job="changed", model=str(folder), code=agreed))
        assert (code, "parts/scaling.py was changed" in message) == ("code-changed", True)
        scaling.write_text(before)
        (folder / "added.py").write_text("")
        code, message = refused(worker, SurveyModel(job="added", model=str(folder), code=agreed))
        assert (code, "added.py is new" in message) == ("code-changed", True)
        (folder / "added.py").unlink()
        (tmp_path / "outside.py").write_text(before)
        scaling.unlink()
        scaling.symlink_to(tmp_path / "outside.py")
        assert refused(worker, SurveyModel(job="link", model=str(folder), code=agreed))[0] == "outside-folder"
        scaling.unlink()
        scaling.write_text(before)
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"]["AutoConfig"] = "other/repo--configuration_own.OwnConfig"
        (folder / "config.json").write_text(json.dumps(config))
        assert refused(worker, SurveyModel(job="other", model=str(folder), code=agreed))[0] == "code-refused"
    assert ran(folder) == ()


def test_that_a_tokenizer_in_code_counts_text_by_consent_and_its_files_go_along(tmp_path: Path) -> None:
    folder = write_own_tokenizer(tmp_path / "letters")
    artifact = tmp_path / "artifact"
    with worker_process(tmp_path / "log") as worker:
        code, _ = refused(worker, Load(job="none", model=str(folder), device="cpu"))
        assert code == "code-not-agreed"
        assert ran(folder) == ()
        done(worker, pressed(folder, artifact, stream=False))
        assert ran(folder) == ("tokenization_letters",)
        assert hashes(artifact) == hashes(folder)
        assert (artifact / "letters.vocab").read_bytes() == (folder / "letters.vocab").read_bytes()
        done(worker, Load(job="load", model=str(artifact), device="cpu", code=trusted(folder)))
        done(worker, Generate(job="ask", prompt="Once", sampling=Sampling(max_tokens=4)))


def test_that_what_was_verified_is_what_runs_whatever_the_folder_holds_by_then(tmp_path: Path) -> None:
    folder = write_own_tokenizer(tmp_path / "letters")
    code = own_code(folder)
    assert code is not None
    open_own_code([str(folder)], [code.trusted])
    good = (folder / "tokenization_letters.py").read_text()
    evil = tmp_path / "evil"
    (folder / "tokenization_letters.py").write_text(f"open({str(evil)!r}, 'w')")
    module = import_module(f"{package_of(code)}.tokenization_letters")
    assert not evil.exists()
    # Whoever reads the source, to trace or to compile it again, gets the verified one too.
    assert python_inspect.getsource(module) == good
    assert not os.path.lexists(module.__file__ or "")
    # The folder is looked at again before the tokenizer is used, and before anything is carried on.
    with pytest.raises(BitpressError) as changed:
        own_tokenizer_class(folder)
    assert changed.value.problem.code == "code-not-agreed"
    with pytest.raises(BitpressError) as changed:
        carry_code(folder, tmp_path)
    assert changed.value.problem.code == "code-changed"
    (folder / "tokenization_letters.py").write_text(good)
    assert load_tokenizer(folder)("abc")["input_ids"] == [68, 69, 70]
    # Nothing but the verified files can be imported beside them.
    (folder / "more.py").write_text(f"open({str(evil)!r}, 'w')")
    with pytest.raises(ModuleNotFoundError):
        import_module(f"{package_of(code)}.more")
    assert not evil.exists()
    assert "transformers_modules" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_package_that_is_not_there", "a_package_that_is_not_there"),
        ("raise SystemExit(3)", "SystemExit"),
        ("from ..core import secrets", "ImportError"),
        ("def broken(:", "SyntaxError"),
        ("x = '" + "(" * 200_000, "SyntaxError"),
        ("LetterTokenizer = 1 / 0  # \x1b[31m", "ZeroDivisionError"),
        ("", "LetterTokenizer"),
    ],
)
def test_that_code_that_does_not_run_is_told_with_its_reason(tmp_path: Path, text: str, said: str) -> None:
    folder = write_own_tokenizer(tmp_path / "letters")
    (folder / "tokenization_letters.py").write_text(text)
    open_own_code([str(folder)], trusted(folder))
    with pytest.raises(BitpressError) as failed:
        load_tokenizer(folder)
    problem = failed.value.problem
    assert problem.code == "own-code-failed"
    assert said in problem.message + problem.hint
    assert "\x1b" not in problem.message
