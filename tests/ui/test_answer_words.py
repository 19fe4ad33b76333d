from hypothesis import given
from hypothesis import strategies as st
from model_values import tokens

from core.measure.results import Sampling
from ui.widgets.answer_words import difference_words, quoted, sampling_words, shown, span_of


def test_that_the_sentence_gives_both_probabilities() -> None:
    original = tokens("The", " fox", " bounces")
    other = tokens("The", " fox", " hares")
    assert difference_words(original, other, 2, True) == (
        "At token 3 the original gave “bounces” 0.50 and “hares” 0.41; here “hares” has 0.50."
    )


def test_that_an_unknown_probability_is_not_made_up() -> None:
    original = tuple(token.model_copy(update={"probability": None, "alternatives": ()}) for token in tokens("a", " b"))
    other = tuple(token.model_copy(update={"probability": None}) for token in tokens("a", " c"))
    assert difference_words(original, other, 1, True) == "At token 2 the original gave “b”; here “c”."


def test_that_an_answer_which_ends_sooner_is_said_so() -> None:
    assert (
        difference_words(tokens("a", " b"), tokens("a"), 1, True)
        == "At token 2 the original goes on with “b”; here the answer has ended."
    )


def test_that_an_answer_which_goes_on_is_said_so() -> None:
    words = difference_words(tokens("a"), tokens("a", " b"), 1, True)
    assert words == "At token 2 the original has ended; here it goes on with “b” 0.50."


def test_that_equal_answers_are_called_equal_only_when_both_have_ended() -> None:
    assert difference_words(tokens("a", "b"), tokens("a", "b"), None, True) == "All 2 tokens are the original's."
    assert difference_words(tokens("a"), tokens("a"), None, False) == ""


def test_that_invisible_tokens_are_said_in_words() -> None:
    assert [quoted(text) for text in ("", " ", "\n\n", "\t", " a\nb")] == [
        "the end",
        "a space",
        "a line break",
        "a tab",
        "“a b”",
    ]


@given(st.lists(st.text(max_size=6), max_size=12), st.integers(min_value=0, max_value=12))
def test_that_a_span_covers_its_token_in_the_shown_text(texts: list[str], index: int) -> None:
    made = tokens(*texts)
    whole = shown("".join(texts)).encode("utf-16-le", errors="surrogatepass")
    start, end = span_of(made, index)
    marked = whole[2 * start : 2 * end].decode("utf-16-le", errors="surrogatepass")
    if index < len(texts):
        text = shown(texts[index])
        assert marked == (text.lstrip() if texts[index].strip() else text)
    else:
        assert (start, end) == (len(whole) // 2, len(whole) // 2)


def test_that_settings_read_as_one_line() -> None:
    assert sampling_words(Sampling()) == "greedy · 256 tokens · seed 0"
    sampled = Sampling(temperature=0.7, top_p=0.9, top_k=40, max_tokens=64, seed=3, chat=False)
    assert sampling_words(sampled) == "temperature 0.7 · top-p 0.9 · top-k 40 · 64 tokens · seed 3 · no template"
