"""NVFP4: four-bit floating point in groups of sixteen, the format of NVIDIA's Blackwell generation."""

from __future__ import annotations

from core.methods import sources
from core.methods.divisibility import divisibility
from core.methods.method import Method, ModifierSpec, Parameters, Standing
from core.methods.modifiers import rounding
from core.methods.parameters import IGNORE, KV_CACHE, OBSERVER, defaults_of, weight_observer
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import nvfp4
from core.models.survey import Survey
from core.plan.finding import Finding

_PARAMETERS = (IGNORE, OBSERVER, KV_CACHE)
_DIVIDED = "Layers whose columns are multiples of 16, which nearly all are."


def _both(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=nvfp4(activations=True, observer=weight_observer(parameters))),)


def _weights(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=nvfp4(activations=False, observer=weight_observer(parameters))),)


def _both_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_both(parameters), parameters, "Calibrate and compress"),)


def _weights_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_weights(parameters), parameters),)


def _both_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _both(parameters))


def _weights_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _weights(parameters))


NVFP4 = Method(
    id="nvfp4",
    title="NVFP4",
    summary="FP4 weights and activations",
    explanation="Rounds weights and activations to 4-bit floating point in groups of 16, each with a scale of its own. "
    "Only GPUs of NVIDIA's Blackwell generation compute in it; older ones save the memory alone. Rounding activations "
    "to 4 bits costs quality, so look at the evaluation.",
    family="FP4",
    scheme="NVFP4",
    weight_bits=4,
    activation_bits=4,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.NVFP4, sources.MICROSCALING_FP4),
    requirements=("Calibration data: the built-in chat, or text of your own.", _DIVIDED),
    parameters=_PARAMETERS,
    modifiers=_both_modifiers,
    defaults=defaults_of(_PARAMETERS),
    rules=_both,
    checks=_both_checks,
)

NVFP4A16 = Method(
    id="nvfp4a16",
    title="NVFP4A16",
    summary="FP4 weights, 16-bit activations",
    explanation="Rounds weights alone to 4-bit floating point in groups of 16, and leaves activations in 16 bits. It "
    "needs no data, takes seconds, and loses less than plain rounding to INT4. Choose it to save memory; for speed at "
    "full load NVFP4 rounds activations too.",
    family="FP4",
    scheme="NVFP4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.NVFP4, sources.MICROSCALING_FP4),
    requirements=(_DIVIDED,),
    parameters=_PARAMETERS,
    modifiers=_weights_modifiers,
    defaults=defaults_of(_PARAMETERS),
    rules=_weights,
    checks=_weights_checks,
)
