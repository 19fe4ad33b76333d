"""Opens the deployment dialog for a model, and plans whenever its form changes."""

from __future__ import annotations

import asyncio

from PySide6.QtWidgets import QWidget

from app.deployment import Subject, subject_of
from app.shell import Shell
from core.models.local_model import LocalModel, Weights
from core.models.survey import Survey
from core.models.survey_store import kept_survey
from core.paths import Home
from core.plan.architecture import SCHEMES, weights_of
from core.plan.deployment import Deployment, deploy
from core.plan.gpu_kinds import GPU_KINDS, find_gpu, kind_of
from core.plan.machine import Machine
from core.plan.read_machine import read_machine
from ui.dialogs.deployment import DeploymentDialog
from ui.forms.deployment_form import DeploymentChoice


async def show_deployment(parent: QWidget, shell: Shell, model: LocalModel) -> DeploymentDialog:
    """Open the dialog; the arithmetic takes a few milliseconds, so it runs as the form changes.

    Raises BitpressError `no-parameters`.
    """
    home = shell.engine.home
    subject = await asyncio.to_thread(lambda: subject_of(model, _survey(home, model)))
    machine = await asyncio.to_thread(read_machine, home.root)
    dialog = DeploymentDialog(model.label, GPU_KINDS, parent)
    dialog.set_value(_first(model, machine))

    def plan(choice: DeploymentChoice) -> None:
        dialog.show_deployment(planned(subject, choice))

    dialog.changed.connect(plan)
    plan(dialog.value())
    dialog.open()
    return dialog


def planned(subject: Subject, choice: DeploymentChoice) -> Deployment:
    """Every scheme on the chosen kind of GPU, and the artifact as it lies on the disk where it is one."""
    rows = [weights_of(subject.architecture, scheme) for scheme in ("BF16", *SCHEMES)]
    stored = [] if subject.stored is None else [subject.stored]
    return deploy(subject.architecture, [*stored, *rows], (find_gpu(choice.gpu),), choice.load, choice.price)


def _first(model: LocalModel, machine: Machine) -> DeploymentChoice:
    """The GPU of this machine where the table knows it; a context that the model has."""
    context = min(8192, model.context_length or 8192)
    known = next((kind for gpu in machine.gpus if (kind := kind_of(gpu.name, gpu.memory_total))), None)
    return DeploymentChoice(context=context) if known is None else DeploymentChoice(gpu=known.id, context=context)


def _survey(home: Home, model: LocalModel) -> Survey | None:
    if model.weights is not Weights.SAFETENSORS or not model.usable:
        return None
    return kept_survey(home, model.path)
