"""The original beside one to three others: same prompt, same seed, and where their answers part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPlainTextEdit, QScrollArea, QStackedWidget, QVBoxLayout, QWidget
from typing_extensions import override

from core.errors import Problem
from core.jobs.protocol import Token
from core.measure.results import Generation, Sampling
from core.models.local_model import LocalModel, Weights
from ui.forms.sampling_form import SamplingForm
from ui.icons import icon
from ui.theme import theme_of
from ui.widgets.answer_column import AnswerColumn
from ui.widgets.answer_words import sampling_words
from ui.widgets.bar import ProgressBar
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.elided import ElidedLabel
from ui.widgets.empty import EmptyState
from ui.widgets.page import Page
from ui.widgets.plain import PlainLabel
from ui.widgets.popup import PopupPanel
from ui.widgets.run_header import menu_button

_MOST = 4
_EXCERPT = 72
_FIRST_PROMPT = "Explain to a ten-year-old why the sky is blue, in four sentences."


class ComparePage(Page):
    """Asks for a comparison and shows it as it comes; columns are counted from 0, the original."""

    run_requested = Signal(str, object, tuple)
    """Prompt, Sampling, model paths with the original first."""
    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Compare", parent)
        self.setObjectName("compare")
        self._models: tuple[LocalModel, ...] = ()
        self._columns: list[AnswerColumn] = []
        self._running = False
        self._notes: dict[str, None] = {}
        self._sets = menu_button("Prompts", "compare.prompt_sets")
        self._sets.setEnabled(False)
        self._add = quiet_button("Add model", "compare.add_model")
        self._add.clicked.connect(self._add_column)
        self.add_action(self._sets)
        self.add_action(self._add)
        self.body.addWidget(self._make_prompt())
        self._stack = QStackedWidget()
        self._empty = EmptyState(
            "Nothing to compare yet",
            "Compress a model on Compress. Then it and its original answer the same prompt here, side by side.",
        )
        self._empty.setObjectName("compare.empty")
        self._side = QWidget()
        self._row = QHBoxLayout(self._side)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(12)
        self._stack.addWidget(self._empty)
        self._side.setObjectName("scrolled")
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(self._side)
        self._answers = area
        self._stack.addWidget(area)
        self.body.addWidget(self._stack, 1)
        self._note = PlainLabel("", "note")
        self._note.setObjectName("compare.notes")
        self._note.hide()
        self.body.addWidget(self._note)
        for _ in range(2):
            self._append_column()
        self._tint()
        self._settle()

    def _make_prompt(self) -> Card:
        card = Card(margin=12)
        self._prompt = QPlainTextEdit(_FIRST_PROMPT)
        self._prompt.setObjectName("compare.prompt")
        self._prompt.setAccessibleName("Prompt")
        self._prompt.setPlaceholderText("What shall the models answer?")
        self._prompt.setTabChangesFocus(True)
        self._prompt.setFixedHeight(64)
        self._prompt.textChanged.connect(self._settle)
        self._sampling = SamplingForm()
        self._popup = PopupPanel("compare.sampling.popup", self._sampling, self)
        self._settings = quiet_button("", "compare.sampling")
        self._settings.setAccessibleName("Sampling settings")
        self._settings.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # its sign stands at the right
        self._settings.clicked.connect(lambda: self._popup.open_below(self._settings))
        self._sampling.changed.connect(self._settle)
        self._run = primary_button("Run", "compare.run")
        self._run.clicked.connect(self._press_run)
        self._stop = quiet_button("Stop", "compare.stop")
        self._stop.clicked.connect(self._press_stop)
        self._stop.hide()
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(self._press_run)
        self._busy = ElidedLabel("", "note")
        self._busy.setObjectName("compare.busy")
        self._bar = ProgressBar(None)
        self._bar.setFixedWidth(96)
        self._bar.hide()
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch(1)
        buttons.addWidget(self._settings)
        buttons.addWidget(self._run)
        buttons.addWidget(self._stop)
        waiting = QHBoxLayout()
        waiting.setSpacing(8)
        waiting.addWidget(self._busy, 1)
        waiting.addWidget(self._bar)
        side = QVBoxLayout()
        side.setSpacing(6)
        side.addLayout(buttons)
        side.addLayout(waiting)
        side.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self._prompt, 1)
        row.addLayout(side)
        card.body.addLayout(row)
        return card

    # What is compared ----------------------------------------------------------------------------------------------

    def show_models(self, models: tuple[LocalModel, ...]) -> None:
        """The models on this machine; those that plain transformers can load are offered."""
        self._models = tuple(model for model in models if model.usable and model.weights is Weights.SAFETENSORS)
        self._offer()
        self._settle()

    def choose(self, paths: Sequence[str]) -> None:
        """Puts models into the columns, the original first; what is not on this machine is left out."""
        if self._running:
            return
        known = [path for path in paths if any(str(model.path) == path for model in self._models)][:_MOST]
        while len(self._columns) < max(2, len(known)):
            self._append_column()
        while len(self._columns) > max(2, len(known)):
            self._drop_column(self._columns[-1])
        for column, path in zip(self._columns, known, strict=False):
            column.choose(path)
            if column is self._columns[0]:
                self._offer_others()
        self._settle()

    def show_prompt_sets(self, sets: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Prompts to choose from, by set."""
        menu = self._sets.menu()
        menu.clear()
        for title, prompts in sets:
            inner = QMenu(title.replace("&", "&&"), menu)
            for prompt in prompts:
                line = " ".join(prompt.split())
                text = line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
                action = inner.addAction(text.replace("&", "&&"))
                action.triggered.connect(lambda _=False, whole=prompt: self.set_prompt(whole))
            menu.addMenu(inner)
        self._sets.setEnabled(bool(sets))

    def set_prompt(self, prompt: str) -> None:
        """Replaces the prompt."""
        self._prompt.setPlainText(prompt)

    def set_sampling(self, sampling: Sampling) -> None:
        """Replaces the settings."""
        self._sampling.set_value(sampling)
        self._settle()

    def paths(self) -> tuple[str, ...]:
        """The chosen models, the original first."""
        return tuple(path for column in self._columns if (path := column.path()) is not None)

    # What comes ----------------------------------------------------------------------------------------------------

    def begin(self, names: Sequence[str]) -> None:
        """A comparison starts: empties the columns, one for each name."""
        while len(self._columns) < min(_MOST, len(names)):
            self._append_column()
        self._running = True
        self._notes = {}
        self._show_notes()
        for column in self._columns:
            column.reset()
        self._stack.setCurrentWidget(self._answers)
        self._settle()

    def add_token(self, column: int, token: Token) -> None:
        """One token of a column's answer."""
        self._columns[column].add_token(token, self._columns[0])
        if self._bar.isVisible():
            self.show_busy("")

    def show_generation(self, column: int, generation: Generation) -> None:
        """A column's whole answer with its figures."""
        self._columns[column].show_generation(generation)
        self._notes.update(dict.fromkeys(generation.conditions.notes))
        self._show_notes()

    def show_difference(self, column: int, index: int | None) -> None:
        """The first token of a column that differs from the original's, counted from 0; None where none does."""
        if column > 0:
            self._columns[column].show_difference(index, self._columns[0])

    def show_problem(
        self, column: int, problem: Problem, versions: Mapping[str, str] | None = None, log: str = ""
    ) -> None:
        """Why a column has no answer."""
        self._columns[column].show_problem(problem, versions or {}, log)

    def show_busy(self, text: str) -> None:
        """What is being waited for, e.g. a model that loads; an empty text takes it away."""
        self._busy.setText(text)
        self._bar.setVisible(bool(text))

    def finish(self) -> None:
        """The comparison is over, whole or stopped."""
        self._running = False
        self.show_busy("")
        for column in self._columns:
            column.show_stopped()
        self._settle()

    @property
    def running(self) -> bool:
        return self._running

    # Inside --------------------------------------------------------------------------------------------------------

    def _append_column(self) -> AnswerColumn:
        column = AnswerColumn(len(self._columns))
        column.model_changed.connect(lambda: self._model_changed(column))
        column.remove_pressed.connect(lambda: self._remove(column))
        self._columns.append(column)
        self._row.addWidget(column, 1)
        column.show_models(self._originals() if column is self._columns[0] else self._others())
        return column

    def _drop_column(self, column: AnswerColumn) -> None:
        self._columns.remove(column)
        self._row.removeWidget(column)
        column.hide()
        column.setParent(None)
        column.deleteLater()

    def _add_column(self) -> None:
        if self._running or len(self._columns) >= _MOST:
            return
        column = self._append_column()
        taken = set(self.paths()[:-1])
        free = next((str(model.path) for model in self._others() if str(model.path) not in taken), None)
        if free is not None:
            column.choose(free)
        self._settle()

    def _remove(self, column: AnswerColumn) -> None:
        # Columns are numbered by their place, so that colours and names stay in order: the last one goes, and those
        # behind the removed one move up.
        place = self._columns.index(column)
        kept = [path for index, path in enumerate(self.paths()) if index != place]
        self._drop_column(self._columns[-1])
        for remaining in self._columns:
            remaining.reset()
        self.choose(kept)

    def _model_changed(self, column: AnswerColumn) -> None:
        if column is self._columns[0]:
            self._offer_others()
            for other in self._columns:
                other.reset()
        else:
            column.reset()
        self._settle()

    def _originals(self) -> tuple[LocalModel, ...]:
        made = {model.made_from for model in self._models if model.made_from}
        originals = [model for model in self._models if model.made_from is None]
        return tuple(sorted(originals, key=lambda model: str(model.path) not in made))

    def _others(self) -> tuple[LocalModel, ...]:
        original = self._columns[0].path() if self._columns else None
        rest = [model for model in self._models if str(model.path) != original]
        return tuple(sorted(rest, key=lambda model: (model.made_from != original, model.made_from is None)))

    def _offer(self) -> None:
        self._columns[0].show_models(self._originals())
        if self._columns[0].path() is None and self._originals():
            self._columns[0].choose(str(self._originals()[0].path))
        self._offer_others()

    def _offer_others(self) -> None:
        others = self._others()
        for place, column in enumerate(self._columns[1:]):
            column.show_models(others)
            if column.path() is None and place < len(others):
                column.choose(str(others[place].path))

    def _settle(self) -> None:
        paths = self.paths()
        complete = len(paths) == len(self._columns) and len(set(paths)) == len(paths)
        prompt = bool(self._prompt.toPlainText().strip())
        enough = len(self._models) >= 2
        self._stack.setCurrentWidget(self._answers if enough or self._running else self._empty)
        self._run.setEnabled(complete and prompt and enough)
        self._run.setToolTip(
            "Ctrl+Enter"
            if complete and prompt
            else ("Write a prompt first" if complete else "Choose a different model in each column")
        )
        self._run.setVisible(not self._running)
        self._stop.setVisible(self._running)
        self._stop.setEnabled(True)
        self._add.setEnabled(enough and not self._running and len(self._columns) < min(_MOST, len(self._models)))
        self._settings.setText(sampling_words(self._sampling.value()))
        for place, column in enumerate(self._columns):
            column.set_running(self._running)
            column.set_removable(place > 0 and len(self._columns) > 2)

    def _tint(self) -> None:
        self._settings.setIcon(icon("unfold", theme_of(self).quiet, size=12))

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange and self._columns:
            self._tint()

    def _press_run(self) -> None:
        if self._running or not self._run.isEnabled():
            return
        self._popup.hide()
        self.run_requested.emit(self._prompt.toPlainText().strip(), self._sampling.value(), self.paths())

    def _press_stop(self) -> None:
        self._stop.setEnabled(False)
        self.show_busy("Stopping…")
        self.stop_requested.emit()

    def _show_notes(self) -> None:
        self._note.setText(" ".join(self._notes))
        self._note.setVisible(bool(self._notes))
