"""Exports of compressed models: what is asked becomes a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from app.compression import look_inside
from app.engine import Engine, free_name
from app.installed_version import installed_version
from core.errors import BitpressError
from core.jobs.order import ExportOrder, kept_order
from core.jobs.run import NewRun, Run, RunKind
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel
from core.models.quantized import CODEBOOK

Format = Literal["plain", "w4a16"]

ROUNDED = "rtn-w4a16"
"""The method that makes W4A16 of a plain model without data."""

COST = (
    "The values of the tables are rounded once more, to an even grid of 16 steps for each group of weights. The proof "
    "tells how far each module and the whole model then are from the artifact; the size is that of W4A16."
)


async def start_export(engine: Engine, *, model: LocalModel, form: Format, output: Path | None = None) -> Run:
    """Queue the export of a compressed model.

    Raises BitpressError `nothing-to-export` for a model that is not compressed, and `cannot-export` for W4A16 of
    anything but tables or binary codes of 4 bits: of fewer bits it would be larger than the artifact, and no better.
    """
    if model.quantization is None:
        raise BitpressError(
            "nothing-to-export", f"{model.name} is not compressed.", "Choose a model that Bitpress compressed."
        )
    recipe: Recipe | None = None
    if form == "w4a16":
        if not model.quantization.startswith(CODEBOOK) or "4-bit" not in model.precision or "+" in model.precision:
            raise BitpressError(
                "cannot-export",
                f"{model.name} is {model.precision or model.quantization}; only tables and binary codes of 4 bits "
                "become W4A16: fewer bits would grow, and other schemes are served as they are.",
                "Export it as plain 16-bit safetensors.",
            )
        inside = await look_inside(engine, model)
        recipe = resolve_recipe(ROUNDED, {}, None, inside.survey)
    place = output or free_name(engine.artifacts, f"{model.name}-{form}")
    order = ExportOrder(
        model=model.path, output=place, recipe=recipe, device=engine.settings.device, app_version=installed_version()
    )
    return await engine.submit(
        NewRun(
            kind=RunKind.EXPORT,
            title=f"Export {model.name} as {'plain weights' if form == 'plain' else 'W4A16'}",
            models=(str(model.path),),
            model_name=model.name,
            output=str(place),
            order=kept_order(order),
        )
    )
