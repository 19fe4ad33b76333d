"""The card of a sweep and the dialog that starts one."""

from __future__ import annotations

import pytest
from model_values import a_benchmark, a_fidelity
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.errors import Problem
from core.measure.sweep_values import Recommendation, RowState, SweepResult, SweepRow
from core.methods.recovery import RecoverySpec
from core.value import Range
from ui.dialogs.sweep_start import SweepAsked, SweepStartDialog
from ui.models.sweep_table import TAGS_ROLE
from ui.models.sweep_words import state_cell
from ui.widgets.number_box import NumberBox
from ui.widgets.sweep_table import SweepCard


def row(key: str, state: RowState = RowState.WAITING, **changes: object) -> SweepRow:
    made = SweepRow(key=key, label=key.upper(), method=key, parameters={}, state=state)
    return made.model_copy(update=changes)


def measured(key: str, size: int, kl: float, gate: str) -> SweepRow:
    return row(
        key,
        RowState.MEASURED,
        bytes=size,
        seconds=65.0,
        device_bytes=400_000_000,
        peak_bytes=900_000_000,
        fidelity=a_fidelity(f"/out/{key}", kl),
        level="production" if gate == "pass" else "damaged",
        gate=gate,
        gate_sentence=f"The gate says {gate}.",
        speed=a_benchmark(f"/out/{key}", 12.0),
        tokens_per_second=Range(value=12.0, low=11.0, high=13.0),
        expected_speed=1.5,
        expected_speed_source="Published: somewhere.",
    )


ROWS = (
    measured("fp8", 163_000_000, 0.006, "pass"),
    measured("w4 <b>&", 113_000_000, 0.3, "fail"),
    row("w8", RowState.COMPRESSED, bytes=165_000_000),
    row("gptq", run=7),
    row("awq"),
    row(
        "reap", RowState.FAILED, problem=Problem(code="blocked", message="This model has no experts.", hint="Leave it.")
    ),
)
RESULT = SweepResult(
    id="3",
    original="/models/big",
    original_name="big",
    original_bytes=269_000_000,
    rows=ROWS,
    gate="production",
    gate_title="Production",
    front_size=("fp8", "w4 <b>&"),
    knee="fp8",
    recommendation=Recommendation(key="fp8", sentence="FP8 is the only one that passes production."),
)


@pytest.fixture
def card(qtbot: QtBot) -> SweepCard:
    made = SweepCard()
    qtbot.addWidget(made)
    made.resize(1080, 500)
    made.show_sweep(RESULT)
    made.show()
    return made


def label(card: QWidget, name: str) -> QLabel:
    found = card.findChild(QLabel, name)
    assert found is not None
    return found


def button(card: QWidget, name: str) -> QPushButton:
    found = card.findChild(QPushButton, name)
    assert found is not None
    return found


def tags(card: SweepCard, place: int, title: str) -> list[str]:
    table = card.view.table
    column = next(number for number in range(table.columnCount()) if table.headerData(number, _HORIZONTAL) == title)
    return [word for word, _ in table.index(place, column).data(TAGS_ROLE) or ()]


_HORIZONTAL = Qt.Orientation.Horizontal


def test_that_the_recommended_row_and_the_knee_are_marked_and_the_advice_is_read(card: SweepCard) -> None:
    assert tags(card, 0, "Method") == ["recommended", "knee"]
    assert tags(card, 1, "Method") == []
    assert label(card, "sweep.advice").text() == "FP8 is the only one that passes production."
    assert label(card, "sweep.heading").text() == "Sweep 3: big"
    assert label(card, "sweep.progress").text() == "2 of 6 measured, 1 pressed, 1 failed"


def test_that_every_row_says_how_far_it_is_and_what_the_gate_says(card: SweepCard) -> None:
    assert [tags(card, place, "State") for place in range(6)] == [
        ["measured"],
        ["measured"],
        ["pressed"],
        ["running"],
        ["waiting"],
        ["failed"],
    ]
    assert tags(card, 0, "Gate") == ["passes"]
    assert tags(card, 1, "Gate") == ["fails"]
    assert tags(card, 2, "Gate") == []
    assert state_cell(ROWS[5]).hint == "This model has no experts."


def test_that_names_from_outside_are_never_markup(card: SweepCard) -> None:
    table = card.view.table
    assert table.index(1, 0).data() == "W4 <B>&"
    assert "<B>" not in str(table.index(1, 0).data(Qt.ItemDataRole.ToolTipRole))


def test_that_a_chosen_row_is_explained_and_stays_chosen_while_rows_fill(card: SweepCard, qtbot: QtBot) -> None:
    with qtbot.waitSignal(card.row_chosen) as heard:
        card.view.selectRow(5)
    assert heard.args == ["reap"]
    assert label(card, "sweep.row").text() == "REAP: This model has no experts. Leave it."
    filled = (*ROWS[:3], measured("gptq", 113_000_000, 0.2, "fail"), *ROWS[4:])
    card.show_sweep(RESULT.model_copy(update={"rows": filled}))
    assert card.view.currentIndex().row() == 5
    assert label(card, "sweep.row").text().startswith("REAP")
    assert tags(card, 3, "State") == ["measured"]


def test_that_a_stopped_sweep_offers_to_go_on_and_a_running_one_to_stop(card: SweepCard, qtbot: QtBot) -> None:
    assert button(card, "sweep.resume").isVisible()
    with qtbot.waitSignal(card.resume_asked) as heard:
        button(card, "sweep.resume").click()
    assert heard.args == ["3"]
    card.show_running(True, "4 of 6: GPTQ")
    assert not button(card, "sweep.resume").isVisible()
    assert label(card, "sweep.now").text() == "4 of 6: GPTQ"
    with qtbot.waitSignal(card.stop_asked) as stopped:
        button(card, "sweep.stop").click()
    assert stopped.args == ["3"]
    card.show_running(False)
    card.show_sweep(RESULT.model_copy(update={"finished": True}))
    assert not button(card, "sweep.resume").isVisible()
    assert not button(card, "sweep.stop").isVisible()


def test_that_without_a_sweep_the_card_is_gone(card: SweepCard) -> None:
    card.show_sweep(None)
    assert not card.isVisible()


GATES = (("near-lossless", "Near-lossless"), ("production", "Production"))


def test_that_the_start_dialog_gives_gate_speed_and_mends(qtbot: QtBot) -> None:
    dialog = SweepStartDialog("3 methods", GATES, "production")
    qtbot.addWidget(dialog)
    combo = dialog.findChild(QComboBox, "sweep.start.gate")
    bench = dialog.findChild(QCheckBox, "sweep.start.bench")
    assert combo is not None
    assert bench is not None
    assert combo.currentText() == "Production"
    combo.setCurrentIndex(0)
    bench.setChecked(True)
    with qtbot.waitSignal(dialog.started) as heard:
        button(dialog, "sweep.start.start").click()
    assert heard.args == [SweepAsked(gate="near-lossless", bench=True, fix=True, recovery=None)]


def test_that_recovery_can_be_asked_for_where_it_goes_with_a_method(qtbot: QtBot) -> None:
    without = SweepStartDialog("1 method", GATES, "production", recovery=RecoverySpec())
    qtbot.addWidget(without)
    assert without.value().recovery is None
    dialog = SweepStartDialog("2 methods", GATES, "production", recoverable=["GPTQ"], recovery=RecoverySpec(rank=8))
    qtbot.addWidget(dialog)
    minutes = dialog.findChild(NumberBox, "sweep.start.minutes")
    box = dialog.findChild(QCheckBox, "sweep.start.recover")
    assert minutes is not None
    assert box is not None
    assert dialog.value().recovery == RecoverySpec(rank=8)
    with qtbot.waitSignal(dialog.changed) as heard:
        minutes.setValue(2.0)
    assert heard.args[0].recovery == RecoverySpec(rank=8, minutes=2.0)
    dialog.show_cost(heard.args[0], "It takes 3 min.")
    cost = dialog.findChild(QLabel, "sweep.start.cost")
    assert cost is not None
    assert cost.text() == "It takes 3 min."
    box.setChecked(False)
    dialog.show_cost(heard.args[0], "It takes 9 min.")
    assert cost.text() == "It takes 3 min.", "that was counted for another choice"
    assert not minutes.isEnabled()
