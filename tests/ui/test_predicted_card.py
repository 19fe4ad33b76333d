from __future__ import annotations

from pytestqt.qtbot import QtBot

from core.plan.predicted import Predicted
from core.value import Range
from ui.widgets.predicted_card import PredictedCard


def row(title: str, unit: str, span: tuple[float, float, float], actual: float) -> Predicted:
    low, value, high = span
    return Predicted(
        quantity=title,
        title=title,
        unit=unit,
        predicted=Range(value=value, low=low, high=high),
        actual=actual,
        inside=low <= actual <= high,
        ratio=actual / value,
    )


ROWS = (
    row("Size on disk", "bytes", (111.5e6, 112.6e6, 113.7e6), 112.6e6),
    row("Time", "seconds", (40, 61, 90), 112),
    row("Main memory", "memory", (1.0 * 2**30, 1.2 * 2**30, 1.5 * 2**30), 0.8 * 2**30),
)


def test_that_the_card_says_what_was_expected_what_it_was_and_whether_that_agrees(qtbot: QtBot) -> None:
    card = PredictedCard()
    qtbot.addWidget(card)
    card.show_rows(ROWS, "From 3 earlier runs of GPTQ W4A16 on this machine.")
    card.show()
    assert card.rows() == (
        ("Size on disk", "112 MB to 114 MB", "113 MB", "as expected"),
        ("Time", "40 s to 1 min 30 s", "1 min 52 s", "more"),
        ("Main memory", "1.0 GiB to 1.5 GiB", "819 MiB", "less"),
    )


def test_that_the_card_hides_where_nothing_was_expected(qtbot: QtBot) -> None:
    card = PredictedCard()
    qtbot.addWidget(card)
    card.show_rows(ROWS)
    card.show_rows(())
    assert card.isHidden()
    assert card.rows() == ()
