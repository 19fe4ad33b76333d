"""The selected run's name and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import Phase
from ui.tone import Tone
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided import ElidedLabel
from ui.widgets.tag import Tag

_REPORTED = {RunKind.COMPRESS, RunKind.RECOVER, RunKind.EVALUATE, RunKind.BENCHMARK, RunKind.COMPARE}


class RunHeader(QWidget):
    """Title, recipe and buttons; only what makes sense for the run is shown."""

    log_toggled = Signal(bool)
    command_pressed = Signal()
    script_pressed = Signal()
    folder_pressed = Signal()
    cancel_pressed = Signal()
    resume_pressed = Signal()
    retry_pressed = Signal()
    rerun_pressed = Signal()
    report_pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = ElidedLabel("", "title")
        self._title.setObjectName("runs.title")
        self._tag = Tag()
        self._tag.setObjectName("runs.state")
        self._subtitle = ElidedLabel("", "note")
        self._subtitle.setObjectName("runs.subtitle")
        # The second line has the whole width, so that neither a long title nor a long recipe is cut by the buttons.
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._title, 1)
        second = QHBoxLayout()
        second.setSpacing(10)
        second.addWidget(self._tag)
        second.addWidget(self._subtitle, 1)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(4)
        lines.addLayout(row)
        lines.addLayout(second)
        self._log = quiet_button("Log", "runs.log")
        self._log.setCheckable(True)
        self._log.toggled.connect(self.log_toggled)
        self._copy = menu_button("Copy", "runs.copy")
        add_action(self._copy, "Copy as command", "runs.copy_command").triggered.connect(self.command_pressed)
        self._script = add_action(self._copy, "Copy as Python script", "runs.copy_script")
        self._script.triggered.connect(self.script_pressed)
        self._folder = quiet_button("Show in folder", "runs.show_folder")
        self._folder.clicked.connect(self.folder_pressed)
        self._again = menu_button("Run again", "runs.again")
        add_action(self._again, "As it was", "runs.retry").triggered.connect(self.retry_pressed)
        self._changed = add_action(self._again, "With changes…", "runs.rerun")
        self._changed.triggered.connect(self.rerun_pressed)
        self._cancel = quiet_button("Cancel", "runs.cancel")
        self._cancel.clicked.connect(self.cancel_pressed)
        self._report = primary_button("Open report", "runs.report")
        self._report.clicked.connect(self.report_pressed)
        self._resume = primary_button("", "runs.resume")
        self._resume.clicked.connect(self.resume_pressed)
        for button in (self._log, self._copy, self._folder, self._again, self._cancel, self._report):
            row.addWidget(button)
        second.addWidget(self._resume)

    @property
    def log_shown(self) -> bool:
        """Whether the log takes the place of the graphs."""
        return self._log.isChecked()

    def show_run(self, run: Run, words: str, state: tuple[str, Tone], resumable: str = "") -> None:
        """Replaces title and buttons; `words` is the recipe in one line, `resumable` says where the run can go on."""
        finished = run.phase is Phase.FINISHED
        completed = finished and run.reason is FinishReason.COMPLETED
        self._title.setText(run.title)
        self._subtitle.setText(words)
        self._tag.show_tag(*state)
        self._script.setVisible(run.kind is RunKind.COMPRESS)
        self._changed.setVisible(run.kind in (RunKind.COMPRESS, RunKind.REHEARSE))
        self._folder.setVisible(finished)
        self._again.setVisible(finished)
        interrupted = finished and run.reason is FinishReason.INTERRUPTED
        self._again.setText("Run again" if completed else "Start again" if interrupted or resumable else "Retry")
        self._resume.setVisible(finished and not completed and bool(resumable))
        self._resume.setText(f"Resume {resumable}")
        self._cancel.setVisible(not finished)
        self._cancel.setEnabled(run.phase is not Phase.CANCELLING)
        self._cancel.setText("Cancelling…" if run.phase is Phase.CANCELLING else "Cancel")
        self._report.setVisible(completed and run.kind in _REPORTED)

    def show_cancelling(self) -> None:
        """Says that the end was asked for, before the job answers."""
        self._cancel.setEnabled(False)
        self._cancel.setText("Cancelling…")


def menu_button(text: str, name: str) -> QPushButton:
    """A button that opens a menu."""
    button = quiet_button(text, name)
    button.setProperty("menu", "true")
    button.setMenu(QMenu(button))
    return button


def add_action(button: QPushButton, text: str, name: str) -> QAction:
    """One more entry in a button's menu."""
    action = button.menu().addAction(text)
    action.setObjectName(name)
    return action
