from __future__ import annotations

from pytestqt.qtbot import QtBot
from window_values import FP8, a_plan

from ui.pages.compress_start import StartCard
from ui.widgets.plain import PlainLabel


def test_that_the_card_says_on_what_the_time_rests(qtbot: QtBot) -> None:
    card = StartCard()
    qtbot.addWidget(card)
    made = a_plan(FP8)
    assert made.estimates is not None
    basis = card.findChild(PlainLabel, "compress.basis")
    assert basis is not None
    card.show_plan(made)
    assert basis.isHidden()
    said = "From 3 earlier runs of FP8 dynamic with this model on this machine."
    card.show_plan(made.model_copy(update={"estimates": made.estimates.model_copy(update={"basis": said})}))
    assert basis.text() == said
    assert not basis.isHidden()
