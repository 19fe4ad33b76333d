from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.recipe import Recipe
from core.models.artifact import Manifest, publish, read_manifest, staging_beside, write_manifest

MANIFEST = Manifest(
    run=7,
    made_from="/models/tiny",
    original_sha256="ab" * 32,
    recipe=Recipe(method="gptq-w4a16", parameters={"group_size": 64}, calibration=CalibrationSpec(), seed=3),
    method_title="GPTQ W4A16",
    versions={"torch": "2.13.0"},
    tensors_sha256="cd" * 32,
    created=datetime(2026, 5, 6, 7, 8, tzinfo=UTC),
    expected_modules=("model.layers.0.mlp.up_proj",),
)


def test_that_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST
    assert [path.name for path in tmp_path.iterdir()] == ["bitpress.json"]


def test_that_a_manifest_of_a_later_version_with_more_fields_is_read(tmp_path: Path) -> None:
    kept = json.loads(MANIFEST.model_dump_json()) | {"version": 2, "later": True}
    (tmp_path / "bitpress.json").write_text(json.dumps(kept))
    found = read_manifest(tmp_path)
    assert found is not None
    assert found.version == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"made_from": 3}'])
def test_that_a_broken_manifest_is_no_manifest(tmp_path: Path, text: str) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / "bitpress.json").write_text(text)
    assert read_manifest(tmp_path) is None


def test_that_a_staging_folder_is_hidden_and_on_the_same_disk(tmp_path: Path) -> None:
    final = tmp_path / "tiny-fp8"
    assert staging_beside(final, 12) == tmp_path / ".tiny-fp8.partial-12"
    assert staging_beside(final, "import").parent == final.parent


def test_that_publishing_moves_the_whole_folder(tmp_path: Path) -> None:
    final = tmp_path / "tiny-fp8"
    staging = staging_beside(final, 1)
    (staging / "inner").mkdir(parents=True)
    (staging / "inner" / "model.safetensors").write_bytes(b"x" * 100)
    publish(staging, final)
    assert (final / "inner" / "model.safetensors").read_bytes() == b"x" * 100
    assert not staging.exists()


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "dangling link"])
def test_that_publishing_never_overwrites(tmp_path: Path, kind: str) -> None:
    final, staging = tmp_path / "out", tmp_path / ".out.partial-1"
    staging.mkdir()
    (staging / "new").touch()
    if kind == "file":
        final.touch()
    elif kind == "dangling link":
        final.symlink_to(tmp_path / "nowhere")
    else:
        final.mkdir()
        if kind == "folder":
            (final / "old").touch()
    with pytest.raises(BitpressError) as caught:
        publish(staging, final)
    assert caught.value.problem.code == "output-exists"
    assert (staging / "new").exists()
    assert not (final / "new").exists()
