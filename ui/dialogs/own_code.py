"""The Python code that came with a model, to be read, and to be agreed to where the model needs it.

It is shown as text and nothing else, and agreeing takes three deliberate steps: open every file, tick, press a button
that is not the default one.
"""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from core.models.consent import Consent
from core.models.own_code import WHAT_IT_COULD, CodeFile, OwnCode
from ui.humanize import bytes_text
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided import literal
from ui.widgets.fact_list import FactList
from ui.widgets.plain import PlainLabel, harmless

_SIDE = 300


class OwnCodeDialog(QDialog):
    """The files on the left, the chosen one's text on the right; below, what may be done about it."""

    agreed = Signal()
    """This very code may run; the dialog closes."""
    withdrawn = Signal()

    def __init__(
        self,
        code: OwnCode,
        texts: Mapping[str, str],
        *,
        consent: Consent | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """`texts` are the files' by name; `consent` is the one that holds for them."""
        super().__init__(parent)
        self.setObjectName("own_code")
        self.setWindowTitle("Code that came with the model")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1040, 700)
        self._code = code
        self._texts = texts
        self._consent = consent
        self._opened: set[str] = set()
        self._can_agree = bool(code.needed) and not code.refused and consent is None
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        heading = PlainLabel(f"Python code from {code.repository}", "heading")
        heading.setObjectName("own_code.heading")
        column.addWidget(heading)
        column.addWidget(PlainLabel(risk_words(code, consent)))
        facts = FactList()
        facts.setObjectName("own_code.facts")
        facts.show_facts(fact_words(code))
        column.addWidget(facts)
        self._make_choice()
        column.addLayout(self._make_files(), 1)
        if self._can_agree:
            column.addWidget(self._tick)
            column.addWidget(self._seen)
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
        # Wrapped: nothing can stand out of sight behind a thousand spaces.
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        right.addWidget(self._hash)
        right.addWidget(self._text, 1)
        row.addWidget(self._list)
        row.addLayout(right, 1)
        return row

    def _make_choice(self) -> None:
        """What agreeing takes; only laid out where one can."""
        self._tick = QCheckBox(f"I have read this code of {_plain(self._code.repository)} and want it to run as me.")
        self._tick.setObjectName("own_code.tick")
        self._tick.setEnabled(False)
        self._seen = PlainLabel("", "note")
        self._seen.setObjectName("own_code.seen")
        self._agree = quiet_button("Let this code run", "own_code.agree")
        # Enter must never press it.
        self._agree.setAutoDefault(False)
        self._agree.setEnabled(False)
        self._tick.toggled.connect(self._agree.setEnabled)
        self._agree.clicked.connect(self._say_agreed)
        self._withdraw = quiet_button("Withdraw the consent", "own_code.withdraw")
        self._withdraw.setAutoDefault(False)
        self._withdraw.clicked.connect(self._say_withdrawn)

    def _make_buttons(self) -> QHBoxLayout:
        copy = quiet_button("Copy fingerprint", "own_code.copy")
        copy.setEnabled(bool(self._code.files))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._code.fingerprint))
        close = primary_button("Close", "own_code.close")
        close.setDefault(True)
        close.clicked.connect(self.accept)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(copy)
        buttons.addStretch(1)
        if self._can_agree:
            buttons.addWidget(self._agree)
        if self._consent is not None:
            buttons.addWidget(self._withdraw)
        buttons.addWidget(close)
        return buttons

    def _show(self, row: int) -> None:
        if 0 <= row < len(self._code.files):
            file = self._code.files[row]
            self._hash.setText(f"{file.name}, {file.bytes:,} bytes\nSHA-256 {file.sha256}")
            self._text.setPlainText(harmless(self._texts.get(file.name, "")))
            self._opened.add(file.name)
            all_seen = len(self._opened) == len(self._code.files)
            self._tick.setEnabled(all_seen)
            self._seen.setText(
                "Agreed to in this way, it runs until you withdraw it, here and in every folder with the same files. "
                "One changed byte ends it."
                if all_seen
                else f"{len(self._opened)} of {len(self._code.files)} files were opened: look at each of them first."
            )

    def _say_agreed(self) -> None:
        if self._tick.isChecked():
            self.agreed.emit()
            self.accept()

    def _say_withdrawn(self) -> None:
        self.withdrawn.emit()
        self.accept()


def risk_words(code: OwnCode, consent: Consent | None) -> str:
    """What such code could do, and what Bitpress does about it."""
    if not code.needed:
        return (
            "Bitpress does not run this code: transformers knows this kind of model itself, and that is used instead. "
            + WHAT_IT_COULD
        )
    what = "model" if "model" in code.needed else "tokenizer"
    if code.refused:
        return f"Bitpress never runs this code, and the {what} cannot be used without it. {code.refused}"
    if consent is not None:
        return (
            f"This code runs when the model is used: {consent.by} agreed to it on {consent.given:%Y-%m-%d}. "
            + WHAT_IT_COULD
        )
    return f"The {what} cannot be used without this code, and nobody has agreed to it. {WHAT_IT_COULD}"


def fact_words(code: OwnCode) -> tuple[tuple[str, str], ...]:
    """What the settings ask for, and what is not here."""
    found = [("Folder", str(code.folder)), ("Asked for", ", ".join(code.named))]
    if code.elsewhere:
        found.append(("Elsewhere", f"Code of {', '.join(code.elsewhere)}, which is not in this folder"))
    if code.missing:
        found.append(("Missing", ", ".join(code.missing)))
    found.append(("Fingerprint", code.fingerprint if code.files else "There is no Python file in the folder"))
    return tuple(found)


def _plain(text: str) -> str:
    """A foreign text on a box, where `&` would underline what follows."""
    return harmless(text).replace("&", "&&")


def _item(file: CodeFile) -> QListWidgetItem:
    item = QListWidgetItem(f"{harmless(file.name)}\n{bytes_text(file.bytes)}")
    item.setToolTip(literal(file.name))
    return item
