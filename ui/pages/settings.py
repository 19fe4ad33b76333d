"""The Settings page: a form made from the settings' own declaration."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from core.settings import Settings
from ui.forms.setting_field import SettingField
from ui.widgets.card import Card
from ui.widgets.column import ScrollColumn
from ui.widgets.consents_card import ConsentsCard
from ui.widgets.machine_card import MachineCard
from ui.widgets.page import Page
from ui.widgets.plain import PlainLabel

_WIDTH = 820


class SettingsPage(Page):
    """value(), set_value(), and `changed` with the new Settings after each edit; `machine` shows the checks, and
    `consents` the code that may run."""

    changed = Signal(object)
    check_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Settings", parent)
        self.setObjectName("settings")
        self._settings = Settings()
        self._fields: dict[str, SettingField] = {}
        card = Card()
        card.setMaximumWidth(_WIDTH)
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(12)
        grid.setColumnStretch(0, 1)
        titled = [(name, info) for name, info in Settings.model_fields.items() if info.title]
        for place, (name, info) in enumerate(titled):
            words = QVBoxLayout()
            words.setSpacing(2)
            title = PlainLabel(info.title or "", "strong", selectable=False)
            words.addWidget(title)
            words.addWidget(PlainLabel(info.description or "", "note", selectable=False))
            words.addStretch(1)
            field = SettingField(name, info)
            title.setBuddy(field)
            field.value_changed.connect(lambda value, name=name: self._edit(name, value))
            self._fields[name] = field
            grid.addLayout(words, 2 * place, 0)
            grid.addWidget(field, 2 * place, 1, Qt.AlignmentFlag.AlignVCenter)
            if place + 1 < len(titled):
                rule = QFrame()
                rule.setObjectName("rule")
                rule.setFixedHeight(1)
                grid.addWidget(rule, 2 * place + 1, 0, 1, 2)
        grid.setColumnMinimumWidth(1, 380)
        card.body.addLayout(grid)
        scroll = ScrollColumn()
        self.machine = MachineCard()
        self.machine.setMaximumWidth(_WIDTH)
        self.machine.check_requested.connect(self.check_requested)
        self.consents = ConsentsCard()
        self.consents.setMaximumWidth(_WIDTH)
        for one in (card, self.consents, self.machine):
            row = QHBoxLayout()
            row.addWidget(one, 100)
            row.addStretch(1)
            scroll.body.addLayout(row)
        scroll.body.addStretch(1)
        self.body.addWidget(scroll, 1)
        self.set_value(self._settings)

    def value(self) -> Settings:
        """What is shown."""
        return self._settings

    def set_value(self, settings: Settings) -> None:
        """Show settings, without saying that they changed."""
        self._settings = settings
        for name, field in self._fields.items():
            field.set_value(getattr(settings, name))

    def _edit(self, name: str, value: Any) -> None:
        changed = self._settings.model_copy(update={name: value})
        if changed != self._settings:
            self._settings = changed
            self.changed.emit(changed)
