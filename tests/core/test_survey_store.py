from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_files import LLAMA, llama_tensors, make_model, make_shards, safetensors_bytes

from core.errors import BitpressError
from core.models.survey import Survey, SurveyedModule
from core.models.survey_store import fingerprint, keep_survey, kept_survey
from core.paths import Home


def survey_of(folder: Path) -> Survey:
    module = SurveyedModule(name="model.embed_tokens", kind="Embedding", shape=(32, 8), elements=256)
    return Survey(fingerprint=fingerprint(folder), architecture="LlamaForCausalLM", modules=(module,), layers=2)


def test_that_a_kept_survey_is_found_again(tmp_path: Path) -> None:
    home, folder = Home(tmp_path / "home"), make_model(tmp_path / "tiny")
    assert kept_survey(home, folder) is None
    keep_survey(home, survey_of(folder))
    assert kept_survey(home, folder) == survey_of(folder)
    assert kept_survey(home, make_model(tmp_path / "copy")) == survey_of(folder)


def test_that_a_survey_is_forgotten_when_config_or_tensors_change(tmp_path: Path) -> None:
    home, folder = Home(tmp_path / "home"), make_model(tmp_path / "tiny")
    keep_survey(home, survey_of(folder))
    (folder / "config.json").write_text(json.dumps(LLAMA | {"rope_theta": 5.0}))
    assert kept_survey(home, folder) is None
    make_model(folder)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(llama_tensors(dtype="F16")))
    assert kept_survey(home, folder) is None


def test_that_a_damaged_survey_is_made_again(tmp_path: Path) -> None:
    home, folder = Home(tmp_path / "home"), make_model(tmp_path / "tiny")
    keep_survey(home, survey_of(folder))
    (home.surveys / f"{fingerprint(folder)}.json").write_text("{")
    assert kept_survey(home, folder) is None


def test_that_shards_have_a_fingerprint_of_their_own(tmp_path: Path) -> None:
    assert fingerprint(make_shards(tmp_path / "shards")) != fingerprint(make_model(tmp_path / "whole"))


def test_that_a_folder_without_config_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(BitpressError) as caught:
        fingerprint(tmp_path)
    assert caught.value.problem.code == "no-config"


def test_that_a_survey_of_an_older_form_is_made_anew(tmp_path: Path) -> None:
    home, folder = Home(tmp_path / "home"), make_model(tmp_path / "tiny")
    keep_survey(home, survey_of(folder))
    path = home.surveys / f"{fingerprint(folder)}.json"
    kept = json.loads(path.read_text())
    for older in ({**kept, "form": kept["form"] - 1}, {name: value for name, value in kept.items() if name != "form"}):
        path.write_text(json.dumps(older))
        assert kept_survey(home, folder) is None
    keep_survey(home, survey_of(folder))
    assert kept_survey(home, folder) == survey_of(folder)
