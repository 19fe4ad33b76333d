from pytestqt.qtbot import QtBot

from ui.widgets.legend import Legend


def test_that_a_legend_names_its_colours_in_words(qtbot: QtBot) -> None:
    legend = Legend()
    qtbot.addWidget(legend)
    legend.show_entries((("this job", 0), ("in use by all", None)))
    assert legend.accessibleName() == "this job, in use by all"
    assert legend.sizeHint().width() > 100
