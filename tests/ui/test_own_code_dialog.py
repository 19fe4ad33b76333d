"""Facts about the window that shows a model's own code, and asks for the consent to run it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QLabel, QListWidget, QPlainTextEdit, QPushButton
from pytestqt.qtbot import QtBot

from core.methods.recipe import Recipe
from core.models.consent import Consent
from core.models.own_code import CodeFile, OwnCode
from core.plan.finding import CONSENT as CONSENT_FIX
from core.plan.finding import Finding, Severity
from core.plan.method_plan import MethodPlan
from ui.dialogs.own_code import OwnCodeDialog
from ui.pages.compress_start import StartCard
from ui.widgets.consents_card import ConsentsCard

TEXTS = {"modeling_<b>.py": "<b>bold</b>\n\x1b[31mred \u202e", "tok.py": "x = 1"}
CODE = OwnCode(
    folder=Path("/m"),
    repository="some/<i>body</i> & co",
    named=("modeling.M for AutoModel",),
    files=tuple(CodeFile(name=name, bytes=len(text), sha256="ab" * 32) for name, text in TEXTS.items()),
    needed=("model",),
)
CONSENT = Consent(
    model=CODE.repository,
    path=CODE.folder,
    fingerprint=CODE.fingerprint,
    files=CODE.files,
    given=datetime(2026, 11, 22, tzinfo=UTC),
    by="ada",
    version="1",
)


def shown(qtbot: QtBot, code: OwnCode = CODE, consent: Consent | None = None) -> OwnCodeDialog:
    dialog = OwnCodeDialog(code, TEXTS, consent=consent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def said(dialog: OwnCodeDialog) -> str:
    return " ".join(label.text() for label in dialog.findChildren(QLabel))


def files(dialog: OwnCodeDialog) -> QListWidget:
    found = dialog.findChild(QListWidget, "own_code.files")
    assert found is not None
    return found


def button(dialog: OwnCodeDialog, name: str) -> QPushButton | None:
    return dialog.findChild(QPushButton, f"own_code.{name}")


def test_that_the_code_is_shown_as_text_with_its_hash_and_repository(qtbot: QtBot) -> None:
    dialog = shown(qtbot)
    text = dialog.findChild(QPlainTextEdit, "own_code.text")
    digest = dialog.findChild(QLabel, "own_code.hash")
    assert text is not None
    assert digest is not None
    assert text.isReadOnly()
    assert text.toPlainText() == "<b>bold</b>\n\u241b[31mred \ufffd"
    assert "ab" * 32 in digest.text()
    files(dialog).setCurrentRow(1)
    assert text.toPlainText() == "x = 1"
    assert "Python code from some/<i>body</i> & co" in said(dialog)
    assert "cannot be used without this code" in said(dialog)
    assert "It would run as you" in said(dialog)
    copy = button(dialog, "copy")
    assert copy is not None
    copy.click()
    assert QApplication.clipboard().text() == CODE.fingerprint


def test_that_agreeing_takes_every_file_a_tick_and_a_button_that_enter_does_not_press(qtbot: QtBot) -> None:
    dialog = shown(qtbot)
    heard: list[bool] = []
    dialog.agreed.connect(lambda: heard.append(True))
    agree, tick = button(dialog, "agree"), dialog.findChild(QCheckBox, "own_code.tick")
    assert agree is not None
    assert tick is not None
    assert not tick.isEnabled()
    assert not agree.isEnabled()
    assert "1 of 2 files were opened" in said(dialog)
    files(dialog).setCurrentRow(1)
    assert tick.isEnabled()
    assert not agree.isEnabled()
    tick.click()
    assert agree.isEnabled()
    assert not agree.isDefault()
    assert not agree.autoDefault()
    QTest.keyClick(dialog, Qt.Key.Key_Return)
    assert not dialog.isVisible()
    assert heard == []
    dialog.show()
    agree.click()
    assert heard == [True]


def test_that_a_consent_that_holds_is_told_and_can_be_withdrawn(qtbot: QtBot) -> None:
    dialog = shown(qtbot, consent=CONSENT)
    heard: list[bool] = []
    dialog.withdrawn.connect(lambda: heard.append(True))
    assert "ada agreed to it on 2026-11-22" in said(dialog)
    assert button(dialog, "agree") is None
    withdraw = button(dialog, "withdraw")
    assert withdraw is not None
    assert not withdraw.isDefault()
    withdraw.click()
    assert heard == [True]


def test_that_code_of_another_repository_cannot_be_agreed_to(qtbot: QtBot) -> None:
    dialog = shown(qtbot, CODE.model_copy(update={"elsewhere": ("else/where",)}))
    assert "else/where, which is not in this folder" in said(dialog)
    assert "Bitpress never runs this code" in said(dialog)
    assert button(dialog, "agree") is None


def test_that_code_that_is_not_needed_is_said_to_be_left_alone(qtbot: QtBot) -> None:
    dialog = shown(qtbot, CODE.model_copy(update={"needed": ()}))
    assert "transformers knows this kind of model itself" in said(dialog)
    assert button(dialog, "agree") is None


def test_that_the_settings_list_what_was_agreed_to_and_take_it_back(qtbot: QtBot) -> None:
    card = ConsentsCard()
    qtbot.addWidget(card)
    assert any("agreed to none" in label.text() for label in card.findChildren(QLabel) if not label.isHidden())
    card.show_consents((CONSENT,))
    assert any(f"{CODE.repository}, 2 files" in label.text() for label in card.findChildren(QLabel))
    withdraw = card.findChild(QPushButton, "settings.consents.list.0.act")
    assert withdraw is not None
    with qtbot.waitSignal(card.withdraw_requested) as heard:
        withdraw.click()
    assert heard.args == [CODE.fingerprint]


def test_that_the_finding_before_a_start_opens_the_code_and_mends_nothing(qtbot: QtBot) -> None:
    card = StartCard()
    qtbot.addWidget(card)
    finding = Finding(code="remote-code", severity=Severity.BLOCKS, message="code", fix={CONSENT_FIX: "ab" * 32})
    plan = MethodPlan(
        recipe=Recipe(method="fp8-dynamic", parameters={}),
        findings=(finding, finding),
        estimates=None,
        rank=0,
        advice="",
        reason="",
    )
    card.show_plan(plan)
    read = card.findChild(QPushButton, "compress.findings.0.act")
    assert read is not None
    assert read.text() == "Read the code…"
    mended: list[object] = []
    card.fix_requested.connect(mended.append)
    with qtbot.waitSignal(card.code_requested):
        read.click()
    assert mended == []
    mend_all = card.findChild(QPushButton, "compress.mend_all")
    assert mend_all is not None
    assert mend_all.isHidden()
