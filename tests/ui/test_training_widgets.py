"""What the window shows of weights that are trained to be rounded: a curve of their own, and figures."""

from __future__ import annotations

from core.jobs.protocol import Metric
from core.methods.qat import QAT_HELD_OUT_METRIC, QAT_TRAIN_METRIC
from core.methods.recovery import HELD_OUT_METRIC
from ui.pages.recovery_chart import recovery_drawing, training_drawing
from ui.pages.run_words import _gain
from ui.widgets.recovery_card import RecoveryCard


def metric(name: str, step: int, value: float) -> Metric:
    return Metric(name=name, value=value, layer=str(step))


CURVE = (
    metric(QAT_HELD_OUT_METRIC, 0, 0.44),
    metric(QAT_TRAIN_METRIC, 1, 0.5),
    metric(QAT_TRAIN_METRIC, 2, 0.4),
    metric(QAT_HELD_OUT_METRIC, 2, 0.3),
)


def test_that_a_training_and_a_recovery_have_a_curve_each() -> None:
    drawing = training_drawing(CURVE)
    assert not drawing.empty
    assert drawing.title.startswith("Training")
    assert [row[0] for row in drawing.figures.rows] == ["0", "2"]
    assert recovery_drawing(CURVE).empty
    assert training_drawing((metric(HELD_OUT_METRIC, 0, 0.4),)).empty


def test_that_the_card_shows_itself_with_the_first_figure(qtbot) -> None:
    card = RecoveryCard(training_drawing, "Training", "runs.training")
    qtbot.addWidget(card)
    assert card.isHidden()
    card.show_metrics(CURVE)
    assert not card.isHidden()


def test_that_the_run_page_says_what_training_gained_over_rounding() -> None:
    part = {"value": 0.1, "low": 0.09, "high": 0.11}
    said = {
        "helped": True,
        "before": {"value": 0.44, "low": 0.4, "high": 0.5},
        "after": part,
        "change": {"value": -0.34, "low": -0.4, "high": -0.3},
        "trained": {"weights": 1000},
    }
    assert _gain({"training": said}, "training")[0] == ("0.100", "KL on unseen samples, 0.440 by rounding alone")
    assert _gain({"training": {**said, "helped": False}}, "training")[0] == (
        "0.440",
        "not trained: no gain beyond its interval",
    )
    assert _gain({"training": None}, "training") == ()
