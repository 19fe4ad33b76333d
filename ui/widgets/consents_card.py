"""The code that came with models and may run: what was agreed to, and a button to take it back."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.models.consent import LEAST_DIGITS, Consent
from ui.tone import Tone
from ui.widgets.card import Card
from ui.widgets.plain import PlainLabel
from ui.widgets.remark_list import Line, RemarkList

_ABOUT = (
    "Python code that came with a model runs only after you have read it and agreed, on the Models page. A "
    "consent counts for exactly these files, on this machine."
)


class ConsentsCard(Card):
    """Emits `withdraw_requested` with a fingerprint."""

    withdraw_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Code that may run", parent)
        self.setObjectName("settings.consents")
        self._none = PlainLabel("You have agreed to none.", "note")
        self._list = RemarkList("settings.consents.list")
        self.body.addWidget(PlainLabel(_ABOUT, "note"))
        self.body.addWidget(self._none)
        self.body.addWidget(self._list)
        self.show_consents(())

    def show_consents(self, consents: tuple[Consent, ...]) -> None:
        """The consents that hold, newest first."""
        self._none.setVisible(not consents)
        self._list.setVisible(bool(consents))
        self._list.show_lines([self._line(consent) for consent in consents])

    def _line(self, consent: Consent) -> Line:
        files = len(consent.files)
        return Line(
            "runs",
            Tone.ATTENTION,
            f"{consent.model}, {files} file{'s' if files != 1 else ''}, fingerprint "
            f"{consent.fingerprint[:LEAST_DIGITS]}. Agreed to by {consent.by} on {consent.given:%Y-%m-%d}, read in "
            f"{consent.path}.",
            "Withdraw",
            lambda: self.withdraw_requested.emit(consent.fingerprint),
        )
