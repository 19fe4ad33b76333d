"""The Python code that came with a model, to be read: never run, never shown as anything but text."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QDialog, QHBoxLayout, QListWidget, QListWidgetItem, QPlainTextEdit, QVBoxLayout, QWidget

from core.models.own_code import CodeFile, OwnCode
from ui.humanize import bytes_text
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided import literal
from ui.widgets.fact_list import FactList
from ui.widgets.plain import PlainLabel, harmless

_SIDE = 300


class OwnCodeDialog(QDialog):
    """The files on the left, the chosen one's text on the right."""

    def __init__(self, code: OwnCode, texts: Mapping[str, str], *, needed: bool, parent: QWidget | None = None) -> None:
        """`texts` are the files' by name; `needed` says whether the model cannot do without this code."""
        super().__init__(parent)
        self.setObjectName("own_code")
        self.setWindowTitle("Code that came with the model")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1040, 700)
        self._code = code
        self._texts = texts
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        heading = PlainLabel(f"Python code from {code.repository}", "heading")
        heading.setObjectName("own_code.heading")
        column.addWidget(heading)
        column.addWidget(PlainLabel(risk_words(needed)))
        facts = FactList()
        facts.setObjectName("own_code.facts")
        facts.show_facts(fact_words(code))
        column.addWidget(facts)
        column.addLayout(self._make_files(), 1)
        column.addLayout(self._make_buttons())
        self._list.setCurrentRow(0)
        self._list.setFocus()

    def _make_files(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(12)
        self._list = QListWidget()
        self._list.setObjectName("own_code.files")
        self._list.setAccessibleName("Python files")
        self._list.setFixedWidth(_SIDE)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for file in self._code.files:
            self._list.addItem(_item(file))
        self._list.currentRowChanged.connect(self._show)
        right = QVBoxLayout()
        right.setSpacing(8)
        self._hash = PlainLabel("", "note")
        self._hash.setObjectName("own_code.hash")
        self._text = QPlainTextEdit()
        self._text.setObjectName("own_code.text")
        self._text.setAccessibleName("Code")
        self._text.setReadOnly(True)
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        right.addWidget(self._hash)
        right.addWidget(self._text, 1)
        row.addWidget(self._list)
        row.addLayout(right, 1)
        return row

    def _make_buttons(self) -> QHBoxLayout:
        copy = quiet_button("Copy hash of all", "own_code.copy")
        copy.setEnabled(bool(self._code.files))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._code.fingerprint))
        close = primary_button("Close", "own_code.close")
        close.setDefault(True)
        close.clicked.connect(self.accept)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(copy)
        buttons.addStretch(1)
        buttons.addWidget(close)
        return buttons

    def _show(self, row: int) -> None:
        if 0 <= row < len(self._code.files):
            file = self._code.files[row]
            self._hash.setText(f"{file.name}, {file.bytes:,} bytes\nSHA-256 {file.sha256}")
            self._text.setPlainText(harmless(self._texts.get(file.name, "")))


def risk_words(needed: bool) -> str:
    """What such code could do, and what Bitpress does about it."""
    could = "Such code could read your files, send them away, or change this machine."
    does = (
        "Bitpress does not run it, and this model cannot be used without it."
        if needed
        else "Bitpress does not run it: transformers knows this kind of model itself, and that is used instead."
    )
    return f"{could} {does}"


def fact_words(code: OwnCode) -> tuple[tuple[str, str], ...]:
    """What the settings ask for, and what is not here."""
    found = [("Asked for", ", ".join(code.named))]
    if code.elsewhere:
        found.append(("Elsewhere", f"Code of {', '.join(code.elsewhere)}, which is not in this folder"))
    if code.missing:
        found.append(("Missing", ", ".join(code.missing)))
    found.append(("Hash of all", code.fingerprint if code.files else "There is no Python file in the folder"))
    return tuple(found)


def _item(file: CodeFile) -> QListWidgetItem:
    item = QListWidgetItem(f"{harmless(file.name)}\n{bytes_text(file.bytes)}")
    item.setToolTip(literal(file.name))
    return item
