from __future__ import annotations

from pathlib import Path

import pytest
from model_files import make_gguf, make_model

from core.errors import BitpressError
from core.models import starter
from core.models.local_model import Origin, Weights
from core.models.resolve import resolve
from core.paths import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def failure(text: str, home: Home, *folders: Path) -> tuple[str, str, str]:
    with pytest.raises(BitpressError) as caught:
        resolve(text, home, folders, hub_cache=False)
    problem = caught.value.problem
    return problem.code, problem.message, problem.hint


def test_that_starter_means_the_starter_even_before_it_is_fetched(home: Home) -> None:
    assert resolve("starter", home, hub_cache=False).weights is Weights.NONE
    assert resolve("SmolLM2-135M-Instruct", home, hub_cache=False).origin is Origin.STARTER
    make_model(starter.starter_path(home))
    for text in ("starter", "smollm2-135m-instruct", str(starter.starter_path(home))):
        model = resolve(text, home, hub_cache=False)
        assert (model.origin, model.weights) == (Origin.STARTER, Weights.SAFETENSORS)


def test_that_a_path_or_a_name_finds_a_model(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model(tmp_path / "watched" / "tiny")
    file = make_gguf(tmp_path / "watched" / "tiny.gguf")
    assert resolve(str(folder), home, hub_cache=False).path == folder
    assert resolve(str(file), home, hub_cache=False).weights is Weights.GGUF
    assert resolve("Tiny", home, (tmp_path / "watched",), hub_cache=False).path == folder
    monkeypatch.chdir(tmp_path / "watched")
    assert resolve("./tiny", home, hub_cache=False).path == folder


def test_that_a_model_that_cannot_be_read_is_an_error_by_path_and_by_name(home: Home, tmp_path: Path) -> None:
    (make_model(tmp_path / "tiny") / "config.json").unlink()
    assert failure(str(tmp_path / "tiny"), home)[0] == "no-config"
    assert failure("tiny", home, tmp_path)[0] == "no-config"


def test_that_an_unknown_name_gets_the_nearest_ones(home: Home, tmp_path: Path) -> None:
    make_model(tmp_path / "Llama-3.1-8B")
    code, message, hint = failure("Llama-3-8B", home, tmp_path)
    assert code == "no-such-model"
    assert "Llama-3-8B" in message
    assert "Llama-3.1-8B" in hint


def test_that_a_path_without_a_model_is_called_a_path(home: Home) -> None:
    code, message, _ = failure("/no/such/place", home)
    assert code == "no-such-model"
    assert message == "There is no model at /no/such/place."


def test_that_a_name_that_two_models_have_needs_a_path(home: Home, tmp_path: Path) -> None:
    make_model(tmp_path / "a" / "TINY")
    make_model(tmp_path / "a" / "tiny")
    code, message, _ = failure("Tiny", home, tmp_path)
    assert code == "ambiguous-model"
    assert str(tmp_path / "a" / "TINY") in message
