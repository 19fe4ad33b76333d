"""Repeats, overlap by text, and guesses at languages."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration.builtin import prompts
from core.calibration.duplicates import repeats
from core.calibration.inspection import histogram, lengths_of
from core.calibration.languages import CODE, UNSURE, guessed_language, scripts
from core.calibration.overlap import evaluation_texts, overlap
from core.calibration.spec import CalibrationSample


def sentence(seed: int, words: int = 80) -> str:
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdefgh", k=6)) for _ in range(words))


def test_that_copies_and_near_copies_are_found_among_many():
    texts = [sentence(number) for number in range(500)]
    changed = texts[40].split()
    changed[30] = "otherwise"
    texts += [f" {texts[7]}\n", texts[8].upper(), " ".join(changed), sentence(40, 20)]
    found = repeats(texts)
    assert [(one.place, one.of, one.exact) for one in found] == [(500, 7, True), (501, 8, False), (502, 40, False)]
    assert found[1].likeness > 0.99
    assert 0.7 < found[2].likeness < 0.95


def test_that_what_merely_begins_alike_is_no_repeat():
    start = sentence(1, 20)
    assert repeats([f"{start} {sentence(number, 40)}" for number in range(2, 30)]) == ()


@given(st.lists(st.text(max_size=60), max_size=30))
def test_that_every_copy_is_counted_whatever_the_texts(texts: list[str]):
    found = [one for one in repeats(texts) if one.exact]
    assert len(found) == len(texts) - len({" ".join(text.split()) for text in texts})


def test_that_overlap_is_told_by_text_and_by_sample():
    texts = {"a": sentence(1), "b": sentence(2)}
    samples = [CalibrationSample(kind="text", text=text) for text in (sentence(3), sentence(2), sentence(1, 40))]
    found = overlap(samples, texts)
    runs = 68 + 68 + 28
    assert found.share == pytest.approx((68 + 28) / runs)
    assert list(found.by_text) == ["b", "a"]
    assert [(one.place, one.share, one.text) for one in found.by_sample] == [(1, 1.0, "b"), (2, 1.0, "a")]


def test_that_every_built_in_prompt_of_a_known_language_is_guessed_or_left_open():
    names = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese"}
    names |= {"nl": "Dutch", "sv": "Swedish", "ja": "Japanese", "zh": "Chinese", "ko": "Korean", "hi": "Hindi"}
    right = known = 0
    for prompt in prompts():
        guess = guessed_language("\n".join(message["content"] for message in prompt.messages))
        if prompt.language in names:
            known += 1
            right += guess == names[prompt.language]
            assert guess in (names[prompt.language], UNSURE, CODE), prompt
    assert right > 0.95 * known


def test_that_evaluation_prose_is_english_in_latin_letters():
    text = evaluation_texts()["prose-01-lighthouse.txt"]
    assert guessed_language(text) == "English"
    assert set(scripts(text)) == {"Latin"}


def test_that_code_and_nothing_are_no_language():
    assert guessed_language("for (int i = 0; i < n; ++i) { a[i] += b[i] * (c - 1); }") == CODE
    assert guessed_language("12345 + 6789") == CODE
    assert guessed_language("  \n") == UNSURE
    assert guessed_language("zyx wvu") == UNSURE


@given(st.text(max_size=200))
def test_that_any_text_has_a_guess(text: str):
    assert guessed_language(text)


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 3000))
def test_that_a_histogram_holds_every_sample_in_its_bin(counts: list[int], longest: int):
    bins = histogram(counts, longest)
    assert sum(one.count for one in bins) == len(counts)
    assert len(bins) <= 12
    for one in bins:
        assert one.count == sum(one.low <= max(1, count) <= one.high for count in counts)


def test_that_quantiles_are_those_of_samples():
    assert lengths_of(()).longest == 0
    found = lengths_of(range(1, 102))
    assert (found.shortest, found.p10, found.median, found.p90, found.longest) == (1, 11, 51, 91, 101)
