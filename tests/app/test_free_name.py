"""Facts about the names that artifacts get."""

from pathlib import Path

import pytest

from app.engine import free_name


def test_that_a_free_name_is_taken_as_it_is(tmp_path: Path) -> None:
    assert free_name(tmp_path, "SmolLM2-135M fp8_v1.0") == tmp_path / "SmolLM2-135M fp8_v1.0"


def test_that_a_name_that_is_taken_gets_the_first_free_number(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model-2").write_text("")
    # A link that leads nowhere takes its name as well.
    (tmp_path / "model-3").symlink_to(tmp_path / "nowhere")
    assert free_name(tmp_path, "model") == tmp_path / "model-4"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "model"),
        ("", "model"),
        (" . ", "model"),
        ("/absolute", "_absolute"),
        ("back\\slash:and*more?", "back_slash_and_more_"),
        ("zero\0byte", "zero_byte"),
        (".hidden", "hidden"),
        ("line\nend", "line_end"),
        ("模型-ß", "模型-ß"),
    ],
)
def test_that_no_name_leads_out_of_the_folder_or_hides(tmp_path: Path, name: str, safe: str) -> None:
    found = free_name(tmp_path, name)
    assert found == tmp_path / safe
    assert found.parent == tmp_path


def test_that_a_very_long_name_is_shortened_to_what_a_disk_takes(tmp_path: Path) -> None:
    found = free_name(tmp_path, "模" * 400)
    found.mkdir()
    beside = free_name(tmp_path, "模" * 400)
    assert beside != found
    (beside.parent / f".{beside.name}.partial-123456").mkdir()
