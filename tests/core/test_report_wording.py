import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.report.wording import memory, nats, one_line, seconds, shortened, significant, size, visible


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (0.0, 3, "0"),
        (0.0214, 3, "0.0214"),
        (9.996, 3, "10.0"),
        (0.9996, 3, "1.00"),
        (99.95, 3, "100"),
        (123456.0, 3, "123,000"),
        (1e-7, 3, "0.000000100"),
        (float("inf"), 3, "infinite"),
        (float("nan"), 3, "not a number"),
    ],
)
def test_that_figures_keep_their_digits_without_an_exponent(value: float, digits: int, said: str) -> None:
    assert significant(value, digits) == said


def test_that_units_are_joined_to_their_figure() -> None:
    said = [size(269_060_552), size(5.7e9), size(12), memory(24 * 2**30), seconds(0.8401), seconds(125), seconds(3725)]
    plain = [text.replace("\N{NO-BREAK SPACE}", " ") for text in said]
    assert plain == ["269 MB", "5.70 GB", "12 B", "24.0 GiB", "0.840 s", "2 min 05 s", "1 h 02 min"]
    assert not any(" " in text for text in said)


def test_that_a_divergence_below_what_is_resolved_is_a_bound() -> None:
    assert nats(1e-9) == "< 0.00001"
    assert nats(0.0) == "0"


def test_that_hidden_characters_are_shown_and_scripts_stay_whole() -> None:
    assert visible("a\x1b[0m\u202eb\u2066\ufeff\x9b\ud800") == "a[U+001B][0m[U+202E]b[U+2066][U+FEFF][U+009B]\ufffd"
    family = "👨\N{ZERO WIDTH JOINER}👩"
    assert (
        visible(f"{family} می\N{ZERO WIDTH NON-JOINER}خواهم\n\tx") == f"{family} می\N{ZERO WIDTH NON-JOINER}خواهم\n\tx"
    )


@given(st.text())
def test_that_any_text_can_be_written_and_shown_on_one_line(text: str) -> None:
    shown = one_line(text)
    shown.encode("utf-8")
    assert not set(shown) & set("\n\r\x1b\u202e\u2028")
    assert visible(shown) == shown


def test_that_long_names_lose_their_middle() -> None:
    assert shortened("abcdefghij", 7) == "abc…hij"[:4] + "hij"
    assert len(shortened("x" * 100, 30)) == 30
