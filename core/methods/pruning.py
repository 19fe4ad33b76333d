"""Pruning: weights set to zero, or experts taken out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from core.methods import sources
from core.methods.method import Kind, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.modifiers import rounding
from core.methods.parameters import BLOCK_SIZE, DAMPENING, IGNORE, defaults_of
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import fp8_dynamic
from core.methods.targets import REGULAR, unfused_experts
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

SPARSITY = Parameter(
    name="sparsity",
    title="Share of zeros",
    help="How many of the weights become zero. Half is what most models bear; more costs much. With the mask 2:4 it is "
    "always half.",
    kind=Kind.NUMBER,
    default=0.5,
    minimum=0.05,
    maximum=0.95,
)

MASK = Parameter(
    name="mask",
    title="Mask",
    help="0:0 sets to zero whatever matters least. 2:4 sets two of every four weights in a row to zero, which loses "
    "more and which vLLM no longer has kernels for.",
    kind=Kind.CHOICE,
    default="0:0",
    choices=("0:0", "2:4"),
)

THEN = Parameter(
    name="then",
    title="Then compress",
    help="Zeros are stored like any other weight, so that they alone make no file smaller. fp8-dynamic rounds the "
    "weights to 8 bits afterwards and halves the file; the zeros stay. none leaves the file as large as it was.",
    kind=Kind.CHOICE,
    default="fp8-dynamic",
    choices=("fp8-dynamic", "none"),
)

EXPERTS = Parameter(
    name="sparsity",
    title="Share of experts to drop",
    help="How many of each layer's experts are taken out; the least used go first. Enough must be left for the router "
    "to choose from.",
    kind=Kind.NUMBER,
    default=0.25,
    minimum=0.01,
    maximum=0.9,
)

_EXPERTS_THEN = replace(
    THEN,
    help="fp8-dynamic also rounds the weights that are left to 8 bits, which halves the file once more. none keeps "
    "their precision.",
    default="none",
)

_SPARSEGPT = (SPARSITY, MASK, THEN, IGNORE, DAMPENING, BLOCK_SIZE)
_WANDA = (SPARSITY, MASK, THEN, IGNORE)
_REAP = (EXPERTS, _EXPERTS_THEN, IGNORE)

_DATA = "Calibration data: the built-in chat, or text of your own."
_WHOLE_MODEL = (f"{REGULAR}^$",)
"""Pruning modifiers take targets for parents of layers, and compare what to ignore with `parent.layer`. Given Linear
layers themselves they look for `lm_head.` and prune the output layer that was to be left alone (llmcompressor 0.14)."""

_FLAGS = re.compile(r"\(\?[aiLmsux]+\)")


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    if parameters["then"] == "none":
        return ()
    return (Rule(targets=LINEAR, scheme=fp8_dynamic("memoryless_minmax")),)


def _then(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    rules = _rules(parameters)
    return (rounding(rules, parameters),) if rules else ()


def _sparsegpt(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    arguments = {
        **_pruned(parameters),
        "dampening_frac": parameters["dampening_frac"],
        "block_size": parameters["block_size"],
    }
    return (ModifierSpec(name="SparseGPTModifier", arguments=arguments, title="Prune"), *_then(parameters))


def _wanda(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    prune = ModifierSpec(name="WandaPruningModifier", arguments=_pruned(parameters), title="Prune")
    return (prune, *_then(parameters))


def _reap(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    drop = ModifierSpec(
        name="REAPPruningModifier",
        arguments={"sparsity": parameters["sparsity"], "ignore": _searched(parameters["ignore"])},
        title="Drop experts",
    )
    return (drop, *_then(parameters))


def _pruned(parameters: Parameters) -> dict[str, Json]:
    return {
        "sparsity": parameters["sparsity"],
        "mask_structure": parameters["mask"],
        "targets": list(_WHOLE_MODEL),
        "ignore": _under_the_whole(parameters["ignore"]),
    }


def _under_the_whole(patterns: Sequence[str]) -> list[Json]:
    """The patterns for names that begin with a dot, as those of layers do whose parent is the model itself."""
    found: list[Json] = []
    for pattern in patterns:
        if pattern.startswith(REGULAR):
            expression = pattern.removeprefix(REGULAR)
            flags = match.group() if (match := _FLAGS.match(expression)) else ""
            found.append(rf"{REGULAR}{flags}\.?(?:{expression.removeprefix(flags)})")
        else:
            # A name, or a class: it cannot be told from the text which.
            found += [pattern, f".{pattern}"]
    return found


def _searched(patterns: Sequence[str]) -> list[Json]:
    """The patterns as REAP reads them: expressions that are searched for anywhere in a name."""
    found: list[Json] = []
    for pattern in patterns:
        if pattern.startswith(REGULAR):
            expression = pattern.removeprefix(REGULAR)
            flags = match.group() if (match := _FLAGS.match(expression)) else ""
            found.append(f"{flags}^(?:{expression.removeprefix(flags)})")
        else:
            found.append(f"^{re.escape(pattern)}$")
    return found


def _zeros(parameters: Parameters) -> tuple[float, str]:
    half = parameters["mask"] == "2:4"
    return 0.5 if half else float(parameters["sparsity"]), str(parameters["mask"])


def _dropped(parameters: Parameters) -> float:
    return float(parameters["sparsity"])


def _pruning_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    found = []
    if parameters["then"] == "none":
        found.append(
            Finding(
                code="zeros-save-nothing",
                severity=Severity.WARNS,
                message="Zeros are stored like any other weight: the file stays as large as it was, and no engine runs "
                "it faster. Round to FP8 afterwards to halve it.",
                fix={"then": "fp8-dynamic"},
            )
        )
    if parameters["mask"] == "2:4" and parameters["sparsity"] != 0.5:
        found.append(
            Finding(
                code="mask-decides",
                severity=Severity.WARNS,
                message=f"The mask 2:4 sets half of the weights to zero, whatever the share says; it says "
                f"{parameters['sparsity']:.0%}.",
                fix={"sparsity": 0.5},
            )
        )
    return tuple(found)


def _reap_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    experts = unfused_experts(survey, ())
    if not experts:
        return (
            Finding(
                code="no-experts",
                severity=Severity.BLOCKS,
                message="REAP takes experts out of mixture-of-experts models, and this model has none. FP8 dynamic "
                "halves any model.",
                fix={"method": "fp8-dynamic"},
            ),
        )
    if all(module.kind.startswith("Llama4") for module in experts):
        return (
            Finding(
                code="no-experts",
                severity=Severity.BLOCKS,
                message="REAP in llmcompressor 0.14 cannot take out Llama 4's experts. FP8 dynamic halves any model.",
                fix={"method": "fp8-dynamic"},
            ),
        )
    count = max((module.shape[0] for module in experts if len(module.shape) == 3), default=0)
    if count and int(count * parameters["sparsity"]) == 0:
        return (
            Finding(
                code="no-expert-dropped",
                severity=Severity.BLOCKS,
                message=f"{parameters['sparsity']:.0%} of {count} experts is less than one, so nothing would be taken "
                "out.",
                fix={"sparsity": ceil(10_000 / count) / 10_000},
            ),
        )
    return ()


SPARSEGPT = Method(
    id="sparsegpt",
    title="SparseGPT",
    summary="Half of the weights zero, then FP8",
    explanation="Sets the weights that matter least to zero, and corrects the others for it with calibration data. "
    "Zeros alone make no file smaller and nothing faster; rounding to FP8 afterwards is what halves it. Small models "
    "lose much. For research into sparse models.",
    family="Pruning",
    scheme="SPARSE",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.SPARSEGPT,),
    requirements=(_DATA,),
    kl_bound=2.5,
    parameters=_SPARSEGPT,
    modifiers=_sparsegpt,
    defaults=defaults_of(_SPARSEGPT),
    rules=_rules,
    checks=_pruning_checks,
    zeros=_zeros,
)

WANDA = Method(
    id="wanda",
    title="Wanda",
    summary="Half of the weights zero, then FP8",
    explanation="Sets the weights to zero whose size times that of their input is smallest, and corrects nothing. It "
    "is much quicker than SparseGPT and loses more. Zeros alone make no file smaller and nothing faster; rounding to "
    "FP8 afterwards is what halves it.",
    family="Pruning",
    scheme="SPARSE",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.WANDA,),
    requirements=(_DATA,),
    kl_bound=3.5,
    parameters=_WANDA,
    modifiers=_wanda,
    defaults=defaults_of(_WANDA),
    rules=_rules,
    checks=_pruning_checks,
    zeros=_zeros,
)

REAP = Method(
    id="reap",
    title="REAP",
    summary="Fewer experts in each layer",
    explanation="Finds with calibration data which experts of a mixture-of-experts model contribute least, and takes "
    "them out. The model really becomes smaller, in its own precision, and runs wherever the original does. What the "
    "calibration data does not show, the model may forget.",
    family="Pruning",
    scheme="PRUNED",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.REAP,),
    published=(
        "Published by its authors, in the abstract: nearly lossless on code generation and tool calling with half of "
        "the experts gone, on Qwen3-Coder-480B and Kimi-K2. On the page of their code: coding tasks without an agent "
        "lose 1.9 % of accuracy on average, over five models.",
    ),
    requirements=("A mixture-of-experts model.", "Calibration data that shows all that the model must still do."),
    kl_bound=2.0,
    parameters=_REAP,
    modifiers=_reap,
    defaults=defaults_of(_REAP),
    rules=_rules,
    checks=_reap_checks,
    dropped_experts=_dropped,
)
