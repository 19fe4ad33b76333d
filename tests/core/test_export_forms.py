"""Facts about the forms in which a compressed model can leave: which are possible, why not, and what they take."""

from __future__ import annotations

import pytest
from llama_shapes import llama_model, llama_survey

from core.models.local_model import LocalModel
from core.plan.export_forms import Form, Offered, offered, room_finding, rounded_recipe

SURVEY = llama_survey()


def forms(model: LocalModel, *, turns: bool = False) -> dict[Form, Offered]:
    return {one.form: one for one in offered(model, SURVEY, rounded_recipe(SURVEY), turns=turns)}


def tables(precision: str) -> LocalModel:
    return llama_model(quantization="bitpress-codebook", precision=precision)


@pytest.mark.parametrize("precision", ["4-bit table", "4-bit binary"])
def test_that_four_bits_of_our_own_take_both_forms_and_their_sizes_are_known(precision: str) -> None:
    found = forms(tables(precision))
    assert all(not one.why_not for one in found.values())
    plain, rounded = found[Form.PLAIN], found[Form.W4A16]
    assert plain.bytes is not None
    assert abs(plain.bytes / 269_060_552 - 1) < 0.001, "as the starter model itself"
    assert rounded.bytes is not None
    assert rounded.bytes < plain.bytes / 2
    assert rounded.room == rounded.bytes + plain.bytes, "it is plain on the way"
    assert "on the way" in rounded.size_words
    assert "on the way" not in plain.size_words


@pytest.mark.parametrize(
    ("precision", "said"),
    [("3-bit table", "3-bit table"), ("2-bit binary", "Fewer would grow"), ("3-bit table + 4-bit table", "+")],
)
def test_that_other_widths_become_plain_only_and_it_is_said_why(precision: str, said: str) -> None:
    found = forms(tables(precision))
    assert found[Form.PLAIN].why_not == ""
    assert said in found[Form.W4A16].why_not
    assert found[Form.W4A16].size_words == ""


@pytest.mark.parametrize(
    ("quantization", "turns", "plain", "rounded"),
    [
        ("compressed-tensors pack-quantized", False, "", "engines serve that as it is"),
        ("compressed-tensors pack-quantized", True, "turns activations", "engines serve"),
        ("bitsandbytes", False, "Bitpress does not make", "engines serve"),
        (None, False, "plain already", "not compressed"),
    ],
)
def test_that_what_is_not_ours_has_a_reason(quantization: str | None, turns: bool, plain: str, rounded: str) -> None:
    found = forms(llama_model(quantization=quantization, precision="INT4"), turns=turns)
    assert plain in found[Form.PLAIN].why_not
    assert bool(plain) is bool(found[Form.PLAIN].why_not)
    assert rounded in found[Form.W4A16].why_not


def test_that_a_disk_without_room_is_told_with_both_numbers() -> None:
    one = forms(tables("4-bit table"))[Form.W4A16]
    assert one.room is not None
    assert room_finding(one, one.room) is None
    finding = room_finding(one, 10_000_000)
    assert finding is not None
    assert "10.0 MB are free" in finding.message


def test_that_the_grid_is_as_fine_as_the_columns_allow() -> None:
    assert rounded_recipe(SURVEY).parameters["group_size"] == 32
    assert rounded_recipe(llama_survey(hidden=4096, intermediate=11008)).parameters["group_size"] == 32
    odd = llama_survey(hidden=72, intermediate=104, heads=9)
    assert rounded_recipe(odd).parameters["group_size"] == "channel"
