"""Exports of compressed models: which forms there are, what each takes, and what is asked becomes a run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from app.compression import look_inside
from app.engine import Engine, free_name
from app.installed_version import installed_version
from core.errors import BitpressError
from core.jobs.order import ExportOrder, kept_order
from core.jobs.run import NewRun, Run, RunKind
from core.methods.recipe import Recipe
from core.models.local_files import inside
from core.models.local_model import LocalModel
from core.plan.export_forms import Form, Offered, offered, room_finding, rounded_recipe
from core.plan.finding import Finding, Severity
from core.plan.output_check import output_findings
from core.plan.read_machine import read_machine
from core.regular_file import read_regular

_CONFIG_LIMIT = 64_000_000
_TITLES = {Form.PLAIN: "plain weights", Form.W4A16: "W4A16"}


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """The forms of one artifact; `recipe` is what W4A16 is made by."""

    model: LocalModel
    forms: tuple[Offered, ...]
    recipe: Recipe | None

    def form(self, wanted: Form) -> Offered:
        return next(one for one in self.forms if one.form is wanted)


async def plan_export(engine: Engine, model: LocalModel) -> PlannedExport:
    """Look inside and say what can be made of it; nothing runs but the survey of a model that was never seen."""
    survey = (await look_inside(engine, model)).survey if model.quantization else None
    recipe = None if survey is None else rounded_recipe(survey)
    turns = await asyncio.to_thread(_turns, model.path)
    return PlannedExport(model, offered(model, survey, recipe, turns=turns), recipe)


def usual_output(engine: Engine, model: LocalModel, form: Form) -> Path:
    """Where an export goes if nobody says otherwise: a plain one is a model like those that were imported."""
    plain = engine.settings.artifacts_folder or engine.home.models
    return free_name(plain if form is Form.PLAIN else engine.artifacts, f"{model.name}-{form}")


def export_findings(planned: PlannedExport, form: Form, output: Path) -> tuple[Finding, ...]:
    """What stands in the way of writing there. Reads the disk."""
    found = list(output_findings(planned.model, output))
    room = room_finding(planned.form(form), read_machine(output).disk_free)
    return (*found, *(() if room is None else (room,)))


async def start_export(engine: Engine, planned: PlannedExport, form: Form, output: Path | None = None) -> Run:
    """Queue the export of a compressed model.

    Raises BitpressError `nothing-to-export` for a model that is not compressed, `cannot-export` for a form that it
    cannot take, and `blocked` where the place or the disk does not allow it.
    """
    model, wanted = planned.model, planned.form(form)
    if model.quantization is None:
        raise BitpressError(
            "nothing-to-export", f"{model.name} is not compressed.", "Choose a model that Bitpress compressed."
        )
    if wanted.why_not:
        other = next((one.title for one in planned.forms if not one.why_not), "")
        hint = f"It can be exported as: {other}." if other else "Use it as it is."
        raise BitpressError("cannot-export", f"{model.name}: {wanted.why_not}", hint)
    place = (output or usual_output(engine, model, form)).absolute()
    findings = await asyncio.to_thread(export_findings, planned, form, place)
    blocking = [finding for finding in findings if finding.severity is Severity.BLOCKS]
    if blocking:
        code = "output-exists" if blocking[0].code == "output-exists" else "blocked"
        raise BitpressError(code, blocking[0].message, "Choose another folder, or make room.")
    order = ExportOrder(
        model=model.path,
        output=place,
        recipe=planned.recipe if form is Form.W4A16 else None,
        device=engine.settings.device,
        app_version=installed_version(),
    )
    return await engine.submit(
        NewRun(
            kind=RunKind.EXPORT,
            title=f"Export as {_TITLES[form]}",
            models=(str(model.path),),
            model_name=model.name,
            output=str(place),
            order=kept_order(order),
        )
    )


def _turns(folder: Path) -> bool:
    """Whether it rotates activations while it runs, as far as its config says."""
    try:
        config = json.loads(read_regular(inside(folder, "config.json"), _CONFIG_LIMIT))
    except (OSError, ValueError, RecursionError, BitpressError):
        return False
    found = config.get("quantization_config") if isinstance(config, dict) else None
    return isinstance(found, dict) and bool(found.get("transform_config"))
