"""One model on the Compare page: which it is, its answer, where it parts, and how fast it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget
from typing_extensions import override

from core.errors import Problem
from core.jobs.protocol import Token
from core.measure.results import GeneratedToken, Generation
from core.models.local_model import LocalModel
from ui.humanize import memory_text
from ui.icons import icon
from ui.theme import theme_of
from ui.tone import Tone
from ui.widgets.answer_text import AnswerText
from ui.widgets.answer_words import conditions_words, difference_words, shown, span_of
from ui.widgets.buttons import quiet_button
from ui.widgets.card import Card
from ui.widgets.dot import Dot
from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.figures import FigureRow
from ui.widgets.plain import PlainLabel, harmless
from ui.widgets.problem_card import ProblemCard
from ui.widgets.tag import Tag


class AnswerColumn(Card):
    """Column 0 is the original and the reference for all others."""

    model_changed = Signal()
    remove_pressed = Signal()

    def __init__(self, index: int, parent: QWidget | None = None) -> None:
        super().__init__("", parent, margin=12)
        self._index = index
        self._name = f"compare.column{index}"
        self.setObjectName(self._name)
        self._models: tuple[LocalModel, ...] = ()
        self._tokens: list[GeneratedToken] = []
        self._complete = False
        self._parts: int | None = None
        self._add_head()
        self._answer = AnswerText(f"{self._name}.text")
        self.body.addWidget(self._answer, 1)
        self._problem = ProblemCard(f"{self._name}.problem")
        self.body.addWidget(self._problem)
        self._sentence = PlainLabel("", "note")
        self._sentence.setObjectName(f"{self._name}.difference")
        self.body.addWidget(self._sentence)
        rule = QFrame()
        rule.setObjectName("rule")
        rule.setFixedHeight(1)
        self.body.addWidget(rule)
        self._add_foot()
        self._tint()
        self.reset()

    def _add_head(self) -> None:
        self._combo = QComboBox()
        self._combo.setObjectName("compare.original" if self._index == 0 else f"compare.other{self._index}")
        self._combo.setAccessibleName("Original" if self._index == 0 else f"Model {self._index + 1}")
        self._combo.setMinimumContentsLength(8)
        self._combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._combo.currentIndexChanged.connect(self._chosen)
        self._remove = quiet_button("", f"{self._name}.remove")
        self._remove.setAccessibleName("Remove this model")
        self._remove.setToolTip("Remove this model")
        self._remove.setFixedWidth(30)
        self._remove.clicked.connect(self.remove_pressed)
        self._remove.hide()
        first = QHBoxLayout()
        first.setSpacing(8)
        first.addWidget(Dot(None if self._index == 0 else self._index - 1))
        first.addWidget(self._combo, 1)
        first.addWidget(self._remove)
        self._kind = ElidedLabel("", "note")
        self._tag = Tag()
        self._tag.setObjectName(f"{self._name}.tag")
        second = QHBoxLayout()
        second.setSpacing(8)
        second.addWidget(self._kind, 1)
        second.addWidget(self._tag)
        self.body.addLayout(first)
        self.body.addLayout(second)

    def _add_foot(self) -> None:
        self._figures = FigureRow(spacing=16)
        self._figures.setObjectName(f"{self._name}.figures")
        self._conditions = PlainLabel("", "note")
        self._conditions.setObjectName(f"{self._name}.conditions")
        foot = QVBoxLayout()
        foot.setSpacing(4)
        foot.addWidget(self._figures)
        foot.addWidget(self._conditions)
        self.body.addLayout(foot)

    # Which model ---------------------------------------------------------------------------------------------------

    def show_models(self, models: Sequence[LocalModel]) -> None:
        """The models to choose from; the chosen one stays chosen where it is still there."""
        kept = self.path()
        with QSignalBlocker(self._combo):
            self._models = tuple(models)
            self._combo.clear()
            for model in models:
                self._combo.addItem(harmless(model.name), str(model.path))
                self._combo.setItemData(self._combo.count() - 1, str(model.path), Qt.ItemDataRole.ToolTipRole)
            if kept is not None:
                self._combo.setCurrentIndex(self._combo.findData(kept))
        self._show_kind()

    def choose(self, path: str) -> bool:
        """Chooses a model; False where it is not among those to choose from."""
        place = self._combo.findData(path)
        if place < 0:
            return False
        with QSignalBlocker(self._combo):
            self._combo.setCurrentIndex(place)
        self._show_kind()
        return True

    def path(self) -> str | None:
        """The chosen model's path."""
        found = self._combo.currentData()
        return found if isinstance(found, str) else None

    def set_removable(self, removable: bool) -> None:
        self._remove.setVisible(removable)

    def set_running(self, running: bool) -> None:
        """While models answer, the choice stays as it is."""
        self._combo.setEnabled(not running)
        self._remove.setEnabled(not running)

    # The answer ----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forgets the answer."""
        self._tokens = []
        self._complete = False
        self._parts = None
        self._answer.clear()
        self._problem.show_problem(None)
        self._sentence.setText("")
        self._sentence.hide()
        self._tag.show_tag("reference" if self._index == 0 else "", Tone.NEUTRAL)
        self._figures.show_figures((("–", "tokens/s"), ("–", "to first token"), ("–", "memory")))
        self._conditions.setText("")

    @property
    def tokens(self) -> tuple[GeneratedToken, ...]:
        return tuple(self._tokens)

    @property
    def complete(self) -> bool:
        """Whether the answer has ended."""
        return self._complete

    def add_token(self, token: Token, original: AnswerColumn) -> None:
        """Adds a token as it comes, and says how the answer stands to the original's so far."""
        self._tokens.append(
            GeneratedToken(id=token.id, text=token.text, probability=token.probability, alternatives=token.alternatives)
        )
        self._answer.append(shown(token.text))
        place = len(self._tokens) - 1
        if original is self or self._parts is not None:
            return
        if place < len(original.tokens):
            if original.tokens[place].id != token.id:
                self.show_difference(place, original)
            else:
                self._tag.show_tag("same so far", Tone.NEUTRAL)
        elif original.complete:
            self.show_difference(place, original)

    def show_generation(self, generation: Generation) -> None:
        """Shows the whole answer and its figures."""
        self._tokens = list(generation.tokens)
        self._complete = True
        self._answer.show_text(
            shown("".join(token.text for token in generation.tokens)) if generation.tokens else shown(generation.text)
        )
        self._figures.show_figures(
            (
                (f"{generation.tokens_per_second:.1f}", "tokens/s"),
                (f"{generation.ttft_ms / 1000:.2f} s", "to first token"),
                (memory_text(generation.peak_bytes), "memory"),
            ),
            f"{generation.prompt_tokens} tokens in, {len(generation.tokens)} out",
        )
        self._conditions.setText(conditions_words(generation.conditions))

    def show_difference(self, index: int | None, original: AnswerColumn) -> None:
        """Marks the first token that differs from the original's; None where none does."""
        self._parts = index
        complete = self._complete and original.complete
        words = difference_words(original.tokens, self._tokens, index, complete)
        self._sentence.setText(words)
        self._sentence.setVisible(bool(words))
        if index is None:
            self._answer.mark(None)
            self._tag.show_tag("same answer" if complete else "same so far", Tone.DONE if complete else Tone.NEUTRAL)
            return
        self._answer.mark(span_of(self._tokens, index))
        self._tag.show_tag(f"parts at token {index + 1}", Tone.ATTENTION)

    def show_problem(self, problem: Problem, versions: Mapping[str, str], log: str) -> None:
        """Says why this model gave no answer; what was loaded and the end of the log are copied with it."""
        self._problem.show_problem(problem)
        self._problem.set_origin(versions, log)
        self._tag.show_tag("failed", Tone.FAILED)

    def show_stopped(self) -> None:
        """Says that the answer was stopped before its end."""
        if not self._complete and self._problem.isHidden():
            self._tag.show_tag("stopped" if self._tokens else "not run", Tone.NEUTRAL)

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()

    def _tint(self) -> None:
        self._remove.setIcon(icon("close", theme_of(self).quiet))

    def _chosen(self) -> None:
        self._show_kind()
        self.model_changed.emit()

    def _show_kind(self) -> None:
        path = self.path()
        self._combo.setToolTip(literal(self._combo.currentText()))
        model = next((model for model in self._models if str(model.path) == path), None)
        if model is None:
            self._kind.setText("")
            return
        if model.made_by_run is not None:
            words = f"run {model.made_by_run}, {model.precision}"
        else:
            words = f"original, {model.precision}" if self._index == 0 else model.precision
        self._kind.setText(words.rstrip(", "))
