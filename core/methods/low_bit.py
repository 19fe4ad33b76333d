"""INT3 and INT2: weights in fewer bits than models bear well or engines document, as baselines to measure against."""

from __future__ import annotations

from dataclasses import replace

from core.methods import sources
from core.methods.divisibility import default_group, divisibility, undivided
from core.methods.method import Method, ModifierSpec, Parameters, Standing
from core.methods.modifiers import gptq
from core.methods.parameters import (
    ACTORDER,
    GPTQ_PARAMETERS,
    GROUP_SIZE,
    GROUPS,
    IGNORE,
    KV_CACHE,
    OBSERVER,
    SYMMETRIC,
    default_ignore,
    defaults_of,
    weight_observer,
)
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import int_weights
from core.methods.targets import targeted
from core.models.survey import Survey
from core.plan.finding import Finding
from core.value import Json

_ASYMMETRIC = replace(SYMMETRIC, default=False)
"""With so few steps a zero point is worth its bits: GPTQ to 3 bits lost 0.52 nats with it, 1.36 without (135M)."""

_SMALLEST = replace(GROUP_SIZE, default=min(GROUPS))
"""2 bits bear no larger groups: 3.5 nats a token in groups of 32, 7.3 in groups of 64 (135M)."""

_THREE = (GROUP_SIZE, ACTORDER, IGNORE, _ASYMMETRIC, OBSERVER, KV_CACHE, *GPTQ_PARAMETERS[1:])
_TWO = (_SMALLEST, ACTORDER, IGNORE, _ASYMMETRIC, OBSERVER, KV_CACHE, *GPTQ_PARAMETERS[1:])

_REQUIREMENTS = (
    "Calibration data: the built-in chat, or text of your own.",
    "Layers whose columns the group size divides, or one scale a row.",
)


def _three(parameters: Parameters) -> tuple[Rule, ...]:
    return _rules(3, parameters)


def _two(parameters: Parameters) -> tuple[Rule, ...]:
    return _rules(2, parameters)


def _rules(bits: int, parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(
        bits,
        parameters["group_size"],
        symmetric=bool(parameters["symmetric"]),
        observer=weight_observer(parameters),
    )
    return (Rule(targets=LINEAR, scheme=scheme),)


def _three_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (gptq(_three(parameters), parameters),)


def _two_modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (gptq(_two(parameters), parameters),)


def _three_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _three(parameters))


def _two_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _two(parameters))


def _group(survey: Survey) -> dict[str, Json]:
    return {"group_size": default_group(survey, default_ignore(survey))}


def _small_group(survey: Survey) -> dict[str, Json]:
    small = not undivided(targeted(survey, default_ignore(survey)), min(GROUPS))
    return {"group_size": min(GROUPS)} if small else _group(survey)


GPTQ_W3A16 = Method(
    id="gptq-w3a16",
    title="GPTQ W3A16",
    summary="INT3 weights in groups, 16-bit activations",
    explanation="Rounds weights to 3 bits with GPTQ. It loses much more than 4 bits do, above all in small models, and "
    "on which GPUs vLLM runs it is not documented. It is here as a baseline to measure other methods against.",
    family="INT3 and INT2",
    scheme="W3A16",
    weight_bits=3,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.GPTQ,),
    requirements=_REQUIREMENTS,
    kl_bound=2.0,
    parameters=_THREE,
    modifiers=_three_modifiers,
    defaults=defaults_of(_THREE, _group),
    rules=_three,
    checks=_three_checks,
)

GPTQ_W2A16 = Method(
    id="gptq-w2a16",
    title="GPTQ W2A16",
    summary="INT2 weights in groups of 32, 16-bit activations",
    explanation="Rounds weights to 2 bits with GPTQ. What is left of a small model mostly writes nonsense, and on "
    "which GPUs vLLM runs it is not documented. It is here as a baseline to measure other methods against.",
    family="INT3 and INT2",
    scheme="W2A16",
    weight_bits=2,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.GPTQ,),
    requirements=_REQUIREMENTS,
    kl_bound=6.0,
    parameters=_TWO,
    modifiers=_two_modifiers,
    defaults=defaults_of(_TWO, _small_group),
    rules=_two,
    checks=_two_checks,
)
