"""Several sources by weight: how they are written, and how many samples each gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.calibration.mix_text import read_sources
from core.calibration.shares import mixed, shares
from core.calibration.sources import chosen_samples
from core.calibration.spec import BUILT_IN, SELF_CHAT, CalibrationSpec, MixPart, mix_text
from core.errors import BitpressError, Problem
from core.plan.work import expected_tokens

WEIGHTS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=8)


def parts(*texts: str, there: frozenset[str] = frozenset()) -> list[tuple[str, float]]:
    found = read_sources(texts, lambda path: path, lambda path: path in there)
    return [(part.source, part.weight) for part in found]


def fault(*texts: str) -> Problem:
    with pytest.raises(BitpressError) as refused:
        parts(*texts)
    assert refused.value.problem.code == "bad-calibration"
    assert refused.value.problem.hint
    return refused.value.problem


def test_that_the_largest_remainders_get_what_rounding_leaves():
    assert shares(128, [2, 1]) == (85, 43)
    assert shares(10, [1, 1, 1]) == (4, 3, 3)
    assert shares(1, [1, 1]) == (1, 0)
    assert shares(100, [0.7, 0.2, 0.1]) == (70, 20, 10)


def test_that_what_a_part_lacks_goes_to_the_others_by_weight():
    assert shares(100, [2, 1, 1], {0: 10}) == (10, 45, 45)
    assert shares(100, [2, 1, 1], {0: 10, 1: 20}) == (10, 20, 70)
    assert shares(100, [1, 1], {0: 10, 1: 20}) == (10, 20)
    assert shares(100, [1, 1], {0: 0}) == (0, 100)


@given(total=st.integers(0, 5000), weights=WEIGHTS, data=st.data())
def test_that_shares_add_up_and_keep_to_their_limits(total: int, weights: list[float], data: st.DataObject):
    limits = data.draw(st.dictionaries(st.integers(0, len(weights) - 1), st.integers(0, 3000)))
    given_out = shares(total, weights, limits)
    assert all(given_out[place] <= limit for place, limit in limits.items())
    most = sum(limits.values()) if len(limits) == len(weights) else total
    assert sum(given_out) == min(total, most)
    if not limits:
        exact = [total * weight / sum(weights) for weight in weights]
        assert all(abs(count - wanted) < 1 for count, wanted in zip(given_out, exact, strict=True))


@given(total=st.integers(1, 300), weights=WEIGHTS, data=st.data())
def test_that_a_mix_takes_what_there_is(total: int, weights: list[float], data: st.DataObject):
    there = data.draw(st.lists(st.integers(0, 200), min_size=len(weights), max_size=len(weights)))
    given_out = mixed(total, weights, lambda place, count: range(min(count, there[place])))
    assert sum(map(len, given_out)) == min(total, sum(there))
    counts = [len(part) for part in given_out]
    assert all(count <= most for count, most in zip(counts, there, strict=True))
    wanted = shares(total, weights)
    if all(count <= most for count, most in zip(wanted, there, strict=True)):
        assert counts == list(wanted)


def test_that_sources_are_written_with_weights():
    assert parts("self-chat") == [(SELF_CHAT, 1)]
    assert parts("self-chat*2+/data/a.jsonl*1") == [(SELF_CHAT, 2), ("/data/a.jsonl", 1)]
    assert parts("set:mine*0.5", "built-in", "b.txt * 3") == [("set:mine", 0.5), (BUILT_IN, 1), ("b.txt", 3)]


def test_that_a_path_with_a_plus_or_a_star_is_understood_where_it_exists():
    there = frozenset({"/data/c++/a.jsonl", "b*2"})
    assert parts("/data/c++/a.jsonl*2+self-chat", there=there) == [("/data/c++/a.jsonl", 2), (SELF_CHAT, 1)]
    assert parts("self-chat+/data/c++/a.jsonl", there=there) == [(SELF_CHAT, 1), ("/data/c++/a.jsonl", 1)]
    assert parts("b*2", there=there) == [("b*2", 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("self-chat*2+b*x", "In part 2 of 'self-chat*2+b*x', the weight 'x' of b"),
        ("a*0", "the weight '0' of a"),
        ("a*-1", "the weight '-1' of a"),
        ("a*nan", "the weight 'nan' of a"),
        ("a*1e400", "the weight '1e400' of a"),
        ("a*99999999", "the weight '99999999' of a"),
        ("a++b", "There is no source in part 2 of 'a++b'"),
        ("", "There is no source"),
        ("*2", "There is no source in '*2'"),
        ("set:", "set: has no name"),
        ("a+b+a*2", "a is named twice"),
    ],
)
def test_that_what_stands_wrong_is_named(text: str, said: str):
    assert said in fault(text).message


def test_that_too_many_sources_are_refused():
    assert "17 sources" in fault(*(f"{number}.txt" for number in range(17))).message
    assert "No calibration source" in fault().message


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 50)), min_size=2, unique_by=lambda one: one[0]))
def test_that_a_mix_is_read_back_as_it_is_shown(written: list[tuple[str, int]]):
    mix = tuple(MixPart(source=f"/data/{name}.txt", weight=weight / 4) for name, weight in written)
    spec = CalibrationSpec(mix=mix)
    assert spec.source == mix_text(mix)
    assert read_sources([spec.source], lambda path: path, lambda _path: False) == mix


def test_that_an_old_choice_still_loads_and_one_part_is_no_mix():
    old = '{"source":"/data/a.jsonl","samples":64,"max_length":256,"seed":3,"text_field":null}'
    spec = CalibrationSpec.model_validate_json(old)
    assert (spec.mix, spec.sets, spec.parts) == ((), (), (MixPart(source="/data/a.jsonl"),))
    assert CalibrationSpec(mix=(MixPart(source="b", weight=7),)) == CalibrationSpec(source="b")


def test_that_a_mix_survives_json_and_names_no_source_twice():
    spec = CalibrationSpec(mix=(MixPart(source=SELF_CHAT, weight=3), MixPart(source="/a")), samples=8)
    assert CalibrationSpec.model_validate_json(spec.model_dump_json()) == spec
    assert (spec.part_samples, spec.chat_samples) == ((6, 2), 6)
    with pytest.raises(ValidationError, match="named once"):
        CalibrationSpec(mix=(MixPart(source="a"), MixPart(source="a", weight=2)))
    with pytest.raises(ValidationError):
        CalibrationSpec.model_validate({"mix": [{"source": "a", "weight": -1}, {"source": "b"}]})


def test_that_a_mix_is_expected_to_have_the_tokens_of_its_parts():
    chat, file = (expected_tokens(CalibrationSpec(source=source, samples=8)) for source in (SELF_CHAT, "/a"))
    mix = tuple(MixPart(source=source) for source in (SELF_CHAT, "/a"))
    assert chat < file
    assert abs(expected_tokens(CalibrationSpec(mix=mix, samples=16)) - (chat + file)) <= 1


def test_that_samples_are_drawn_by_weight_and_by_seed(tmp_path: Path):
    for name, count in (("few", 5), ("many", 100)):
        lines = "".join(json.dumps({"text": f"{name} {number}"}) + "\n" for number in range(count))
        (tmp_path / f"{name}.jsonl").write_text(lines)
    mix = (MixPart(source=str(tmp_path / "few.jsonl"), weight=3), MixPart(source=str(tmp_path / "many.jsonl")))
    spec = CalibrationSpec(mix=mix, samples=40)
    few, many = chosen_samples(spec)
    assert (len(few), len(many)) == (5, 35)
    assert chosen_samples(spec) == (few, many)
    assert chosen_samples(spec.model_copy(update={"seed": 1})) != (few, many)
    numbers = [int(sample.text.split()[1]) for sample in many]
    assert numbers == sorted(set(numbers))
