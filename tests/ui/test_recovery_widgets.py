"""What the window shows of a recovery: its curve, the box on Compress, the dialog of a finished run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QCheckBox, QPushButton
from pytestqt.qtbot import QtBot
from run_values import START, a_run

from core.jobs.protocol import Metric
from core.jobs.run import RunKind
from core.methods.recovery import HELD_OUT_METRIC, TRAIN_METRIC, RecoverySpec
from ui.dialogs.recover import RecoverDialog
from ui.forms.recovery_field import RecoveryField
from ui.pages.recovery_chart import MOST_POINTS, recovery_drawing, recovery_points
from ui.pages.runs import RunsPage
from ui.widgets.chart_drawing import Curve
from ui.widgets.number_box import NumberBox
from ui.widgets.recovery_card import RecoveryCard


def metric(name: str, step: int, value: float) -> Metric:
    return Metric(name=name, value=value, layer=str(step), unit="nats per token")


def curve(steps: int) -> tuple[Metric, ...]:
    held_out = [metric(HELD_OUT_METRIC, step, 0.3 / (1 + step)) for step in range(0, steps + 1, max(1, steps // 5))]
    return (*(metric(TRAIN_METRIC, step, 0.4 / step) for step in range(1, steps + 1)), *held_out)


def found(widget: Any, kind: Callable[..., Any], name: str) -> Any:
    child = widget.findChild(kind, name)
    assert child is not None, name
    return child


def test_that_the_curve_begins_with_what_was_before_and_long_training_is_put_together() -> None:
    drawing = recovery_drawing(curve(1000))
    lines = [mark for mark in drawing.marks if isinstance(mark, Curve)]
    assert len(lines[0].points) <= MOST_POINTS
    assert lines[0].points[-1][0] == 1000
    assert lines[1].points[0] == (0.0, 0.3)
    assert drawing.figures.rows[0] == ("0", "0.3")
    assert recovery_drawing((metric("quantization_error", 1, 2.0),)).empty


def test_that_points_of_other_metrics_are_no_part_of_it() -> None:
    metrics = (metric("quantization_error", 3, 1.0), metric(HELD_OUT_METRIC, 0, 0.2))
    assert recovery_points(metrics) == ((), ((0, 0.2),))


def test_that_the_card_shows_itself_with_the_first_figure_and_grows(qtbot: QtBot) -> None:
    card = RecoveryCard(recovery_drawing)
    qtbot.addWidget(card)
    assert card.isHidden()
    card.show_metrics(curve(10))
    assert not card.isHidden()
    before = len(card.drawing().figures.rows)
    card.show_metrics((*curve(20), metric(HELD_OUT_METRIC, 21, 0.001)))
    qtbot.waitUntil(lambda: len(card.drawing().figures.rows) > before)
    card.show_metrics(())
    assert card.isHidden()


def test_that_the_box_gives_a_recovery_and_keeps_what_it_does_not_show(qtbot: QtBot) -> None:
    field = RecoveryField()
    qtbot.addWidget(field)
    assert field.value() is None
    heard: list[object] = []
    field.value_changed.connect(lambda: heard.append(field.value()))
    field.set_value(RecoverySpec(minutes=3, rank=8))
    assert heard == []
    found(field, NumberBox, "compress.recover.minutes").setValue(4)
    assert field.value() == RecoverySpec(minutes=4, rank=8)
    found(field, QCheckBox, "compress.recover").setChecked(False)
    assert heard[-1] is None


def test_that_the_dialog_starts_with_what_was_set_and_not_where_something_blocks(qtbot: QtBot) -> None:
    dialog = RecoverDialog("tiny-w4", "It takes about 2 GiB of memory.", "")
    qtbot.addWidget(dialog)
    found(dialog, NumberBox, "recover.minutes").setValue(2)
    found(dialog, QCheckBox, "recover.norms").setChecked(False)
    with qtbot.waitSignal(dialog.started) as heard:
        found(dialog, QPushButton, "recover.start").click()
    assert heard.args == [RecoverySpec(minutes=2, norms=False)]
    blocked = RecoverDialog("tiny-w4", "", "Recovery needs about 90 GiB of memory and 2 GiB are free.")
    qtbot.addWidget(blocked)
    assert not found(blocked, QPushButton, "recover.start").isEnabled()


def test_that_a_finished_run_offers_its_recovery_and_one_that_left_nothing_does_not(qtbot: QtBot) -> None:
    page = RunsPage(clock=lambda: START + 31)
    qtbot.addWidget(page)
    page.show()
    gone = a_run(8, kind=RunKind.RECOVER, result={"output": None, "recovery": None, "seconds": 3.0})
    made = a_run(7, result={"output": "/artifacts/tiny-w4", "bytes": 10, "seconds": 3.0})
    page.show_runs((made, gone))
    page.select(7)
    button = found(page, QPushButton, "runs.recover")
    assert button.isVisible()
    with qtbot.waitSignal(page.recover_requested) as heard:
        button.click()
    assert heard.args == [7]
    page.select(8)
    assert not button.isVisible()
