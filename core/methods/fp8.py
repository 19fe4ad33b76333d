"""FP8: eight-bit floating point weights and activations."""

from __future__ import annotations

from core.methods import sources
from core.methods.divisibility import divisibility
from core.methods.method import Method, ModifierSpec, Parameters, Standing
from core.methods.modifiers import rounding
from core.methods.parameters import IGNORE, KV_CACHE, OBSERVER, RANGE, defaults_of, weight_observer
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import fp8_block, fp8_dynamic, fp8_static
from core.models.survey import Survey
from core.plan.finding import Finding


def _dynamic(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=fp8_dynamic(weight_observer(parameters))),)


def _static(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=fp8_static(weight_observer(parameters))),)


def _block(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=fp8_block(weight_observer(parameters))),)


def _dynamic_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_dynamic(parameters), parameters),)


def _static_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_static(parameters), parameters, "Calibrate and compress"),)


def _block_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_block(parameters), parameters),)


def _block_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _block(parameters))


_PARAMETERS = (IGNORE, OBSERVER, KV_CACHE)
_COARSE = (IGNORE, RANGE, KV_CACHE)

FP8_DYNAMIC = Method(
    id="fp8-dynamic",
    title="FP8 dynamic",
    summary="FP8 weights and activations",
    explanation="Rounds every weight to 8-bit floating point with one scale per row; activations are rounded while "
    "the model runs. It needs no data, takes seconds and loses very little. Choose it for GPUs from compute "
    "capability 8.9 on (RTX 40, L40, H100 and newer), above all at full load.",
    family="FP8",
    scheme="FP8_DYNAMIC",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=False,
    standing=Standing.RECOMMENDED,
    sources=(sources.FP8_FORMATS, sources.KURTIC),
    kl_bound=0.15,
    parameters=_PARAMETERS,
    modifiers=_dynamic_modifiers,
    defaults=defaults_of(_PARAMETERS),
    rules=_dynamic,
    from_file_to_file=True,
)

FP8_STATIC = Method(
    id="fp8-static",
    title="FP8 static",
    summary="FP8 weights and activations, scales fixed beforehand",
    explanation="One scale for each whole weight, and one for its activations, fixed beforehand with calibration data. "
    "The engine has a little less to do for each token than with FP8 dynamic, and text unlike the calibration data "
    "can lose more. Choose FP8 dynamic unless you have measured that this one is faster for you.",
    family="FP8",
    scheme="FP8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.FP8_FORMATS,),
    requirements=("Calibration data like the text that the model will see.",),
    kl_bound=0.15,
    parameters=_COARSE,
    modifiers=_static_modifiers,
    defaults=defaults_of(_COARSE),
    rules=_static,
)

FP8_BLOCK = Method(
    id="fp8-block",
    title="FP8 block",
    summary="FP8 weights in blocks of 128 by 128",
    explanation="One scale for each square of 128 by 128 weights, as DeepSeek-V3 is published; activations are rounded "
    "in groups of 128 while the model runs. It needs no data. Choose it for engines and GPUs that are tuned for "
    "this layout, else FP8 dynamic.",
    family="FP8",
    scheme="FP8_BLOCK",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.DEEPSEEK,),
    requirements=("Layers whose columns are multiples of 128; others must be left alone.",),
    kl_bound=0.15,
    parameters=_COARSE,
    modifiers=_block_modifiers,
    defaults=defaults_of(_COARSE),
    rules=_block,
    from_file_to_file=True,
    checks=_block_checks,
)
