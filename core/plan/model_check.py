"""What in a model stands in the way of compressing it."""

from __future__ import annotations

from collections.abc import Iterator

from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.storage import stored_linear
from core.methods.targets import assigned, names_any, nearest_pattern, targeted, unfused_experts
from core.models.local_model import LocalModel, Origin, Weights
from core.models.survey import Survey
from core.plan.finding import CONSENT, Finding, Severity
from core.plan.words import size

_OWN_CODES = ("gguf", "no-tokenizer")
"""Remarks that are said here in other words, because they weigh more when the model is to be compressed."""


def model_findings(model: LocalModel) -> Iterator[Finding]:
    """Findings that hold for every method."""
    codes = {remark.code for remark in model.remarks}
    for remark in model.remarks:
        if remark.code not in _OWN_CODES:
            # The mend is a person's consent, which no machine takes over.
            fix = {CONSENT: model.own_code} if remark.code == "remote-code" and model.own_code else None
            yield Finding(code=remark.code, severity=Severity(remark.level), message=remark.message, fix=fix)
    if model.weights is Weights.GGUF and model.origin is not Origin.STARTER:
        yield Finding(
            code="gguf",
            severity=Severity.BLOCKS,
            message="This is a GGUF file, and only safetensors can be compressed. Import it first: that writes a bf16 "
            "model folder, which can then be compressed.",
        )
    if model.weights is Weights.PICKLE and "pickle" not in codes:
        yield Finding(
            code="pickle",
            severity=Severity.BLOCKS,
            message="Its weights are Python pickles, which can run any code when they are opened, so they never are. "
            "Look for a safetensors version of this model.",
        )
    if model.remote_code and not model.consented and "remote-code" not in codes:
        yield Finding(
            code="remote-code",
            severity=Severity.BLOCKS,
            message="This model wants to run Python code that came with it, and nobody agreed to that.",
        )
    if not model.tokenizer and model.weights is Weights.SAFETENSORS:
        yield Finding(
            code="no-tokenizer",
            severity=Severity.BLOCKS,
            message="There is no tokenizer in the model's folder, so it can be neither calibrated nor proved. Copy the "
            "original's tokenizer files into it.",
        )
    if model.quantization is not None:
        yield Finding(
            code="already-quantized",
            severity=Severity.BLOCKS,
            message=f"This model is quantized already ({model.quantization}), and a second time would only add loss. "
            "Choose the original that it was made from.",
        )


def module_findings(
    model: LocalModel, survey: Survey | None, recipe: Recipe, *, surveyed: bool = True
) -> Iterator[Finding]:
    """Findings about the layers that the recipe compresses; the parameters must be valid.

    `surveyed` is False where it is said elsewhere why there is no survey.
    """
    if survey is None and not surveyed:
        return
    if survey is None:
        yield Finding(
            code="not-surveyed",
            severity=Severity.NOTES,
            message="The model's layers have not been listed yet, so sizes are estimated from its configuration and "
            "layers are not checked.",
        )
        return
    if "ignore" not in recipe.parameters:
        yield from find(recipe.method).checks(survey, recipe.parameters)
        return
    ignore = tuple(recipe.parameters["ignore"])
    yield from _unmatched(survey, ignore)
    chosen = targeted(survey, ignore)
    experts = unfused_experts(survey, ignore)
    if not chosen and not experts:
        yield _nothing(survey, recipe)
        return
    tied = [module for module in chosen if module.tied_to is not None]
    if tied:
        names = ", ".join(module.name for module in tied)
        schemes = assigned(survey, find(recipe.method).rules(recipe.parameters), ignore)
        more = sum(
            tensor.bytes
            for module, scheme in schemes
            if module in tied
            for tensor in stored_linear(module.name, module.shape[0], module.shape[1], scheme)
        )
        yield Finding(
            code="tied-head",
            severity=Severity.WARNS,
            message=f"The output layer {names} shares its weights with the embedding. Compressed, it is stored "
            f"a second time and the file grows by {size(more)} instead of shrinking. Leave it alone.",
            fix={"ignore": [*ignore, *(module.name for module in tied)]},
        )
    if experts:
        share = sum(module.elements for module in experts) / max(sum(module.elements for module in survey.modules), 1)
        yield Finding(
            code="fused-experts",
            severity=Severity.NOTES,
            message=f"About {share:.0%} of the weights are experts that are stored in one tensor a layer. "
            "llmcompressor takes them apart before it compresses them; size, memory and time are less exact for that.",
        )
    yield from find(recipe.method).checks(survey, recipe.parameters)


def _nothing(survey: Survey, recipe: Recipe) -> Finding:
    usual = find(recipe.method).defaults(survey)["ignore"]
    if targeted(survey, usual):
        return Finding(
            code="nothing-to-compress",
            severity=Severity.BLOCKS,
            message=f"Nothing would be compressed: of {len(survey.linears):,} Linear layers all are left alone. Leave "
            f"alone only what is usual: {', '.join(usual) or 'nothing'}.",
            fix={"ignore": usual},
        )
    kinds = sorted({module.kind for module in survey.modules if len(module.shape) == 2 and module.kind != "Embedding"})
    return Finding(
        code="nothing-to-compress",
        severity=Severity.BLOCKS,
        message="Nothing would be compressed: llmcompressor compresses layers of the class Linear, and in "
        f"{survey.architecture or 'this model'} the weights are in {' and '.join(kinds) or 'other layers'}. Choose a "
        "model of another family.",
    )


def _unmatched(survey: Survey, ignore: tuple[str, ...]) -> Iterator[Finding]:
    missed = [pattern for pattern in ignore if not names_any(survey, pattern)]
    if not missed:
        return
    better = {pattern: nearest_pattern(survey, pattern) for pattern in missed}
    said = [f"{pattern} (did you mean {meant}?)" if (meant := better[pattern]) else pattern for pattern in missed]
    mended = [better.get(pattern, pattern) for pattern in ignore]
    yield Finding(
        code="ignore-unmatched",
        severity=Severity.BLOCKS,
        message=f"No layer of this model is named {', '.join(said)}, so what should be left alone would be compressed.",
        fix={"ignore": list(dict.fromkeys(pattern for pattern in mended if pattern))},
    )
