"""What a calibrated job's tensors depend on: a checkpoint is taken up only by a job that shares all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from core.calibration.spec import CalibrationFacts
from core.jobs.protocol import Compress, Recover
from core.models.survey_store import weights_identity

LIBRARIES = ("torch", "transformers", "llmcompressor", "compressed-tensors", "auto-round", "numpy")


def fingerprint(command: Compress, facts: CalibrationFacts | None) -> dict[str, str]:
    """By what a person calls it. The number of threads is part of it: sums in another order have other last bits."""
    modifiers = [{"name": one.name, "arguments": one.arguments} for one in command.modifiers]
    recipe = json.dumps([modifiers, list(command.sequential_targets)], sort_keys=True)
    return {
        "model": weights_identity(command.model),
        "recipe": hashlib.sha256(recipe.encode()).hexdigest(),
        "calibration data": facts.sha256 if facts is not None else "none",
        "seed": str(command.seed),
        **_surroundings(),
    }


def recovery_fingerprint(command: Recover, facts: CalibrationFacts) -> dict[str, str]:
    """The same of a recovery's training."""
    return {
        "original": weights_identity(command.original),
        "artifact": weights_identity(command.artifact),
        "settings": hashlib.sha256(command.spec.model_dump_json().encode()).hexdigest(),
        "calibration data": facts.sha256,
        **_surroundings(),
    }


def _surroundings() -> dict[str, str]:
    """What decides the last bits of a sum: device, threads, libraries."""
    import torch

    cuda = torch.cuda.is_available()
    kind = (
        f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        if cuda
        else torch.backends.cpu.get_cpu_capability()
    )
    return {
        "device": kind,
        "number of threads": str(torch.get_num_threads()),
        **{f"version of {name}": _version(name) for name in LIBRARIES},
    }


def differences(kept: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """The names of what differs, in the order of `now`."""
    return tuple(name for name in dict.fromkeys((*now, *kept)) if kept.get(name) != now.get(name))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
