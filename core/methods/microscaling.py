"""MXFP4 and MXFP8: floating point in groups of thirty-two whose scales are powers of two (OCP Microscaling)."""

from __future__ import annotations

from collections.abc import Callable

from core.methods import sources
from core.methods.divisibility import divisibility
from core.methods.method import Method, ModifierSpec, Parameters, Standing
from core.methods.modifiers import rounding
from core.methods.parameters import IGNORE, KV_CACHE, OBSERVER, defaults_of, weight_observer
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import mxfp
from core.models.survey import Survey
from core.plan.finding import Finding

_PARAMETERS = (IGNORE, OBSERVER, KV_CACHE)
_REQUIREMENTS = ("Layers whose columns are multiples of 32, which nearly all are.",)


def _rules(bits: int, *, activations: bool) -> Callable[[Parameters], tuple[Rule, ...]]:
    def rules(parameters: Parameters) -> tuple[Rule, ...]:
        scheme = mxfp(bits, activations=activations, observer=weight_observer(parameters))
        return (Rule(targets=LINEAR, scheme=scheme),)

    return rules


_FP4, _FP4_WEIGHTS = _rules(4, activations=True), _rules(4, activations=False)
_FP8, _FP8_WEIGHTS = _rules(8, activations=True), _rules(8, activations=False)


def _modifiers(
    rules: Callable[[Parameters], tuple[Rule, ...]],
) -> Callable[[Parameters], tuple[ModifierSpec, ...]]:
    return lambda parameters: (rounding(rules(parameters), parameters),)


def _checks(
    rules: Callable[[Parameters], tuple[Rule, ...]],
) -> Callable[[Survey, Parameters], tuple[Finding, ...]]:
    return lambda survey, parameters: divisibility(survey, parameters, rules(parameters))


MXFP4 = Method(
    id="mxfp4",
    title="MXFP4",
    summary="FP4 weights and activations, scales of powers of two",
    explanation="Rounds weights and activations to 4-bit floating point in groups of 32, with scales that are powers "
    "of two. Only GPUs made for it compute in it. On a small model it lost more than twice as much "
    "as NVFP4, and the thread of what it said.",
    family="MX",
    scheme="MXFP4",
    weight_bits=4,
    activation_bits=4,
    needs_calibration=False,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.MICROSCALING, sources.MICROSCALING_FP4),
    requirements=_REQUIREMENTS,
    kl_bound=2.5,
    parameters=_PARAMETERS,
    modifiers=_modifiers(_FP4),
    defaults=defaults_of(_PARAMETERS),
    rules=_FP4,
    checks=_checks(_FP4),
)

MXFP4A16 = Method(
    id="mxfp4a16",
    title="MXFP4A16",
    summary="FP4 weights, scales of powers of two, 16-bit activations",
    explanation="Rounds weights alone to 4-bit floating point in groups of 32, with scales that are powers of two; "
    "activations stay in 16 bits. It needs no data and takes seconds, and loses about as much as plain rounding to "
    "INT4.",
    family="MX",
    scheme="MXFP4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.MICROSCALING, sources.MICROSCALING_FP4),
    requirements=_REQUIREMENTS,
    parameters=_PARAMETERS,
    modifiers=_modifiers(_FP4_WEIGHTS),
    defaults=defaults_of(_PARAMETERS),
    rules=_FP4_WEIGHTS,
    checks=_checks(_FP4_WEIGHTS),
)

MXFP8 = Method(
    id="mxfp8",
    title="MXFP8",
    summary="FP8 weights and activations, scales of powers of two",
    explanation="Rounds weights and activations to 8-bit floating point in groups of 32, with scales that are powers "
    "of two. Only GPUs of NVIDIA's Blackwell generation and newer compute in it; for others FP8 dynamic is the one "
    "that runs, at about the same size.",
    family="MX",
    scheme="MXFP8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.MICROSCALING,),
    requirements=_REQUIREMENTS,
    kl_bound=0.15,
    parameters=_PARAMETERS,
    modifiers=_modifiers(_FP8),
    defaults=defaults_of(_PARAMETERS),
    rules=_FP8,
    checks=_checks(_FP8),
)

MXFP8A16 = Method(
    id="mxfp8a16",
    title="MXFP8A16",
    summary="FP8 weights, scales of powers of two, 16-bit activations",
    explanation="Rounds weights alone to 8-bit floating point in groups of 32, with scales that are powers of two; "
    "activations stay in 16 bits. It needs no data and takes seconds. Choose it to save memory where the engine takes "
    "MXFP8 and the GPU does not compute in it.",
    family="MX",
    scheme="MXFP8A16",
    weight_bits=8,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.MICROSCALING,),
    requirements=_REQUIREMENTS,
    kl_bound=0.15,
    parameters=_PARAMETERS,
    modifiers=_modifiers(_FP8_WEIGHTS),
    defaults=defaults_of(_PARAMETERS),
    rules=_FP8_WEIGHTS,
    checks=_checks(_FP8_WEIGHTS),
)
