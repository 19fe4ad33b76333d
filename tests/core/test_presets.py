"""Presets: kept, found, exchanged, and never lost half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_shapes import llama_survey

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods import presets as module
from core.methods.presets import (
    built_in_presets,
    export_preset,
    find_preset,
    free_preset_name,
    import_preset,
    name_problem,
    presets,
    remove_preset,
    rename_preset,
    save_preset,
)
from core.methods.recipe_document import RecipeDocument
from core.paths import Home

MINE = RecipeDocument(
    method="gptq-w4a16",
    parameters={"group_size": 32, "ignore": ["lm_head", "re:.*down_proj$"]},
    calibration=CalibrationSpec(source="/data/my texts.jsonl", samples=64),
    seed=3,
)


def own(home: Home) -> list[str]:
    return [preset.name for preset in presets(home) if not preset.built_in]


def refusal(action: object, *arguments: object, **options: object) -> str:
    with pytest.raises(BitpressError) as refused:
        action(*arguments, **options)  # type: ignore[operator]
    assert refused.value.problem.hint
    return refused.value.problem.code


def test_that_the_built_in_presets_resolve_against_the_catalogue() -> None:
    found = built_in_presets()
    assert len(found) >= 4
    assert len({preset.name for preset in found}) == len(found)
    for preset in found:
        assert not name_problem(preset.name)
        assert preset.description.endswith(".")
        assert preset.document is not None, preset.problem
        for survey in (None, llama_survey()):
            assert preset.document.resolved(survey).method == preset.document.method


def test_that_what_is_saved_is_found_again(home: Home) -> None:
    save_preset(home, " For chat ", MINE, description="small\nand good", app_version="1.2")
    kept = find_preset(home, "for CHAT")
    assert (kept.name, kept.description, kept.app_version) == ("For chat", "small and good", "1.2")
    assert kept.document == MINE
    assert kept.created is not None
    assert [path.name for path in home.presets.iterdir()] == ["For chat.yaml"]


def test_that_a_name_is_taken_once_unless_it_is_to_be_replaced(home: Home) -> None:
    save_preset(home, "One", MINE)
    assert refusal(save_preset, home, "one", MINE) == "preset-exists"
    save_preset(home, "one", MINE.model_copy(update={"seed": 9}), replace=True)
    assert own(home) == ["one"]
    kept = find_preset(home, "One").document
    assert kept is not None
    assert kept.seed == 9
    assert free_preset_name(home, "ONE") == "ONE 2"


def test_that_built_in_presets_are_read_only(home: Home) -> None:
    name = built_in_presets()[0].name
    assert refusal(save_preset, home, name.upper(), MINE, replace=True) == "preset-built-in"
    assert refusal(remove_preset, home, name) == "preset-built-in"
    assert refusal(rename_preset, home, name, "Mine") == "preset-built-in"


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", ".hidden", "a\\b", "a\nb", "C:", "x" * 61, "end.", "a\u202eb"])
def test_that_a_name_that_could_lead_elsewhere_is_refused(home: Home, name: str) -> None:
    assert refusal(save_preset, home, name, MINE) == "bad-preset-name"
    assert not home.presets.exists()


def test_that_renaming_also_changes_the_case(home: Home) -> None:
    save_preset(home, "one", MINE)
    save_preset(home, "two", MINE)
    assert refusal(rename_preset, home, "one", "Two") == "preset-exists"
    rename_preset(home, "one", "One")
    assert own(home) == ["One", "two"]
    assert find_preset(home, "one").document == MINE


def test_that_removing_leaves_nothing_and_a_slip_is_answered_with_the_nearest(home: Home) -> None:
    save_preset(home, "Chat", MINE)
    with pytest.raises(BitpressError) as refused:
        remove_preset(home, "Chta")
    assert "Did you mean Chat?" in refused.value.problem.hint
    remove_preset(home, "Chat")
    assert list(home.presets.iterdir()) == []


def test_that_a_preset_travels_as_a_file(home: Home, tmp_path: Path) -> None:
    save_preset(home, "One", MINE, description="d")
    file = tmp_path / "one.yaml"
    export_preset(home, "One", file)
    assert refusal(export_preset, home, "One", file) == "output-exists"
    assert refusal(import_preset, home, file) == "preset-exists"
    other = Home(tmp_path / "other")
    taken = import_preset(other, file)
    assert (taken.name, taken.description, taken.document) == ("One", "d", MINE)
    assert import_preset(other, file, beside=True).name == "One 2"
    assert import_preset(other, file, name="Third").name == "Third"


def test_that_a_recipe_alone_is_imported_under_its_files_name(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "careful one.yaml"
    file.write_text("\ufeffmethod: fp8-dynamic\r\n", encoding="utf-8")
    assert import_preset(home, file).name == "careful one"
    assert find_preset(home, "careful one").document == RecipeDocument(method="fp8-dynamic")


def test_that_a_file_that_is_none_is_refused_with_the_place(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: x\nrecipe:\n  method: gptq-w4a16\n  parameters:\n    grup_size: 3\ncolour: red\n")
    with pytest.raises(BitpressError) as refused:
        import_preset(home, file)
    assert refused.value.problem.code == "bad-recipe"
    assert f"{file}:5:5: " in refused.value.problem.message
    assert f"{file}:6:1: " in refused.value.problem.message
    file.write_bytes(b"method: fp8-dynamic\n# caf\xe9\n")
    with pytest.raises(BitpressError) as refused:
        import_preset(home, file)
    assert f"{file}:2:6: " in refused.value.problem.message
    file.write_bytes(b"#" * (module.FILE_LIMIT + 1))
    assert refusal(import_preset, home, file) == "bad-recipe"
    assert refusal(import_preset, home, tmp_path) == "no-such-file"
    assert refusal(import_preset, home, tmp_path / "nowhere.yaml") == "no-such-file"
    assert own(home) == []


def test_that_a_preset_of_another_version_is_listed_with_the_reason(home: Home) -> None:
    home.presets.mkdir(parents=True)
    (home.presets / "Old.yaml").write_text("name: Old\ndescription: d\nrecipe:\n  method: method-of-yesterday\n")
    (home.presets / "Broken.yaml").write_bytes(b"\xff\xfe")
    (home.presets / ".Half.yaml.partial-1").write_text("name: Half")
    old = next(preset for preset in presets(home) if preset.name == "Old")
    assert own(home) == ["Broken", "Old"]
    assert old.document is None
    assert "method-of-yesterday" in old.problem
    assert refusal(find_preset, home, "old") == "bad-preset"
    remove_preset(home, "broken")
    assert own(home) == ["Old"]


def test_that_a_disk_that_fails_leaves_the_earlier_preset(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    save_preset(home, "One", MINE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_preset(home, "One", MINE.model_copy(update={"seed": 9}), replace=True)
    assert find_preset(home, "One").document == MINE
    assert [path.name for path in home.presets.iterdir()] == ["One.yaml"]
