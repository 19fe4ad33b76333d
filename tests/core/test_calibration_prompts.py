from __future__ import annotations

from collections import Counter

from core.calibration.builtin import choose, prompts
from core.calibration.overlap import evaluation_texts, overlap
from core.calibration.spec import CalibrationSample


def text(words: str) -> CalibrationSample:
    return CalibrationSample(kind="text", text=words)


def test_that_there_are_enough_prompts_and_each_ends_with_a_question():
    found = prompts()
    assert len(found) >= 256
    assert len({prompt.id for prompt in found}) == len(found)
    assert all(prompt.messages[-1]["role"] == "user" for prompt in found)


def test_that_a_larger_choice_begins_with_the_smaller():
    found = prompts()
    whole = choose(found, len(found), 3)
    assert sorted(prompt.id for prompt in whole) == sorted(prompt.id for prompt in found)
    for count in (0, 1, 7, 128, 10_000):
        assert choose(found, count, 3) == whole[:count]


def test_that_categories_are_spread_evenly():
    counts = Counter(prompt.category for prompt in choose(prompts(), 128, 0))
    assert len(counts) == len({prompt.category for prompt in prompts()})
    assert max(counts.values()) - min(counts.values()) <= 1


def test_that_the_seed_decides():
    assert choose(prompts(), 32, 0) == choose(prompts(), 32, 0)
    assert choose(prompts(), 32, 0) != choose(prompts(), 32, 1)
    assert choose((), 5, 0) == ()


def test_that_the_built_in_prompts_share_nothing_with_the_evaluation():
    samples = [CalibrationSample(kind="chat", messages=prompt.messages) for prompt in prompts()]
    assert overlap(samples, evaluation_texts()).share == 0.0


def test_that_copied_text_is_found_whatever_its_case_and_punctuation():
    sentence = "The keeper lit the lamp at dusk, as he had done for more than forty years, and went to bed."
    copied = text("the KEEPER lit the lamp at dusk as he had done for more than forty years and went to bed")
    assert overlap([copied], {"text": sentence}).share == 1.0
    own = text("Nobody has ever written this particular sequence of words about seventeen green umbrellas in a boat.")
    assert overlap([own], {"text": sentence}).share == 0.0
    assert 0.3 < overlap([copied, own], {"text": sentence}).share < 0.8


def test_that_a_short_sample_counts_as_a_whole():
    assert overlap([text("lit the lamp at dusk")], {"text": "The keeper lit the lamp at dusk."}).share == 1.0
    assert overlap([text("lit the")], {"text": "The keeper lit the lamp at dusk."}).share == 0.0
    assert overlap([], {"text": "anything"}).share == 0.0


def test_that_chats_are_compared_without_their_roles():
    chat = CalibrationSample(
        kind="chat",
        messages=(
            {"role": "user", "content": "the keeper lit the lamp"},
            {"role": "assistant", "content": "at dusk every day"},
        ),
    )
    assert overlap([chat], {"text": "The keeper lit the lamp at dusk every day."}).share == 1.0
