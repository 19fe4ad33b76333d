"""Facts about the dialog that asks how a compressed model leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_values import a_model
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton, QRadioButton
from pytestqt.qtbot import QtBot
from run_values import PROOF, a_run

from core.jobs.run import RunKind
from core.plan.export_forms import Form, Offered
from ui.dialogs.export import ExportDialog
from ui.pages.models import ModelsPage
from ui.pages.run_words import figures, state_words
from ui.pages.runs import RunsPage

PLAIN = Offered(form=Form.PLAIN, title="Plain", about="As it was.", bytes=269_000_000, room=269_000_000)
ROUNDED = Offered(form=Form.W4A16, title="W4A16", about="Rounded.", bytes=90_000_000, room=359_000_000)
NOT_ROUNDED = ROUNDED.model_copy(update={"why_not": "It is 3-bit table."})
PLACES = {Form.PLAIN: Path("/models/x-plain"), Form.W4A16: Path("/models/x-w4a16")}


def found(widget: Any, kind: Callable[..., Any], name: str) -> Any:
    child = widget.findChild(kind, name)
    assert child is not None, name
    return child


def a_dialog(qtbot: QtBot, *forms: Offered) -> ExportDialog:
    dialog = ExportDialog("x", forms, PLACES)
    qtbot.addWidget(dialog)
    return dialog


def test_that_a_form_that_is_not_possible_says_why_and_cannot_be_chosen(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot, PLAIN, NOT_ROUNDED)
    assert dialog.form is Form.PLAIN
    assert not found(dialog, QRadioButton, "export.form.w4a16").isEnabled()
    assert found(dialog, QLabel, "export.about.w4a16").text() == "It is 3-bit table."
    assert found(dialog, QLabel, "export.size.w4a16").text() == ""
    assert found(dialog, QLabel, "export.size.plain").text() == "about 269 MB"


def test_that_without_any_form_nothing_can_be_started(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot, PLAIN.model_copy(update={"why_not": "It is plain."}), NOT_ROUNDED)
    assert dialog.form is None
    assert not found(dialog, QPushButton, "export.start").isEnabled()


def test_that_each_form_has_its_own_folder_and_another_name_is_checked(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot, PLAIN, ROUNDED)
    checked: list[tuple[Form, Path]] = []
    dialog.place_changed.connect(lambda form, place: checked.append((form, place)))
    found(dialog, QRadioButton, "export.form.w4a16").click()
    assert dialog.place == Path("/models/x-w4a16")
    name = found(dialog, QLineEdit, "export.name")
    name.clear()
    qtbot.keyClicks(name, "mine")
    dialog.set_folder(Path("/elsewhere"))
    assert checked[-1] == (Form.W4A16, Path("/elsewhere/mine"))
    with qtbot.waitSignal(dialog.started) as started:
        found(dialog, QPushButton, "export.start").click()
    assert started.args == [Form.W4A16, Path("/elsewhere/mine")]


def test_that_a_name_that_leads_elsewhere_is_no_name(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot, PLAIN)
    name, start = found(dialog, QLineEdit, "export.name"), found(dialog, QPushButton, "export.start")
    for text in ("", "../x", "a/b", ".."):
        name.setText(text)
        name.textEdited.emit(text)
        assert not start.isEnabled(), text
    name.setText("x")
    name.textEdited.emit("x")
    dialog.show_problem(Form.PLAIN, Path("/models/x"), "")
    assert start.isEnabled()


def test_that_what_stands_in_the_way_is_shown_and_an_old_answer_is_not(qtbot: QtBot) -> None:
    dialog = a_dialog(qtbot, PLAIN, ROUNDED)
    problem, start = found(dialog, QLabel, "export.problem"), found(dialog, QPushButton, "export.start")
    dialog.show_problem(Form.PLAIN, Path("/models/x-plain"), "It exists already.")
    assert problem.text() == "It exists already."
    assert not start.isEnabled()
    dialog.show_problem(Form.W4A16, Path("/models/x-w4a16"), "")
    assert not start.isEnabled(), "that was said of the other form"


def test_that_only_a_compressed_model_offers_to_be_exported(qtbot: QtBot) -> None:
    page = ModelsPage()
    qtbot.addWidget(page)
    plain, pressed = a_model("tiny"), a_model("tiny-w4", "tiny", quantization="bitpress-codebook")
    page.show_models((plain, pressed))
    button = found(page, QPushButton, "models.export")
    page.select(plain.path)
    assert button.isHidden()
    page.select(pressed.path)
    assert not button.isHidden()
    with qtbot.waitSignal(page.export_requested) as asked:
        button.click()
    assert asked.args == [pressed]
    assert "Export…" in [action.text() for action in page.menu(pressed).actions()]
    assert "Export…" not in [action.text() for action in page.menu(plain).actions()]


def test_that_a_run_that_made_something_offers_it_and_an_export_says_how_far_it_is_from_the_artifact(
    qtbot: QtBot,
) -> None:
    page = RunsPage()
    qtbot.addWidget(page)
    result = {"output": "/o", "bytes": 100, "seconds": 1.0, "proof": PROOF}
    made = a_run(1, result=result)
    exported = a_run(2, kind=RunKind.EXPORT, result=result)
    page.show_runs((made, exported))
    page.select(1)
    button = found(page, QPushButton, "runs.export")
    assert not button.isHidden()
    with qtbot.waitSignal(page.export_requested) as asked:
        button.click()
    assert asked.args == [1]
    page.select(2)
    assert button.isHidden()
    assert "KL from the artifact, in nats" in [caption for _, caption in figures(exported)]
    assert state_words(exported)[0] == "proved"
