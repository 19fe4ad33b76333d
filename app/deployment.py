"""A local model as the subject of a deployment plan, the same way for window and command line."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import BitpressError
from core.methods.catalogue import find
from core.models.artifact import read_manifest
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.architecture import Architecture, Weights, architecture_of, stored_weights


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be served. `stored` is the model as it lies on the disk, where it is compressed already."""

    architecture: Architecture
    stored: Weights | None = None


def subject_of(model: LocalModel, survey: Survey | None) -> Subject:
    """Reads the manifest of an artifact. Raises BitpressError `no-parameters`."""
    if model.quantization is None and model.made_by_run is None:
        return Subject(architecture_of(model, survey))
    # A survey of an artifact counts packed words, not weights.
    return Subject(architecture_of(model, None), stored_weights(model, _method(model)))


def _method(model: LocalModel) -> str | None:
    manifest = read_manifest(model.path)
    if manifest is None:
        return None
    try:
        return find(manifest.recipe.method).id
    except BitpressError:  # Made by a version that knew other methods.
        return None
