"""Binds "Export…" of a model and of a finished run: the dialog, and the run that follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from app.export import export_findings, plan_export, start_export, usual_output
from app.shell import Shell
from core.errors import BitpressError
from core.models.local_model import LocalModel
from core.plan.export_forms import Form
from core.plan.finding import Severity
from ui.dialogs.export import ExportDialog


async def ask_export(page: QWidget, shell: Shell, model: LocalModel) -> ExportDialog:
    """Show the dialog for an artifact; what is started is shown on the Runs page."""
    engine = shell.engine
    planned = await plan_export(engine, model)
    places = {one.form: usual_output(engine, model, one.form) for one in planned.forms}
    dialog = ExportDialog(model.name, planned.forms, places, page)

    async def check(form: Form, place: Path) -> None:
        findings = await asyncio.to_thread(export_findings, planned, form, place)
        if isValid(dialog):
            blocking = [one.message for one in findings if one.severity is Severity.BLOCKS]
            dialog.show_problem(form, place, " ".join(blocking))

    async def start(form: Form, place: Path) -> None:
        run = await start_export(engine, planned, form, place)
        await shell.read_runs()
        shell.go("runs", run.id)

    dialog.place_changed.connect(lambda form, place: shell.tasks.replace("check-export", check(form, place)))
    dialog.started.connect(lambda form, place: shell.tasks.start("export", start(form, place)))
    if dialog.form is not None:
        shell.tasks.replace("check-export", check(dialog.form, dialog.place))
    dialog.open()
    return dialog


async def ask_export_of_output(page: QWidget, shell: Shell, output: str | None) -> ExportDialog | None:
    """The same for what a run made. Raises BitpressError `artifact-gone` where it is not there any more."""
    if output is None or not Path(output).exists():
        raise BitpressError("artifact-gone", f"{output} is not there any more.", "Start the run again to make it anew.")
    return await ask_export(page, shell, await asyncio.to_thread(shell.engine.model, output))
