"""INT4: four-bit integer weights in groups, with sixteen-bit activations, or eight-bit ones in floating point."""

from __future__ import annotations

from dataclasses import replace

from core.methods import sources
from core.methods.divisibility import default_group, divisibility
from core.methods.mappings import scaling_findings
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.modifiers import autoround, gptq, rounding
from core.methods.parameters import (
    ACTORDER,
    GPTQ_PARAMETERS,
    GROUP_SIZE,
    IGNORE,
    KV_CACHE,
    OBSERVER,
    SYMMETRIC,
    USUAL_GROUP,
    default_ignore,
    defaults_of,
    weight_observer,
)
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import int_weights, w4afp8
from core.methods.smoothing import (
    OWN,
    SCALING_LAYOUT,
    awq_mappings,
    default_scaling,
    scaled_alone_findings,
    scaling_layout_findings,
)
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

DUO_SCALING = Parameter(
    name="duo_scaling",
    title="What scales follow",
    help="both tries scales from activations alone and from activations together with weights, half the steps each; "
    "together and activations try one of the two with all steps.",
    kind=Kind.CHOICE,
    default="together",
    choices=("together", "activations", "both"),
    level=Level.ADVANCED,
)

STEPS = Parameter(
    name="n_grid",
    title="Search steps",
    help="How many scales are tried for each group of layers. Fewer are faster and may find a worse one.",
    kind=Kind.INTEGER,
    default=20,
    minimum=2,
    maximum=200,
    level=Level.ADVANCED,
)

ITERATIONS = Parameter(
    name="iters",
    title="Iterations",
    help="How often each decoder layer's rounding is improved. 200 is what the paper uses; 20 were "
    "already better than plain rounding on a small model, and a handful worse.",
    kind=Kind.INTEGER,
    default=200,
    minimum=1,
    maximum=2000,
)

BATCH_SIZE = Parameter(
    name="batch_size",
    title="Batch size",
    help="How many calibration samples each iteration looks at. More are steadier and take more memory.",
    kind=Kind.INTEGER,
    default=8,
    minimum=1,
    maximum=64,
    level=Level.ADVANCED,
    unit="samples",
)

COMPILE = Parameter(
    name="compile",
    title="Compile first",
    help="Lets torch compile each layer before its iterations. It is faster on a GPU once it has begun, and needs a "
    "C++ compiler; without a GPU leave it off.",
    kind=Kind.BOOLEAN,
    default=False,
    level=Level.ADVANCED,
)

_ROUNDED = (GROUP_SIZE, IGNORE, SYMMETRIC, OBSERVER, KV_CACHE)
_GPTQ = (GROUP_SIZE, ACTORDER, IGNORE, SYMMETRIC, OBSERVER, KV_CACHE, *GPTQ_PARAMETERS[1:])
_AWQ = (GROUP_SIZE, IGNORE, replace(SYMMETRIC, default=False), OBSERVER, KV_CACHE, DUO_SCALING, STEPS, SCALING_LAYOUT)
_LEARNED = (GROUP_SIZE, ITERATIONS, IGNORE, SYMMETRIC, BATCH_SIZE, COMPILE)
_HOPPER = (GROUP_SIZE, IGNORE, OBSERVER, KV_CACHE)
_HOPPER_GPTQ = (GROUP_SIZE, ACTORDER, IGNORE, OBSERVER, KV_CACHE, *GPTQ_PARAMETERS[1:])

_DATA = "Calibration data: the built-in chat, or text of your own."
_DIVIDED = "Layers whose columns the group size divides, or one scale a row."


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(
        4,
        parameters["group_size"],
        symmetric=bool(parameters["symmetric"]),
        observer=weight_observer(parameters),
    )
    return (Rule(targets=LINEAR, scheme=scheme),)


def _learned_rules(parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(4, parameters["group_size"], symmetric=bool(parameters["symmetric"]))
    return (Rule(targets=LINEAR, scheme=scheme),)


def _hopper_rules(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=w4afp8(parameters["group_size"], weight_observer(parameters))),)


def _rounded(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_rules(parameters), parameters),)


def _corrected(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (gptq(_rules(parameters), parameters),)


def _scaled(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    chosen = {"together": True, "activations": False, "both": "both"}[parameters["duo_scaling"]]
    return (
        ModifierSpec(
            name="AWQModifier",
            arguments={"duo_scaling": chosen, "n_grid": parameters["n_grid"], **awq_mappings(parameters)},
            title="Search scales",
        ),
        rounding(_rules(parameters), parameters),
    )


def _learned(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (autoround(_learned_rules(parameters), parameters),)


def _hopper(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (rounding(_hopper_rules(parameters), parameters),)


def _hopper_corrected(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (gptq(_hopper_rules(parameters), parameters),)


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _rules(parameters))


def _scaled_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    found = (*_checks(survey, parameters), *scaled_alone_findings(survey, parameters))
    if parameters[SCALING_LAYOUT.name] != OWN or default_scaling(survey) != OWN:
        return (*found, *scaling_layout_findings(survey, parameters))
    return (*found, *scaling_findings(survey))


def _learned_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return divisibility(survey, parameters, _learned_rules(parameters))


def _hopper_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    found = divisibility(survey, parameters, _hopper_rules(parameters))
    if parameters["group_size"] == USUAL_GROUP:
        return found
    return (
        *found,
        Finding(
            code="group-size-unserved",
            severity=Severity.WARNS,
            message=f"vLLM runs W4AFP8 with groups of {USUAL_GROUP} only and refuses others when it loads the model. "
            "With this group size the artifact can be judged here and not be served.",
        ),
    )


def _group(survey: Survey) -> dict[str, Json]:
    return {"group_size": default_group(survey, default_ignore(survey))}


def _scaled_defaults(survey: Survey) -> dict[str, Json]:
    return {**_group(survey), SCALING_LAYOUT.name: default_scaling(survey)}


RTN_W4A16 = Method(
    id="rtn-w4a16",
    title="W4A16 by rounding",
    summary="INT4 weights in groups, no data",
    explanation="Rounds every weight to the nearest of 16 steps within its group, and leaves activations in 16 bits. "
    "It needs no data and takes seconds, and loses clearly more than GPTQ or AWQ do. Choose it to compare others with, "
    "or where there is no time.",
    family="INT4",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.ZEROQUANT,),
    requirements=(_DIVIDED,),
    parameters=_ROUNDED,
    modifiers=_rounded,
    defaults=defaults_of(_ROUNDED, _group),
    rules=_rules,
    checks=_checks,
)

GPTQ_W4A16 = Method(
    id="gptq-w4a16",
    title="GPTQ W4A16",
    summary="INT4 weights in groups, 16-bit activations",
    explanation="Rounds weights to 4 bits, column by column, and corrects the columns that are left for each error "
    "made, guided by what calibration data does in the layer. Choose it for chat and for models that would not fit "
    "otherwise; it loses more than 8 bits do, so look at the evaluation.",
    family="INT4",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.RECOMMENDED,
    sources=(sources.GPTQ, sources.KURTIC),
    requirements=(_DATA, _DIVIDED),
    parameters=_GPTQ,
    modifiers=_corrected,
    defaults=defaults_of(_GPTQ, _group),
    rules=_rules,
    checks=_checks,
)

AWQ_W4A16 = Method(
    id="awq-w4a16",
    title="AWQ W4A16",
    summary="INT4 weights in groups, scaled before rounding",
    explanation="Finds out with calibration data which columns matter most, and scales them up before they are rounded "
    "to 4 bits, so that they lose less. It is about as close to the original as GPTQ and bends less towards the "
    "calibration data; it takes longer to make.",
    family="INT4",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.RECOMMENDED,
    sources=(sources.AWQ,),
    requirements=(_DATA, _DIVIDED, "A model whose norms and layers AWQ knows; most families are known."),
    parameters=_AWQ,
    modifiers=_scaled,
    defaults=defaults_of(_AWQ, _scaled_defaults),
    rules=_rules,
    checks=_scaled_checks,
)

AUTOROUND_W4A16 = Method(
    id="autoround-w4a16",
    title="AutoRound W4A16",
    summary="INT4 weights in groups, gradient-tuned rounding",
    explanation="Gradient-tuned rounding: it learns for every weight whether to round up or down, by hundreds of small "
    "steps over the calibration data, one decoder layer at a time. Its paper finds it ahead of GPTQ and AWQ, most of "
    "all below 4 bits. It takes by far the longest: minutes a layer without a GPU.",
    family="INT4",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.AUTOROUND,),
    requirements=(_DATA, _DIVIDED, "Time: a GPU makes the difference between minutes and hours."),
    parameters=_LEARNED,
    modifiers=_learned,
    defaults=defaults_of(_LEARNED, _group),
    rules=_learned_rules,
    checks=_learned_checks,
)

_A_BYTE = "On disk it takes a whole byte for each weight, as much as 8-bit methods do."

RTN_W4AFP8 = Method(
    id="rtn-w4afp8",
    title="W4AFP8 by rounding",
    summary="INT4 weights, FP8 activations, no data",
    explanation="Rounds weights to 4 bits in groups, and activations to 8-bit floating point while the model runs, for "
    f"GPUs of Hopper's generation. {_A_BYTE} It needs no data and takes seconds.",
    family="INT4",
    scheme="W4AFP8",
    weight_bits=4,
    activation_bits=8,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.SCHEMES,),
    requirements=("Layers whose columns 128 divides, to be served with vLLM.",),
    parameters=_HOPPER,
    modifiers=_hopper,
    defaults=defaults_of(_HOPPER, _group),
    rules=_hopper_rules,
    checks=_hopper_checks,
)

GPTQ_W4AFP8 = Method(
    id="gptq-w4afp8",
    title="GPTQ W4AFP8",
    summary="INT4 weights, FP8 activations, errors corrected",
    explanation="Rounds weights to 4 bits with GPTQ, and activations to 8-bit floating point while the model runs, for "
    f"GPUs of Hopper's generation. {_A_BYTE} It loses about as much as GPTQ W4A16.",
    family="INT4",
    scheme="W4AFP8",
    weight_bits=4,
    activation_bits=8,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.GPTQ, sources.SCHEMES),
    requirements=(_DATA, "Layers whose columns 128 divides, to be served with vLLM."),
    parameters=_HOPPER_GPTQ,
    modifiers=_hopper_corrected,
    defaults=defaults_of(_HOPPER_GPTQ, _group),
    rules=_hopper_rules,
    checks=_hopper_checks,
)
