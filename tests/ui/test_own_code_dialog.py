"""Facts about the window that shows a model's own code."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QApplication, QLabel, QListWidget, QPlainTextEdit, QPushButton
from pytestqt.qtbot import QtBot

from core.models.own_code import CodeFile, OwnCode
from ui.dialogs.own_code import OwnCodeDialog

TEXTS = {"modeling_<b>.py": "<b>bold</b>\n\x1b[31mred \u202e", "tok.py": "x = 1"}
CODE = OwnCode(
    folder=Path("/m"),
    repository="some/<i>body</i>",
    named=("modeling.M for AutoModel",),
    elsewhere=("else/where",),
    files=tuple(CodeFile(name=name, bytes=len(text), sha256="ab" * 32) for name, text in TEXTS.items()),
)


def test_that_the_code_is_shown_as_text_with_its_hash_and_repository(qtbot: QtBot) -> None:
    dialog = OwnCodeDialog(CODE, TEXTS, needed=True)
    qtbot.addWidget(dialog)
    dialog.show()
    text = dialog.findChild(QPlainTextEdit, "own_code.text")
    files = dialog.findChild(QListWidget, "own_code.files")
    digest = dialog.findChild(QLabel, "own_code.hash")
    assert text is not None
    assert files is not None
    assert digest is not None
    assert text.isReadOnly()
    assert text.toPlainText() == "<b>bold</b>\n\u241b[31mred \ufffd"
    assert "ab" * 32 in digest.text()
    files.setCurrentRow(1)
    assert text.toPlainText() == "x = 1"
    said = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert "Python code from some/<i>body</i>" in said
    assert "cannot be used without it" in said
    assert "else/where, which is not in this folder" in said
    copy = dialog.findChild(QPushButton, "own_code.copy")
    assert copy is not None
    copy.click()
    assert QApplication.clipboard().text() == CODE.fingerprint


def test_that_code_that_is_not_needed_is_said_to_be_left_alone(qtbot: QtBot) -> None:
    dialog = OwnCodeDialog(CODE, TEXTS, needed=False)
    qtbot.addWidget(dialog)
    said = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert "transformers knows this kind of model itself" in said
