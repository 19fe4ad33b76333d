"""INT8: eight-bit integer weights, with eight-bit or sixteen-bit activations."""

from __future__ import annotations

from core.methods import sources
from core.methods.divisibility import default_group, divisibility
from core.methods.mappings import smoothing_findings
from core.methods.method import Kind, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.modifiers import gptq, rounding, smoothing
from core.methods.parameters import (
    ACTORDER,
    GPTQ_PARAMETERS,
    GROUP_SIZE,
    IGNORE,
    KV_CACHE,
    OBSERVER,
    default_ignore,
    defaults_of,
    weight_observer,
)
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import int8, int_weights
from core.methods.smoothing import LAYOUT, OWN, default_layout, layout_findings
from core.models.survey import Survey
from core.plan.finding import Finding
from core.value import Json

SMOOTHING = Parameter(
    name="smoothing_strength",
    title="Smoothing strength",
    help="How much of the outliers in activations is moved into the weights: 0 moves nothing, 1 everything. 0.8 suits "
    "most chat models.",
    kind=Kind.NUMBER,
    default=0.8,
    minimum=0.0,
    maximum=1.0,
)

_ROUNDED = (IGNORE, OBSERVER, KV_CACHE)
_GPTQ = (ACTORDER, IGNORE, OBSERVER, KV_CACHE, *GPTQ_PARAMETERS[1:])
_SMOOTHED = (SMOOTHING, *_ROUNDED, LAYOUT)
_BOTH = (SMOOTHING, *_GPTQ, LAYOUT)
_WEIGHTS = (GROUP_SIZE, *_ROUNDED)

_DATA = "Calibration data: the built-in chat, or text of your own."
_MAPPED = "A model whose norms and layers SmoothQuant knows; most families are known."


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=int8(weight_observer(parameters))),)


def _rounded(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_rules(parameters), parameters),)


def _corrected(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (gptq(_rules(parameters), parameters),)


def _smoothed(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (smoothing(parameters), rounding(_rules(parameters), parameters))


def _smoothed_and_corrected(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (smoothing(parameters), gptq(_rules(parameters), parameters))


def _mapped(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    if parameters[LAYOUT.name] != OWN or default_layout(survey) != OWN:
        return layout_findings(survey, parameters)
    return smoothing_findings(survey)


def _layout(survey: Survey) -> dict[str, Json]:
    return {LAYOUT.name: default_layout(survey)}


def _weight_rules(parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(8, parameters["group_size"], observer=weight_observer(parameters))
    return (Rule(targets=LINEAR, scheme=scheme),)


def _weights(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_weight_rules(parameters), parameters),)


def _weight_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _weight_rules(parameters))


def _group(survey: Survey) -> dict[str, Json]:
    return {"group_size": default_group(survey, default_ignore(survey))}


RTN_W8A8 = Method(
    id="rtn-w8a8",
    title="W8A8 by rounding",
    summary="INT8 weights and activations, no data",
    explanation="Rounds every weight to an 8-bit integer with one scale per row; activations are rounded while the "
    "model runs. It needs no data and takes seconds. Choose it to try INT8 out; GPTQ with SmoothQuant stays closer to "
    "the original.",
    family="INT8",
    scheme="W8A8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.INTEGERS,),
    kl_bound=0.15,
    parameters=_ROUNDED,
    modifiers=_rounded,
    defaults=defaults_of(_ROUNDED),
    rules=_rules,
)

GPTQ_W8A8 = Method(
    id="gptq-w8a8",
    title="GPTQ W8A8",
    summary="INT8 weights and activations, errors corrected",
    explanation="Rounds weights to 8-bit integers, column by column, and corrects the columns that are left for each "
    "error made; activations are rounded while the model runs. Choose it where SmoothQuant does not know the model, or "
    "does not help.",
    family="INT8",
    scheme="W8A8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.GPTQ, sources.KURTIC),
    requirements=(_DATA,),
    kl_bound=0.15,
    parameters=_GPTQ,
    modifiers=_corrected,
    defaults=defaults_of(_GPTQ),
    rules=_rules,
)

SMOOTHQUANT_W8A8 = Method(
    id="smoothquant-w8a8",
    title="SmoothQuant W8A8",
    summary="INT8 weights and activations, outliers smoothed",
    explanation="Moves the outliers of activations into the weights, where they do less harm, then rounds both to "
    "8-bit integers. It is quicker to make than together with GPTQ, and loses a little more.",
    family="INT8",
    scheme="W8A8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.SMOOTHQUANT,),
    requirements=(_DATA, _MAPPED),
    kl_bound=0.15,
    parameters=_SMOOTHED,
    modifiers=_smoothed,
    defaults=defaults_of(_SMOOTHED, _layout),
    rules=_rules,
    checks=_mapped,
)

SMOOTHQUANT_GPTQ_W8A8 = Method(
    id="smoothquant-gptq-w8a8",
    title="SmoothQuant + GPTQ W8A8",
    summary="INT8 weights and activations",
    explanation="Moves the outliers of activations into the weights, then rounds both to 8-bit integers, the weights "
    "with GPTQ. Close to the original and fast at full load on GPUs without FP8 (RTX 20 and 30, A100) and on "
    "processors. Of the INT8 methods it takes the longest to make.",
    family="INT8",
    scheme="W8A8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=True,
    standing=Standing.RECOMMENDED,
    sources=(sources.SMOOTHQUANT, sources.GPTQ),
    requirements=(_DATA, _MAPPED),
    kl_bound=0.15,
    parameters=_BOTH,
    modifiers=_smoothed_and_corrected,
    defaults=defaults_of(_BOTH, _layout),
    rules=_rules,
    checks=_mapped,
)

RTN_W8A16 = Method(
    id="rtn-w8a16",
    title="W8A16 by rounding",
    summary="INT8 weights in groups, 16-bit activations",
    explanation="Rounds weights to 8-bit integers in small groups and leaves activations as they are, which loses "
    "next to nothing. It needs no data and takes seconds. It saves memory and the time to read it; arithmetic stays in "
    "16 bits, so at full load it gains little.",
    family="INT8",
    scheme="W8A16",
    weight_bits=8,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.RECOMMENDED,
    sources=(sources.ZEROQUANT,),
    requirements=("Layers whose columns the group size divides, or one scale a row.",),
    kl_bound=0.15,
    parameters=_WEIGHTS,
    modifiers=_weights,
    defaults=defaults_of(_WEIGHTS, _group),
    rules=_weight_rules,
    checks=_weight_checks,
)
