"""The Compress page: a model, what it is for, how it is pressed, and what stands before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal, SignalInstance
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget
from typing_extensions import override

from core.calibration.inspection import CalibrationInspection
from core.calibration.sets import CalibrationSet
from core.jobs.snapshot import JobSnapshot, Phase
from core.methods.method import Method
from core.methods.not_offered import NotOffered
from core.methods.recipe import Recipe
from core.methods.recipe_document import RecipeDocument
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.finding import Severity
from core.plan.machine import Machine
from core.plan.mend import CALIBRATION_KEYS, with_data
from core.plan.method_plan import Goal, MethodPlan
from core.value import Json
from ui.dialogs.calibration_inspector import CalibrationInspector, show_inspection
from ui.forms.calibration_form import CalibrationForm
from ui.forms.method_form import MethodForm
from ui.forms.recovery_field import RecoveryField
from ui.pages.compress_choice import CompressChoice
from ui.pages.compress_model import ModelCard
from ui.pages.compress_start import StartCard
from ui.pages.compress_words import needs_data
from ui.widgets.bar import ProgressBar
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.column import ScrollColumn
from ui.widgets.elided import literal
from ui.widgets.method_card import MethodCard
from ui.widgets.method_list import MethodList
from ui.widgets.page import Page
from ui.widgets.plain import PlainLabel
from ui.widgets.preset_bar import PresetBar
from ui.widgets.rehearsal_card import RehearsalCard, suggestion

_HEADLINE = 120


class CompressPage(Page):
    """Emits CompressChoice values; plans come back by `show_plans`."""

    choice_changed = Signal(object)
    run_requested = Signal(object)
    queue_requested = Signal(object)
    sweep_requested = Signal(object)
    last_sweep_requested = Signal()
    mend_requested = Signal(object)
    inspect_requested = Signal(object)
    save_set_requested = Signal(object, str, str)
    """The choice, and the name and description of the set that its calibration data is to become."""
    rehearse_requested = Signal(object)
    rehearsal_cancelled = Signal()
    code_requested = Signal(object)
    """The choice whose model brings code that has to be read before it may run."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Compress", parent)
        self.setObjectName("compress")
        self._current = ""
        self._picked = False
        self._ticked: set[str] = set()
        self._overrides: dict[str, dict[str, Json]] = {}
        self._output: Path | None = None
        self._seed = 0
        self._busy = ""
        self._planned_for: Path | None = None
        self._rehearsed: CompressChoice | None = None
        self._swept = False
        self._make_actions()
        self._model = ModelCard()
        self._model.changed.connect(self._model_or_goal_changed)
        self.presets = PresetBar()
        self._form = MethodForm()
        self._form.parameter_changed.connect(self._set_parameter)
        self._form.recipe_edited.connect(self.take_document)
        self._form.defaults_requested.connect(self._forget_overrides)
        self._calibration = CalibrationForm()
        self._calibration.value_changed.connect(self._changed)
        self._calibration.inspect_requested.connect(lambda: self._emit(self.inspect_requested))
        self._calibration.save_requested.connect(self._save_set)
        self._no_data = PlainLabel("This method needs no calibration data.", "note")
        self._no_data.setObjectName("compress.no_data")
        self._no_data.hide()
        self._recovery = RecoveryField()
        self._recovery.value_changed.connect(self._recovery_changed)
        self._methods = MethodList()
        self._methods.chosen.connect(self._pick)
        self._methods.ticked.connect(self._tick)
        self._start = StartCard()
        self._start.fix_requested.connect(self.apply_fix)
        self._start.code_requested.connect(lambda: self._emit(self.code_requested))
        self._start.mend_all_requested.connect(lambda: self._emit(self.mend_requested))
        self._start.output_chosen.connect(self._set_output)
        self._rehearsal = RehearsalCard()
        self._rehearsal.rehearse_pressed.connect(self._ask_rehearsal)
        self._rehearsal.cancel_pressed.connect(self.rehearsal_cancelled)
        self._lay_out()
        self._show_current()

    # What the application shows ------------------------------------------------------------------------------------

    def show_models(self, models: tuple[LocalModel, ...]) -> None:
        """The models that can be chosen; the chosen one stays where it is still there."""
        before = self.choice()
        self._model.show_models(models)
        if self.choice() != before:
            self._changed()
        self._show_run()

    def plan_again(self) -> None:
        """Ask for the plan of the same choice: what it was made of has changed."""
        self._changed()

    def select_model(self, path: Path) -> None:
        """Choose a model."""
        self._model.select(path)

    def show_recipe(self, model: Path, recipe: Recipe) -> None:
        """Begin from a recipe that was run before: its model, method, parameters and data."""
        self._model.select(model)
        self._overrides[recipe.method] = dict(recipe.parameters)
        self._seed = recipe.seed
        self._recovery.set_value(recipe.recovery)
        if recipe.calibration is not None:
            self._calibration.set_value(recipe.calibration)
        self._picked = True
        if self._methods.card(recipe.method) is not None:
            self._current = recipe.method
        self._show_current()
        self._changed()

    def show_swept(self, swept: bool) -> None:
        """Whether there is a sweep that can be looked at."""
        self._swept = swept
        self._show_run()

    def show_survey(self, survey: Survey | None) -> None:
        """The layers of the model, which the patterns of a recipe must name."""
        self._form.set_survey(survey)

    def take_document(self, document: RecipeDocument) -> None:
        """Take over what a document says, a preset's or the Recipe tab's; its method becomes the current one."""
        card = self._methods.card(document.method)
        if card is None:
            return
        known = card.plan.recipe.parameters if card.plan else {}
        mine = self._overrides.get(document.method, {})
        # The tab names every parameter: what was not set before and is as planned has not been set now.
        self._overrides[document.method] = {
            name: value for name, value in document.parameters.items() if name in mine or known.get(name) != value
        }
        self._seed = document.seed or 0
        self._recovery.set_value(document.recovery)
        if (data := document.resolved(None).calibration) is not None:
            self._calibration.set_value(data)
        self._picked = True
        if document.method != self._current:
            self._current = document.method
            card.show_plan(None)  # It was made for other parameters, and would go over what was typed.
            self._show_current()
        self._form.set_value(document.parameters)
        self._changed()

    def document(self) -> RecipeDocument | None:
        """What is set for the current method, to be kept as a preset; the rest follows each model."""
        plan, choice = self._plan(), self.choice()
        if choice is None:
            return None
        return RecipeDocument(
            method=self._current,
            parameters=choice.overrides.get(self._current, {}),
            calibration=choice.calibration if plan is not None and plan.recipe.calibration is not None else None,
            seed=self._seed,
            recovery=self._recovery.value(),
        )

    def show_machine(self, machine: Machine) -> None:
        """The hardware that the plans are made for."""
        self._methods.show_machine(machine)
        self._model.show_machine(machine)

    def show_methods(self, methods: tuple[Method, ...], not_offered: tuple[NotOffered, ...] = ()) -> None:
        """The catalogue; methods come in its order until there are plans."""
        self._methods.show_methods(methods, not_offered)
        known = {method.id for method in methods}
        self._ticked &= known
        for identity in self._ticked:
            self._card(identity).set_ticked(True)
        if self._current not in known and methods:
            self._current = methods[0].id
        self._show_current()
        self._changed()

    def show_plans(self, plans: tuple[MethodPlan, ...]) -> None:
        """What the last choice would give and need; the best comes first, and is current until one is picked."""
        self._methods.show_plans(plans)
        best = min(plans, key=lambda plan: plan.rank, default=None)
        if not self._picked and best is not None and self._methods.card(best.recipe.method) is not None:
            self._current = best.recipe.method
        self._show_current()

    def show_inspection(self, found: CalibrationInspection) -> CalibrationInspector:
        """What the calibration data looks like, in a dialog."""
        return show_inspection(self, found)

    def show_sets(self, sets: tuple[CalibrationSet, ...]) -> None:
        """The named calibration sets that can be chosen."""
        self._calibration.show_sets(sets)

    def show_rehearsal(self, snapshot: JobSnapshot | None) -> None:
        """The rehearsal of the current choice as it is now; None where there is none."""
        over = snapshot is not None and snapshot.phase is Phase.FINISHED
        # What was rehearsed may no longer be what would run.
        self._rehearsal.show_snapshot(None if over and self.choice() != self._rehearsed else snapshot)
        self._show_run()

    def show_rehearsal_origin(self, versions: Mapping[str, str], log: str) -> None:
        """What is copied with the problem of the rehearsal that is shown."""
        self._rehearsal.set_origin(versions, log)

    def show_busy(self, text: str | None) -> None:
        """Say what is being found out; nothing can be started meanwhile."""
        self._busy = text or ""
        self._busy_text.setText(self._busy)
        self._busy_row.setVisible(bool(self._busy))
        self._show_run()

    def choice(self) -> CompressChoice | None:
        """What is chosen, or None while there is no model or no method."""
        model = self._model.path
        if model is None or not self._current:
            return None
        methods = tuple(identity for identity in self._methods.order if identity in self._ticked)
        return CompressChoice(
            model=model,
            goal=self._model.goal,
            methods=methods,
            current=self._current,
            overrides={identity: dict(values) for identity, values in self._overrides.items() if values},
            calibration=self._calibration.value(),
            output=None if len(methods) > 1 else self._output,
            seed=self._seed,
            recovery=self._recovery.value(),
        )

    def apply_fix(self, fix: Mapping[str, Json]) -> None:
        """Take over what mends findings of the current method: its parameters, data, output, or another method."""
        self._take_method(fix.get("method"))
        method = self._method()
        data: dict[str, Json] = {}
        for name, value in fix.items():
            if name == "output":
                self._output = None if value is None else Path(str(value))
            elif name == "recovery":
                self._recovery.set_value(None)
            elif method is not None and method.parameter(name) is not None:
                self._overrides.setdefault(method.id, {})[name] = value
            elif name in CALIBRATION_KEYS:
                data[name] = value
        if data:
            self._calibration.set_value(with_data(self._calibration.value(), data))
        self._changed()

    def _take_method(self, identity: Json) -> None:
        """Another method in place of the current one; of what was set, the layers to leave alone go along."""
        card = self._methods.card(identity) if isinstance(identity, str) else None
        if card is None or identity == self._current:
            return
        before = self._overrides.get(self._current, {})
        if "ignore" in before and card.method.parameter("ignore") is not None:
            self._overrides.setdefault(card.method.id, {})["ignore"] = before["ignore"]
        if self._current in self._ticked:
            self._card(self._current).set_ticked(False)
            self._ticked.discard(self._current)
        self._picked = True
        self._current = card.method.id
        self._show_current()

    # Frame ----------------------------------------------------------------------------------------------------------

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = event.size().width() < 1180
        self._model.setFixedWidth(212 if narrow else 240)
        self._right.setFixedWidth(296 if narrow else 336)

    def _make_actions(self) -> None:
        self._reason = PlainLabel("", "failed")
        self._reason.setObjectName("compress.reason")
        self._reason.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._reason.setFixedWidth(440)
        self._queue = quiet_button("Add to queue", "compress.queue")
        self._queue.clicked.connect(lambda: self._emit(self.queue_requested))
        self._sweep = quiet_button("Sweep…", "compress.sweep")
        self._sweep.setToolTip("Press the ticked methods, measure all on the same text, and say which one to take.")
        self._sweep.clicked.connect(self._press_sweep)
        self._sweep.hide()
        self._run = primary_button("Run now", "compress.run")
        self._run.clicked.connect(lambda: self._emit(self.run_requested))
        self._rehearse = quiet_button("Rehearse", "compress.rehearse")
        self._rehearse.setToolTip("Go the whole way on one layer and a few samples first, in half a minute or so.")
        self._rehearse.clicked.connect(self._ask_rehearsal)
        for widget in (self._reason, self._rehearse, self._sweep, self._queue, self._run):
            self.add_action(widget)

    def _lay_out(self) -> None:
        self._busy_row = Card(margin=12)
        self._busy_text = PlainLabel("", "small")
        self._busy_text.setObjectName("compress.busy")
        self._busy_row.body.addWidget(self._busy_text)
        self._busy_row.body.addWidget(ProgressBar(None))
        self._busy_row.hide()
        self._methods.body.insertWidget(0, self._busy_row)
        parameters = Card()
        parameters.body.addWidget(self.presets)
        parameters.body.addWidget(self._form)
        calibration = Card("Calibration data")
        calibration.header.addWidget(self._calibration.inspect_button)
        calibration.body.addWidget(self._no_data)
        calibration.body.addWidget(self._calibration)
        calibration.body.addWidget(self._recovery)
        self._right = ScrollColumn()
        for card in (self._rehearsal, parameters, calibration, self._start):
            self._right.body.addWidget(card)
        self._right.body.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self._model)
        row.addWidget(self._methods, 1)
        row.addWidget(self._right)
        self.body.addLayout(row, 1)

    def _press_sweep(self) -> None:
        if len(self._ticked) > 1:
            self._emit(self.sweep_requested)
        else:
            self.last_sweep_requested.emit()

    # What a person does ---------------------------------------------------------------------------------------------

    def _model_or_goal_changed(self) -> None:
        # Another model has other defaults, and another goal another best method.
        self._picked = self._picked and bool(self._ticked or self._overrides)
        if self._model.path != self._planned_for:
            self._planned_for = self._model.path
            self._methods.show_plans(())
            self._show_current()
        self._changed()

    def _pick(self, identity: str) -> None:
        self._picked = True
        if identity != self._current:
            self._current = identity
            self._show_current()
            self._changed()

    def _tick(self, identity: str, on: bool) -> None:
        if on:
            self._ticked.add(identity)
        else:
            self._ticked.discard(identity)
        self._changed()

    def _set_parameter(self, name: str, value: Json) -> None:
        self._overrides.setdefault(self._current, {})[name] = value
        self._changed()

    def _forget_overrides(self) -> None:
        self._overrides.pop(self._current, None)
        self._changed()

    def _recovery_changed(self) -> None:
        self._show_current()  # It trains on the calibration data, also where the method needs none.
        self._changed()

    def _set_output(self, output: Path | None) -> None:
        self._output = output
        self._changed()

    def _changed(self) -> None:
        self._start.show_output(self._output, several=len(self._ticked) > 1)
        self._form.show_changed(bool(self._overrides.get(self._current)))
        choice = self.choice()
        if not self._rehearsal.running and choice != self._rehearsed:
            self._rehearsal.show_snapshot(None)
        if choice is not None:
            self.choice_changed.emit(choice)
        self._show_run()

    # What follows from it -------------------------------------------------------------------------------------------

    def _method(self) -> Method | None:
        card = self._methods.card(self._current)
        return card.method if card else None

    def _plan(self) -> MethodPlan | None:
        card = self._methods.card(self._current)
        return card.plan if card else None

    def _card(self, identity: str) -> MethodCard:
        card = self._methods.card(identity)
        assert card is not None, identity  # noqa: S101
        return card

    def _show_current(self) -> None:
        self._methods.set_current(self._current)
        self._methods.order_tabs(self._model.last_field)
        method, plan = self._method(), self._plan()
        if method is not None:
            self._form.set_method(method)
            self._form.show_changed(bool(self._overrides.get(method.id)))
            data = needs_data(method, plan) or self._recovery.value() is not None
            self._no_data.setVisible(not data)
            self._calibration.setVisible(data)
            self._calibration.inspect_button.setVisible(data)
        if plan is not None:
            with QSignalBlocker(self._form):
                self._form.show_recipe(plan.recipe)
        self._start.show_plan(plan)
        self._rehearsal.show_suggestion(suggestion(plan.estimates if plan else None))
        self._show_run()

    def _why_not(self) -> str:
        """Why nothing can be started now, in a sentence, or empty."""
        choice = self.choice()
        if choice is None:
            return self._model.why_empty or "Choose a method."
        if self._busy:
            return self._busy
        if self._form.has_fault:
            return "The recipe cannot be read: see its line in red."
        for identity in choice.to_run:
            card = self._card(identity)
            if card.plan is None:
                return f"{card.method.title} has not been planned for this model yet."
            for finding in card.plan.findings:
                if finding.severity is Severity.BLOCKS:
                    return f"{card.method.title}: {finding.message}" if len(choice.to_run) > 1 else finding.message
        return ""

    def _show_run(self) -> None:
        why_not = self._why_not()
        self._start.show_waiting(why_not if self._plan() is None else "")
        count = len(self._ticked)
        self._run.setText(f"Run {count} now" if count > 1 else "Run now")
        self._run.setEnabled(not why_not)
        self._queue.setEnabled(not why_not)
        self._sweep.setVisible(count > 1 or self._swept)
        self._sweep.setText("Sweep…" if count > 1 else "Last sweep")
        # A sweep leaves out what cannot run, so findings do not stop it.
        self._sweep.setEnabled(count <= 1 or (self.choice() is not None and not self._busy))
        self._rehearse.setEnabled(not why_not and not self._rehearsal.running)
        self._reason.setText(_headline(why_not))
        self._reason.setToolTip(literal(why_not))
        self._reason.set_role("note" if self._busy or self.choice() is None else "failed")

    def _ask_rehearsal(self) -> None:
        self._rehearsed = self.choice()
        self._emit(self.rehearse_requested)

    def _emit(self, signal: SignalInstance) -> None:
        choice = self.choice()
        if choice is not None:
            signal.emit(choice)

    def _save_set(self, name: str, description: str) -> None:
        choice = self.choice()
        if choice is not None:
            self.save_set_requested.emit(choice, name, description)

    @property
    def goal(self) -> Goal:
        return self._model.goal


def _headline(why_not: str) -> str:
    """The first sentence, as far as two lines hold it; the findings tell the rest."""
    first = why_not.split(". ", maxsplit=1)[0].rstrip(".")
    return first if len(first) <= _HEADLINE else f"{first[: _HEADLINE - 1].rstrip()}…"
