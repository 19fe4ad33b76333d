"""What is wrong with the calibration data of a recipe, as far as its beginning tells."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from core.calibration.builtin import prompts
from core.calibration.inspection import FEW_SAMPLES, few_samples, overlap_finding
from core.calibration.overlap import evaluation_texts, overlap
from core.calibration.sources import source_beginning, source_paths
from core.calibration.spec import BUILT_IN, SELF_CHAT, CalibrationSpec
from core.errors import BitpressError, Problem
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel
from core.plan.finding import Finding, Severity
from core.value import Json

_BUILT_IN: dict[str, Json] = {"source": SELF_CHAT}
"""Mends what is wrong with other data."""


def calibration_findings(model: LocalModel, recipe: Recipe) -> Iterator[Finding]:
    """Findings about the data; reads a quarter of a megabyte of each source, once for each version of its files."""
    if not find(recipe.method).calibrates(recipe.parameters):
        return
    spec = recipe.calibration
    if spec is None:
        yield Finding(
            code="no-calibration",
            severity=Severity.BLOCKS,
            message="This method needs calibration data and the recipe names none. Choose the built-in chat, or data "
            "of your own.",
            fix=_BUILT_IN,
        )
        return
    if spec.samples < FEW_SAMPLES:
        yield few_samples(spec.samples).model_copy(update={"fix": {"samples": CalibrationSpec().samples}})
    if model.context_length and spec.max_length > model.context_length:
        yield Finding(
            code="longer-than-context",
            severity=Severity.WARNS,
            message=f"Samples of up to {spec.max_length:,} tokens are longer than the model's context of "
            f"{model.context_length:,} tokens, where it has learned nothing.",
            fix={"max_length": model.context_length},
        )
    for part, count in zip(spec.parts, spec.part_samples, strict=True):
        if count == 0:
            yield Finding(
                code="calibration-part-empty",
                severity=Severity.WARNS,
                message=f"By its weight, {part.source} gives none of the {spec.samples} samples.",
            )
        if part.source not in (SELF_CHAT, BUILT_IN):
            yield from _own_data(spec.part(part.source, count), named=bool(spec.mix))
        elif count > len(prompts()):
            yield Finding(
                code="few-prompts",
                severity=Severity.WARNS,
                message=f"There are {len(prompts())} built-in prompts, so {part.source} gives {len(prompts())} samples "
                f"instead of {count:,}. For more, add data of your own.",
                fix={"samples": len(prompts())} if len(spec.parts) == 1 else None,
            )
    if not model.chat_template and any(part.source in (SELF_CHAT, BUILT_IN) for part in spec.parts):
        yield Finding(
            code="no-chat-template",
            severity=Severity.WARNS,
            message="This model has no chat template, so it was probably not trained to answer. The built-in chat is "
            "given to it as plain text; text of your own may calibrate it better.",
        )


def _own_data(spec: CalibrationSpec, *, named: bool) -> Iterator[Finding]:
    try:
        stamps = tuple(_stamp(path) for path in source_paths(spec))
    except BitpressError as error:
        yield _blocked(error.problem)
        return
    # The rest of the choice has no part in what the data begins with.
    share = _looked_at(spec.model_copy(update={"samples": 1, "seed": 0}), stamps)
    if isinstance(share, Problem):
        yield _blocked(share)
    elif (finding := overlap_finding(share, spec.source if named else "")) is not None:
        yield finding.model_copy(update={"fix": _BUILT_IN})


def _stamp(path: Path) -> tuple[str, int, int]:
    """Path, time and size; of a file that is gone, reading it says more."""
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size


@lru_cache(maxsize=32)
def _looked_at(spec: CalibrationSpec, stamps: tuple[tuple[str, int, int], ...]) -> float | Problem:
    """Share of the data that is in the evaluation texts, or what is wrong with it.

    The stamps (path, time, size) are only there so that a changed file is looked at again.
    """
    try:
        return overlap(source_beginning(spec), evaluation_texts()).share
    except BitpressError as error:
        return error.problem


def _blocked(problem: Problem) -> Finding:
    return Finding(
        code=problem.code, severity=Severity.BLOCKS, message=f"{problem.message} {problem.hint}".strip(), fix=_BUILT_IN
    )
