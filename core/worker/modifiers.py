"""Which llmcompressor modifiers a recipe may name, and how they are made from data."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from core.errors import BitpressError
from core.methods.method import ModifierSpec
from core.methods.modifier_modules import MODIFIER_MODULES
from core.worker.progress import CompressionProgress

ALLOWED = MODIFIER_MODULES
"""Class name to the module that gives it. Nothing else is ever imported by name from a recipe."""


def build(specs: Sequence[ModifierSpec], progress: CompressionProgress) -> list[Any]:
    """The modifiers in order, each an instance of a same-named subclass that reports.

    Raises BitpressError `unknown-modifier` or `bad-recipe`.
    """
    return [_build(spec, index, progress) for index, spec in enumerate(specs)]


def _build(spec: ModifierSpec, index: int, progress: CompressionProgress) -> Any:
    if spec.name not in ALLOWED:
        raise BitpressError(
            "unknown-modifier",
            f"The recipe names {spec.name}, which is no modifier that Bitpress runs.",
            f"Use one of {', '.join(sorted(ALLOWED))}.",
        )
    cls = getattr(importlib.import_module(ALLOWED[spec.name]), spec.name)
    try:
        return progress.reporting(cls, index)(**_arguments(spec))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "a parameter"
        raise BitpressError(
            "bad-recipe",
            f"{spec.name} does not take {place} = {first['input']!r}: {first['msg']}",
            "Mend that parameter, or go back to the method's defaults.",
        ) from error
    except (ValueError, TypeError) as error:
        raise BitpressError(
            "bad-recipe", f"{spec.name} does not take these parameters: {error}", "Go back to the method's defaults."
        ) from error


def _arguments(spec: ModifierSpec) -> dict[str, Any]:
    """The arguments as Python has them; a copy, as llmcompressor writes into the dictionaries that it is given.

    Names of dtypes, schemes and mappings are taken as JSON has them; a device is not.
    """
    found = deepcopy(spec.arguments)
    if isinstance(found.get("offload_device"), str):
        import torch

        found["offload_device"] = torch.device(found["offload_device"])
    return found
