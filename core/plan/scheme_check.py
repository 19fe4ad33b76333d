"""What a scheme does to this model that its name does not promise: no gain in size, a head stored twice, no cache."""

from __future__ import annotations

from collections.abc import Iterator

from core.methods.catalogue import find
from core.methods.method import kv_cache
from core.methods.recipe import Recipe
from core.methods.targets import assigned, matches
from core.models.survey import Survey
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.plan.words import size
from core.value import Json

_CACHED = r"re:.*(self_attn|attention)\.(k_proj|v_proj|qkv_proj|kv_b_proj)$"
"""By these layers compressed-tensors 0.19 knows an attention whose keys and values it can round
(quantization/utils/helpers.py, KV_CACHE_TARGETS; quantization/lifecycle/initialize.py, _is_attention_module)."""

_WITHOUT_KV_HEADS = frozenset({"OPTForCausalLM", "XGLMForCausalLM", "BioGptForCausalLM"})
"""Architectures whose configuration has no `num_key_value_heads`, without which compressed-tensors stops with
`Cannot determine num_key_value_heads from config` (utils/helpers.py)."""

_NO_GAIN = 0.97
"""Share of the original's bytes above which a file did not become smaller."""


def scheme_findings(survey: Survey | None, recipe: Recipe, estimates: Estimates, weights: int) -> Iterator[Finding]:
    """Findings about what the artifact becomes; `weights` are the original's bytes, the parameters must be valid."""
    method = find(recipe.method)
    rules = method.rules(recipe.parameters)
    if survey is not None:
        yield from _cache(survey, recipe)
    bytewise = next(
        (
            rule.scheme
            for rule in rules
            if rule.scheme.weights.type == "int" and rule.scheme.weights.num_bits < 8 and rule.scheme.activations
        ),
        None,
    )
    if bytewise is not None:
        yield Finding(
            code="byte-per-weight",
            severity=Severity.NOTES,
            message=f"{bytewise.name} stores each {bytewise.weights.num_bits}-bit weight in a byte of its own, so the "
            "file is as large as an 8-bit one. Choose GPTQ W4A16 for a small file.",
            fix={"method": "gptq-w4a16"},
        )
    elif rules and weights and estimates.artifact_bytes > _NO_GAIN * weights:
        yield Finding(
            code="no-size-gain",
            severity=Severity.WARNS,
            message=f"The artifact would be about {size(estimates.artifact_bytes)}, and the original is "
            f"{size(weights)}: hardly anything of it is compressed.",
        )
    if survey is not None and method.unties_head:
        tied = [module for module in survey.linears if module.tied_to is not None]
        if tied:
            yield Finding(
                code="head-untied",
                severity=Severity.NOTES,
                message=f"The output layer {tied[0].name} shares its weights with the embedding here, and is stored on "
                f"its own afterwards: {size(2 * sum(module.elements for module in tied))} more.",
            )


def _cache(survey: Survey, recipe: Recipe) -> Iterator[Finding]:
    if kv_cache(recipe.parameters) is None:
        return
    known = any(matches(module, _CACHED) for module in survey.linears)
    if known and survey.architecture not in _WITHOUT_KV_HEADS:
        return
    method = find(recipe.method)
    alone = not assigned(survey, method.rules(recipe.parameters), ())
    fix: dict[str, Json] = {"method": "fp8-dynamic"} if alone else {"kv_cache": "none"}
    yield Finding(
        code="kv-cache-architecture",
        severity=Severity.BLOCKS,
        message=f"compressed-tensors finds no keys and values in {survey.architecture or 'this architecture'}: its "
        "attention is built otherwise than Llama's, and the job would stop or leave them as they are. "
        + ("Choose FP8 dynamic instead." if alone else "Leave keys and values as they are."),
        fix=fix,
    )
