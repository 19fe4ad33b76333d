"""Asks when a queued run may start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta

from PySide6.QtCore import QDateTime, QLocale, Qt, Signal
from PySide6.QtWidgets import QDateTimeEdit, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from ui.models.queue_words import moment_text
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided import ElidedLabel
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

TONIGHT = time(22)
MORNING = time(6)


class StartTimeDialog(QDialog):
    """`chosen` carries the moment, with its time zone, or None for as soon as the machine is free."""

    chosen = Signal(object)

    def __init__(
        self,
        title: str,
        now: Callable[[], datetime],
        moment: datetime | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """`title` names the run; `now` gives the time with a zone; `moment` is what was set before."""
        super().__init__(parent)
        self.setObjectName("start_time")
        self.setWindowTitle("Start at a time")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(620)
        self._now = now
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        column.addWidget(PlainLabel("When may it start?", "heading", selectable=False))
        column.addWidget(ElidedLabel(title, "quiet"))
        self._edit = QDateTimeEdit()
        self._edit.setObjectName("start_time.moment")
        self._edit.setAccessibleName("Start time")
        self._edit.setLocale(QLocale(QLocale.Language.English, QLocale.Country.UnitedKingdom))
        self._edit.setDisplayFormat("ddd d MMM yyyy, HH:mm")
        self._edit.setFixedWidth(220)
        NoWheel(self._edit)
        self._edit.dateTimeChanged.connect(self._changed)
        tonight = next_time(TONIGHT, now())
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._edit)
        row.addStretch(1)
        for word, clock in (("Tonight", TONIGHT), ("Morning", MORNING)):
            button = quiet_button(f"{word}, {clock:%H:%M}", f"start_time.{word.lower()}")
            button.clicked.connect(lambda _=False, clock=clock: self.set_moment(next_time(clock, self._now())))
            row.addWidget(button)
        column.addLayout(row)
        self._words = PlainLabel("")
        self._words.setObjectName("start_time.words")
        column.addWidget(self._words)
        column.addWidget(PlainLabel("Bitpress has to be running then, with or without its window.", "note"))
        column.addLayout(self._buttons(moment is not None))
        self.set_moment(moment if moment is not None and moment > now() else tonight)
        self._edit.setFocus()
        self._edit.setSelectedSection(QDateTimeEdit.Section.HourSection)

    def _buttons(self, clearable: bool) -> QHBoxLayout:
        self._set = primary_button("Set", "start_time.set")
        self._set.setDefault(True)
        self._set.clicked.connect(self._press_set)
        clear = quiet_button("No start time", "start_time.clear")
        clear.setVisible(clearable)
        clear.clicked.connect(self._press_clear)
        cancel = quiet_button("Cancel", "start_time.cancel")
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(clear)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self._set)
        return buttons

    def moment(self) -> datetime:
        """What is shown."""
        return datetime.fromtimestamp(self._edit.dateTime().toSecsSinceEpoch(), self._now().tzinfo)

    def set_moment(self, moment: datetime) -> None:
        self._edit.setDateTime(QDateTime.fromSecsSinceEpoch(int(moment.timestamp())))
        self._changed()

    def _changed(self) -> None:
        now = self._now()
        later = self.moment() > now
        self._set.setEnabled(later)
        self._words.setText(
            f"It starts at {moment_text(self.moment(), now)}, or as soon after that as the machine is free."
            if later
            else "That is over already. Choose a later time."
        )

    def _press_set(self) -> None:
        self.chosen.emit(self.moment())
        self.accept()

    def _press_clear(self) -> None:
        self.chosen.emit(None)
        self.accept()


def next_time(clock: time, now: datetime) -> datetime:
    """The next moment at which a clock shows that time, in the zone of `now`."""
    meant = datetime.combine(now.date(), clock, now.tzinfo)
    return meant if meant > now else meant + timedelta(days=1)
