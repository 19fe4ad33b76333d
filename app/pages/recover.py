"""Binds "Recover…" on a finished run: the dialog, and the run that follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from PySide6.QtWidgets import QWidget

from app.recovery import PlannedRecovery, plan_recovery, start_recovery
from app.shell import Shell
from core.jobs.run import Run
from core.methods.recovery import RecoverySpec
from core.plan.finding import Severity
from ui.dialogs.recover import RecoverDialog
from ui.humanize import memory_text

Started = Callable[[Run], Awaitable[None]]


async def ask_recovery(page: QWidget, shell: Shell, run: Run, started: Started) -> RecoverDialog | None:
    """Show the dialog for what a run made; `started` hears of the new run. None where the artifact is gone."""
    if run.output is None or not Path(run.output).exists():
        return None
    planned = await _planned(shell, run, RecoverySpec())
    blocked = " ".join(one.message for one in planned.findings if one.severity is Severity.BLOCKS)
    needs = f"It takes about {memory_text(planned.memory)} of memory."
    dialog = RecoverDialog(planned.artifact.name, needs, blocked, page)

    async def start(spec: RecoverySpec) -> None:
        await started(await start_recovery(shell.engine, await _planned(shell, run, spec)))

    dialog.started.connect(lambda spec: shell.tasks.start("recover", start(spec)))
    dialog.open()
    return dialog


async def _planned(shell: Shell, run: Run, spec: RecoverySpec) -> PlannedRecovery:
    engine = shell.engine
    return await plan_recovery(
        engine, artifact=engine.model(run.output or ""), original=engine.model(run.models[0]), spec=spec
    )
