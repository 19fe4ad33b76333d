"""What llmcompressor 0.14, compressed-tensors 0.19 and transformers 5.17 cannot do with particular families.

Each entry was met on a tiny model of the family: the job failed late, or the artifact did not open again. A test takes
the blocked pairs through the libraries and fails when one of them works, so that nothing is blocked longer than needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.scheme import Rule, Scheme, Strategy
from core.methods.targets import assigned
from core.models.local_model import LocalModel, Weights
from core.models.survey import Survey, SurveyedModule
from core.plan.finding import Finding, Severity
from core.value import Json

_EXPERTS = ".experts."
_READABLE = "FP8 dynamic, symmetric integer weights (W4A16, W8A16) or MXFP4"

TRIED_EXPERTS = frozenset({"MixtralForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM"})
"""Mixture-of-experts architectures that were taken through compression, proof and evaluation."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that holds for a scheme on some models; `reason` completes a sentence about the artifact."""

    code: str
    holds: Callable[[Scheme], bool]
    reason: str
    instead: str


EXPERT_LIMITS: tuple[Limit, ...] = (
    Limit(
        code="experts-int8",
        holds=lambda scheme: scheme.weights.type == "int" and scheme.activations is not None,
        reason="transformers 5.17 cannot open experts whose integer weights are stored a byte each",
        instead=_READABLE,
    ),
    Limit(
        code="experts-asymmetric",
        holds=lambda scheme: not scheme.weights.symmetric,
        reason="transformers 5.17 does not read the zero points of asymmetric experts",
        instead="symmetric weights",
    ),
    Limit(
        code="experts-nvfp4",
        holds=lambda scheme: scheme.weights.strategy is Strategy.TENSOR_GROUP,
        reason="transformers 5.17 drops the scale that NVFP4 has for a whole expert, and computes noise",
        instead="MXFP4 or W4A16",
    ),
    Limit(
        code="experts-mxfp8",
        holds=lambda scheme: (
            scheme.weights.type == "float"
            and scheme.weights.num_bits == 8
            and scheme.weights.strategy is Strategy.GROUP
        ),
        reason="transformers 5.17 cannot open experts whose 8-bit floats have a scale a group",
        instead=_READABLE,
    ),
    Limit(
        code="experts-fp8-block",
        holds=lambda scheme: scheme.weights.strategy is Strategy.BLOCK,
        reason="transformers 5.17 cannot open experts whose 8-bit floats have a scale a block",
        instead=_READABLE,
    ),
    Limit(
        code="experts-static",
        holds=lambda scheme: (
            scheme.activations is not None
            and scheme.activations.dynamic is False
            and scheme.weights.strategy is not Strategy.TENSOR_GROUP
        ),
        reason="transformers 5.17 has no place for the fixed scales of an expert's inputs",
        instead="FP8 dynamic, which needs no such scales",
    ),
)
"""What becomes of experts that transformers merges into one tensor while it loads them."""

HALF_LIMIT = Limit(
    code="half-precision",
    holds=lambda scheme: (
        scheme.weights.strategy is Strategy.TENSOR_GROUP
        or (scheme.weights.type == "float" and scheme.weights.strategy is Strategy.GROUP)
    ),
    reason="compressed-tensors 0.19 unpacks this format to bfloat16 only, which does not go with the other layers",
    instead="FP8 or integer weights, or a bfloat16 version of the model",
)
"""What becomes of models that are not stored in bfloat16."""


def family_findings(model: LocalModel, survey: Survey | None, recipe: Recipe) -> Iterator[Finding]:
    """Findings about this family with this method; the parameters must be valid."""
    yield from _tokenizer_findings(model)
    rules = find(recipe.method).rules(recipe.parameters)
    if not rules:
        return
    stored = {group.dtype for group in model.dtypes[:1]}
    if model.weights is Weights.SAFETENSORS and stored & {"F16", "F32"}:
        for scheme in {rule.scheme.name: rule.scheme for rule in rules}.values():
            if HALF_LIMIT.holds(scheme):
                yield _blocked(HALF_LIMIT, f"This model is stored as {'16' if 'F16' in stored else '32'}-bit floats")
    if survey is not None:
        yield from _expert_findings(survey, rules, recipe)


def _tokenizer_findings(model: LocalModel) -> Iterator[Finding]:
    if model.remote_code and not model.tokenizer and model.weights is Weights.SAFETENSORS:
        yield Finding(
            code="tokenizer-code",
            severity=Severity.BLOCKS,
            message="The tokenizer comes as Python code (as XGen's does), and there is no tokenizer.json to use "
            "instead. Read that code and agree to it, or choose a version of the model that has a tokenizer.json.",
        )


def _expert_findings(survey: Survey, rules: tuple[Rule, ...], recipe: Recipe) -> Iterator[Finding]:
    ignore = tuple(recipe.parameters.get("ignore", ()))
    experts = [(module, scheme) for module, scheme in assigned(survey, rules, ignore) if _EXPERTS in module.name]
    if not experts:
        return
    if survey.architecture not in TRIED_EXPERTS:
        yield Finding(
            code="experts-untried",
            severity=Severity.WARNS,
            message=f"The experts of {survey.architecture or 'this architecture'} were not tried with Bitpress. "
            "Whether transformers finds them again in the artifact shows only in the proof.",
        )
    schemes = {scheme.name: scheme for _, scheme in experts}
    for scheme in schemes.values():
        limit = next((limit for limit in EXPERT_LIMITS if limit.holds(scheme)), None)
        if limit is not None:
            asymmetric = limit.code == "experts-asymmetric" and "symmetric" in recipe.parameters
            yield _blocked(limit, "This is a mixture of experts", {"symmetric": True} if asymmetric else None)
    if len(rules) > 1 and (wrong := _misread(experts, rules)):
        yield Finding(
            code="experts-mixed",
            severity=Severity.BLOCKS,
            message=f"transformers 5.17 opens all experts by one scheme, and would take {wrong} for those that get "
            "another. Give all experts one scheme, by a pattern that has the word `experts` in it.",
        )


def _misread(experts: list[tuple[SurveyedModule, Scheme]], rules: tuple[Rule, ...]) -> str:
    """Name of the scheme that transformers takes for every expert where that is wrong for one, else nothing.

    transformers/integrations/compressed_tensors.py, get_experts_scheme: the first group with a pattern that mentions
    experts, else the first with a class name, else the first.
    """
    by_pattern = (r for r in rules if any(t.startswith("re:") and "experts" in t for t in r.targets))
    by_class = (r for r in rules if any(not t.startswith("re:") for t in r.targets))
    taken = next(by_pattern, next(by_class, rules[0])).scheme
    return taken.name if any(scheme != taken for _, scheme in experts) else ""


def _blocked(limit: Limit, about: str, fix: dict[str, Json] | None = None) -> Finding:
    return Finding(
        code=limit.code,
        severity=Severity.BLOCKS,
        message=f"{about}, and {limit.reason}. Choose {limit.instead}.",
        fix=fix,
    )
