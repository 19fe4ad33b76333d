from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from model_files import make_gguf, make_model

from core.methods.recipe import Recipe
from core.models import starter
from core.models.artifact import Manifest, write_manifest
from core.models.discover import discover
from core.models.local_model import LocalModel, Origin, Weights
from core.paths import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def found(home: Home, *folders: Path) -> list[LocalModel]:
    """All but the starter."""
    first, *others = discover(home, folders, hub_cache=False)
    assert first.origin is Origin.STARTER
    return others


def pressed(folder: Path, original: Path, run: int = 1) -> Path:
    make_model(folder)
    write_manifest(
        folder,
        Manifest(
            run=run,
            made_from=str(original),
            recipe=Recipe(method="fp8-dynamic", parameters={}),
            method_title="FP8 dynamic",
            proved=True,
            created=datetime(2026, 1, 1, tzinfo=UTC),
        ),
    )
    return folder


def test_that_the_starter_stands_in_the_list_before_it_is_fetched(home: Home) -> None:
    (model,) = discover(home, (), hub_cache=False)
    assert (model.name, model.origin, model.weights) == ("SmolLM2-135M-Instruct", Origin.STARTER, Weights.NONE)
    assert (model.parameters, model.bytes, model.context_length) == (134_515_008, 269_060_552, 8192)
    assert [(remark.code, remark.level) for remark in model.remarks] == [("not-fetched", "notes")]


def test_that_the_starter_is_read_from_its_folder_once_it_is_there(home: Home) -> None:
    make_model(starter.starter_path(home))
    (model,) = discover(home, (), hub_cache=False)
    assert (model.origin, model.weights, model.layers) == (Origin.STARTER, Weights.SAFETENSORS, 2)
    assert model.remarks == ()


def test_that_watched_folders_are_searched_three_levels_deep(home: Home, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    make_model(watched / "one")
    make_model(watched / "a" / "b" / "three")
    make_model(watched / "a" / "b" / "c" / "four")
    make_model(watched / ".hidden" / "secret")
    make_gguf(watched / "a" / "tiny.gguf")
    assert [model.name for model in found(home, watched)] == ["one", "three", "tiny.gguf"]


def test_that_a_watched_folder_may_be_a_model_itself(home: Home, tmp_path: Path) -> None:
    assert [model.name for model in found(home, make_model(tmp_path / "direct"))] == ["direct"]


def test_that_unfinished_work_is_not_listed(home: Home, tmp_path: Path) -> None:
    make_model(tmp_path / "watched" / ".tiny-fp8.partial-7")
    assert found(home, tmp_path / "watched") == []


def test_that_a_folder_that_is_watched_twice_or_linked_is_listed_once(home: Home, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    make_model(watched / "one")
    (watched / "loop").symlink_to(watched)
    assert [model.name for model in found(home, watched, watched, watched / "one")] == ["one"]


def test_that_bad_models_become_entries_that_say_why(home: Home, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    make_model(watched / "sound")
    truncated = make_model(watched / "truncated") / "model.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:-10])
    (make_model(watched / "unnamed") / "config.json").unlink()
    (make_model(watched / "unreadable") / "config.json").write_text("{")
    (watched / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 40)
    models = {model.name: model for model in found(home, watched)}
    codes = {name: [remark.code for remark in model.remarks] for name, model in models.items()}
    assert codes == {
        "sound": [],
        "truncated": ["truncated-weights"],
        "unnamed": ["no-config"],
        "unreadable": ["bad-config"],
        "bad.gguf": ["bad-gguf"],
    }
    assert not models["truncated"].usable
    assert "10 bytes" in models["truncated"].remarks[0].message
    assert models["bad.gguf"].weights is Weights.GGUF


def test_that_names_are_sorted_as_people_expect_and_artifacts_follow_their_original(home: Home, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    for name in ("model-70b", "Model-7b", "alpha"):
        make_model(watched / name)
    first = pressed(home.artifacts / "zz-fp8", watched / "Model-7b")
    pressed(home.artifacts / "aa-int4-of-fp8", first)
    pressed(home.artifacts / "orphan", Path("/gone"))
    names = [model.name for model in found(home, watched)]
    assert names == ["alpha", "Model-7b", "zz-fp8", "aa-int4-of-fp8", "model-70b", "orphan"]


def test_that_artifacts_that_claim_to_be_made_from_each_other_are_still_listed(home: Home) -> None:
    pressed(home.artifacts / "a", home.artifacts / "b")
    pressed(home.artifacts / "b", home.artifacts / "a")
    assert {model.name for model in found(home)} == {"a", "b"}


def hub_model(cache: Path, repository: str, revision: str, main: bool = True) -> Path:
    folder = cache / f"models--{repository.replace('/', '--')}"
    make_model(folder / "snapshots" / revision)
    if main:
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_that_the_hub_cache_is_read_by_its_layout(home: Home, cache: Path) -> None:
    hub_model(cache, "org/tiny", "a" * 40)
    (cache / "datasets--org--data" / "snapshots" / "b").mkdir(parents=True)
    (cache / "models--org--empty" / "refs").mkdir(parents=True)
    _, model = discover(home, (), hub_cache=True)
    assert (model.name, model.origin) == ("tiny", Origin.HUB_CACHE)
    assert len(discover(home, (), hub_cache=False)) == 1


def test_that_equal_names_in_the_hub_cache_are_told_apart(home: Home, cache: Path) -> None:
    hub_model(cache, "org/tiny", "a" * 40)
    hub_model(cache, "org/tiny", "b" * 40, main=False)
    hub_model(cache, "other/tiny", "c" * 40)
    names = [model.name for model in discover(home, (), hub_cache=True)[1:]]
    assert names == ["org/tiny@aaaaaaaa", "org/tiny@bbbbbbbb", "other/tiny@cccccccc"]


def test_that_folders_that_do_not_exist_are_no_error(home: Home, tmp_path: Path) -> None:
    assert found(home, tmp_path / "gone") == []
