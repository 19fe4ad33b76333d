"""What is wrong with the calibration data of a recipe, as far as its beginning tells."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from core.calibration.builtin import prompts
from core.calibration.overlap import evaluation_texts, shared_share
from core.calibration.read import first_samples, source_files
from core.calibration.spec import SELF_CHAT, CalibrationSpec
from core.errors import BitpressError, Problem
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel
from core.plan.finding import Finding, Severity
from core.value import Json

FEW_SAMPLES = 32
"""Fewer than this many samples leave GPTQ's Hessians poor; 128 and more are usual."""

USUAL_SAMPLES = CalibrationSpec().samples

_BUILT_IN: dict[str, Json] = {"source": SELF_CHAT}
"""Mends what is wrong with other data."""

_WARN_SHARE, _BLOCK_SHARE = 0.01, 0.1


def calibration_findings(model: LocalModel, recipe: Recipe) -> Iterator[Finding]:
    """Findings about the data; reads a quarter of a megabyte of it, once for each version of the files."""
    if not find(recipe.method).calibrates(recipe.parameters):
        return
    spec = recipe.calibration
    if spec is None:
        yield Finding(
            code="no-calibration",
            severity=Severity.BLOCKS,
            message="This method needs calibration data and the recipe names none. Choose the built-in chat, or a file "
            "or folder of your own.",
            fix=_BUILT_IN,
        )
        return
    if spec.samples < FEW_SAMPLES:
        yield Finding(
            code="few-samples",
            severity=Severity.WARNS,
            message=f"{spec.samples} calibration samples are few: the result may suit only them. {USUAL_SAMPLES} are "
            "usual.",
            fix={"samples": USUAL_SAMPLES},
        )
    if model.context_length and spec.max_length > model.context_length:
        yield Finding(
            code="longer-than-context",
            severity=Severity.WARNS,
            message=f"Samples of up to {spec.max_length:,} tokens are longer than the model's context of "
            f"{model.context_length:,} tokens, where it has learned nothing.",
            fix={"max_length": model.context_length},
        )
    if spec.source == SELF_CHAT:
        yield from _built_in(model, spec)
    else:
        yield from _own_files(spec)


def _built_in(model: LocalModel, spec: CalibrationSpec) -> Iterator[Finding]:
    there = len(prompts())
    if spec.samples > there:
        yield Finding(
            code="few-prompts",
            severity=Severity.WARNS,
            message=f"There are {there} built-in prompts, so {there} samples are used instead of {spec.samples:,}. For "
            "more, give a file of your own.",
            fix={"samples": there},
        )
    if not model.chat_template:
        yield Finding(
            code="no-chat-template",
            severity=Severity.WARNS,
            message="This model has no chat template, so it was probably not trained to answer. The built-in chat is "
            "given to it as plain text; text of your own may calibrate it better.",
        )


def _own_files(spec: CalibrationSpec) -> Iterator[Finding]:
    try:
        files = source_files(spec)
        stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    except BitpressError as error:
        yield _blocked(error.problem)
        return
    share = _looked_at(spec, stamps)
    if isinstance(share, Problem):
        yield _blocked(share)
    elif share >= _WARN_SHARE:
        yield Finding(
            code="calibration-overlap",
            severity=Severity.BLOCKS if share >= _BLOCK_SHARE else Severity.WARNS,
            message=f"{share:.0%} of the calibration data is also in the texts that models are judged by here, so the "
            "evaluation would flatter the result. Choose other data.",
            fix=_BUILT_IN,
        )


@lru_cache(maxsize=16)
def _looked_at(spec: CalibrationSpec, stamps: tuple[tuple[str, int, int], ...]) -> float | Problem:
    """Share of the data that is in the evaluation texts, or what is wrong with it.

    The stamps (path, time, size) are only there so that a changed file is looked at again.
    """
    try:
        return shared_share(first_samples(spec), evaluation_texts())
    except BitpressError as error:
        return error.problem


def _blocked(problem: Problem) -> Finding:
    return Finding(
        code=problem.code, severity=Severity.BLOCKS, message=f"{problem.message} {problem.hint}".strip(), fix=_BUILT_IN
    )
