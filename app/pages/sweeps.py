"""Drives sweeps for the window: starts, stops and resumes them, and tells every view how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from app.shell import Shell
from app.sweep import SweepWatch, plan_sweep, run_sweep, to_the_end
from app.sweep_cost import sweep_cost
from core.errors import Problem
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot
from core.jobs.sweep_plan import SweepPlan, also_recovered, entry_of, why_not_recovered
from core.jobs.sweep_store import SweepStore
from core.measure.gate_store import find_gate, gates
from core.measure.gates import BUILT_IN, USUAL
from core.measure.results import BenchmarkSuite
from core.measure.sweep_values import SweepResult
from core.methods.catalogue import find
from core.models.local_model import LocalModel
from ui.dialogs.sweep import SweepDialog
from ui.dialogs.sweep_start import SweepAsked, SweepStartDialog
from ui.pages.compress_choice import CompressChoice
from ui.widgets.sweep_table import SweepCard

TASK = "sweep"
COST_SECONDS = 0.2
"""Of quiet before the cost of what is chosen is counted."""

SweepListener = Callable[[SweepResult | None], None]


@dataclass(frozen=True, slots=True)
class _Now:
    """What the running sweep is, and what it does."""

    identity: str = ""
    sentence: str = ""


class Sweeps:
    """One for the window; `sweeps_of` gives it. At most one sweep runs in it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._store = SweepStore(shell.engine.home)
        self._cards: list[SweepCard] = []
        self._now = _Now()
        self._last: SweepResult | None = None
        self.listeners: list[SweepListener] = []
        """Told of every change of the sweep that is shown, for charts."""

    @property
    def shown(self) -> SweepResult | None:
        """The sweep that runs or ran last; None before `refresh` has found one."""
        return self._last

    def attach(self, card: SweepCard) -> None:
        """Let a card show the sweep that runs, or the last one, until it is gone, and act for its buttons."""
        self._cards.append(card)
        card.destroyed.connect(lambda: self._forget(card))
        card.resume_asked.connect(self.resume)
        card.stop_asked.connect(lambda _identity: self.stop())
        self._show_in(card)
        if self._last is None:
            self.refresh()

    def refresh(self) -> None:
        """Look for the newest sweep on the disk."""
        self._shell.tasks.replace("sweeps", self._found())

    async def newest(self, original: str) -> SweepResult | None:
        """The newest sweep of a model; None where there is none."""
        records = await asyncio.to_thread(self._store.all)
        return next((one.result for one in records if one.result.original == original), None)

    def start(self, plan: SweepPlan, model: LocalModel) -> None:
        """Keep a new sweep and carry it out."""
        self._begin(self._new(plan, model))

    def resume(self, identity: str) -> None:
        """Go on with a sweep where it was."""
        self._begin(self._carried_out(identity))

    def stop(self) -> None:
        """End the job that runs; the sweep can go on later."""
        self._shell.tasks.cancel(TASK)

    def _begin(self, work: object) -> None:
        if self._shell.tasks.running(TASK):
            work.close()  # type: ignore[attr-defined]
            self._shell.problem(
                Problem(
                    code="sweep-running",
                    message="A sweep is running already.",
                    hint="Wait for its end, or stop it; it can go on later.",
                )
            )
            return
        self._shell.tasks.start(TASK, work)  # type: ignore[arg-type]

    async def _new(self, plan: SweepPlan, model: LocalModel) -> None:
        plan = await plan_sweep(self._shell.engine, model, plan)
        record = await asyncio.to_thread(self._store.create, plan, model.bytes)
        await self._carried_out(record.id)

    async def _carried_out(self, identity: str) -> None:
        self._now = _Now(identity)
        self._show((await asyncio.to_thread(self._store.get, identity)).result)
        try:
            self._show(await run_sweep(self._shell.engine, identity, SweepWatch(rows=self._told, run=self._followed)))
        finally:
            self._now = _Now()
            self._show(self._last)
            self._shell.refresh_models()
            self._shell.refresh_runs()

    async def _followed(self, run: Run) -> JobSnapshot:
        await self._shell.read_runs()
        snapshot = await to_the_end(self._shell.engine, run)
        await self._shell.read_runs()
        return snapshot

    async def _found(self) -> None:
        records = await asyncio.to_thread(self._store.all)
        if self._last is None and records:
            self._show(records[0].result)

    def _told(self, result: SweepResult, sentence: str) -> None:
        self._now = _Now(result.id, sentence)
        self._show(result)

    def _show(self, result: SweepResult | None) -> None:
        self._last = result
        for card in tuple(self._cards):
            self._show_in(card)
        for listener in tuple(self.listeners):
            listener(result)

    def _show_in(self, card: SweepCard) -> None:
        card.show_sweep(self._last)
        running = self._last is not None and self._last.id == self._now.identity
        card.show_running(running, self._now.sentence)

    def _forget(self, card: SweepCard) -> None:
        if card in self._cards:
            self._cards.remove(card)


def sweeps_of(shell: Shell) -> Sweeps:
    """The window's driver of sweeps."""
    if shell.sweeps is None:
        shell.sweeps = Sweeps(shell)
    return shell.sweeps


async def ask_sweep(parent: QWidget, shell: Shell, model: LocalModel, choice: CompressChoice) -> SweepStartDialog:
    """Ask how the ticked methods are to be swept, start it, and show it in a window of its own."""
    home = shell.engine.home
    known = await asyncio.to_thread(gates, home)
    titles = [(one.name, one.gate.title) for one in known if one.gate is not None]
    words = f"{len(choice.to_run)} methods on {model.label}, measured on the same held-out text."
    plain = plan_of(choice, model)
    recoverable = [entry.title for entry in plain.entries if why_not_recovered(entry) is None]
    dialog = SweepStartDialog(
        words, titles, shell.engine.settings.gate or USUAL, parent, recoverable=recoverable, recovery=choice.recovery
    )

    def planned(asked: SweepAsked) -> SweepPlan:
        entries = plain.entries if asked.recovery is None else also_recovered(plain.entries, asked.recovery)
        return plain.model_copy(update={"entries": entries, "fix": asked.fix})

    def started(asked: SweepAsked) -> None:
        update = {"gate": find_gate(home, asked.gate), "benchmark": BenchmarkSuite() if asked.bench else None}
        sweeps_of(shell).start(planned(asked).model_copy(update=update), model)
        show_sweeps(parent, shell)

    async def count(asked: SweepAsked) -> None:
        await asyncio.sleep(COST_SECONDS)  # Typing minutes changes the choice several times; the last one counts.
        cost = await sweep_cost(shell.engine, model, planned(asked))
        if isValid(dialog):
            dialog.show_cost(asked, cost.words)

    dialog.started.connect(started)
    dialog.changed.connect(lambda asked: shell.tasks.replace("sweep-cost", count(asked)))
    shell.tasks.replace("sweep-cost", count(dialog.value()))
    dialog.open()
    return dialog


def show_sweeps(parent: QWidget, shell: Shell) -> SweepDialog:
    """A window with the sweep that runs, or the last one."""
    dialog = SweepDialog(parent)
    sweeps_of(shell).attach(dialog.card)
    dialog.show()
    return dialog


def plan_of(choice: CompressChoice, model: LocalModel) -> SweepPlan:
    """The ticked methods with what is set for each, as a sweep's plan; the gate is the usual one."""
    return SweepPlan(
        model=str(model.path),
        model_name=model.name,
        entries=tuple(entry_of(find(one), choice.overrides.get(one, {})) for one in choice.to_run),
        calibration=choice.calibration,
        seed=choice.seed,
        gate=next(gate for gate in BUILT_IN if gate.name == USUAL),
    )
