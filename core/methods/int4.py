"""INT4: four-bit integer weights in groups, activations in 16 bits."""

from __future__ import annotations

import re

from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Source, Standing
from core.methods.parameters import (
    ACTORDER,
    BLOCK_SIZE,
    DAMPENING,
    IGNORE,
    OBSERVER,
    default_ignore,
    gptq_arguments,
    weight_observer,
)
from core.methods.scheme import LINEAR, Rule, config_groups
from core.methods.schemes import int_weights
from core.methods.targets import short_names, targeted
from core.models.survey import Survey, SurveyedModule
from core.plan.finding import Finding, Severity
from core.value import Json

USUAL_GROUP = 128
"""What kernels are tuned for, and what published results use."""

GROUP_SIZE = Parameter(
    name="group_size",
    title="Group size",
    help="How many weights of a row share one scale. Smaller groups lose less and make the file a little larger. It "
    "has to divide the columns of every layer that is compressed.",
    kind=Kind.CHOICE,
    default=USUAL_GROUP,
    choices=(32, 64, 128),
    unit="columns",
)

SYMMETRIC = Parameter(
    name="symmetric",
    title="Symmetric",
    help="Symmetric groups store a scale alone, which every engine runs. Asymmetric ones also store a zero point: a "
    "little larger, sometimes closer to the original.",
    kind=Kind.BOOLEAN,
    default=True,
    level=Level.ADVANCED,
)


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(
        4,
        int(parameters["group_size"]),
        symmetric=bool(parameters["symmetric"]),
        observer=weight_observer(parameters),
    )
    return (Rule(targets=LINEAR, scheme=scheme),)


def _modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="GPTQModifier",
            arguments={"config_groups": config_groups(_rules(parameters)), **gptq_arguments(parameters)},
            title="Calibrate and compress",
        ),
    )


def _defaults(survey: Survey | None) -> dict[str, Json]:
    ignore = default_ignore(survey)
    return {
        "group_size": USUAL_GROUP if survey is None else largest_group(targeted(survey, ignore)),
        "actorder": ACTORDER.default,
        "ignore": ignore,
        "symmetric": SYMMETRIC.default,
        "observer": OBSERVER.default,
        "dampening_frac": DAMPENING.default,
        "block_size": BLOCK_SIZE.default,
    }


def largest_group(modules: tuple[SurveyedModule, ...]) -> int:
    """The largest offered group size that divides the columns of all modules, or else of the most modules."""
    return int(min(GROUP_SIZE.choices, key=lambda size: (len(undivided(modules, size)), -size)))


def undivided(modules: tuple[SurveyedModule, ...], size: int) -> tuple[SurveyedModule, ...]:
    """The modules whose columns the group size does not divide: llmcompressor refuses them when the job starts."""
    return tuple(module for module in modules if module.shape[-1] % size)


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    modules = targeted(survey, parameters["ignore"])
    size = int(parameters["group_size"])
    bad = undivided(modules, size)
    if bad:
        return (_refused(modules, bad, size, tuple(parameters["ignore"])),)
    if size != USUAL_GROUP and (unusual := undivided(modules, USUAL_GROUP)):
        return (
            Finding(
                code="group-size-chosen",
                severity=Severity.NOTES,
                message=f"Group size {size} is used instead of the usual {USUAL_GROUP}, because {USUAL_GROUP} does "
                f"not divide {_where(unusual, modules)}.",
            ),
        )
    return ()


def _refused(
    modules: tuple[SurveyedModule, ...], bad: tuple[SurveyedModule, ...], size: int, ignore: tuple[str, ...]
) -> Finding:
    best = largest_group(modules)
    rest = undivided(modules, best)
    why = f"Group size {size} does not divide {_where(bad, modules)}, so llmcompressor would refuse the job."
    if not rest:
        return Finding(
            code="group-size",
            severity=Severity.BLOCKS,
            message=f"{why} Use {best}, which divides them all.",
            fix={"group_size": best},
        )
    left = [f"re:.*{re.escape(name)}$" for name in dict.fromkeys(module.name.rpartition(".")[2] for module in rest)]
    if len(rest) == len(modules):
        what = "No group size on offer divides any of them: choose an 8-bit method."
    else:
        what = f"No group size on offer divides them all: leave {short_names(rest)} alone, or choose an 8-bit method."
    return Finding(
        code="group-size",
        severity=Severity.BLOCKS,
        message=f"{why} {what}",
        fix={"group_size": best, "ignore": [*ignore, *left]} if len(rest) < len(modules) else None,
    )


def _where(bad: tuple[SurveyedModule, ...], modules: tuple[SurveyedModule, ...]) -> str:
    columns = " or ".join(f"{n:,}" for n in sorted({module.shape[-1] for module in bad})[:4])
    return f"{columns} columns in {len(bad):,} of {len(modules):,} layers ({short_names(bad)})"


GPTQ_W4A16 = Method(
    id="gptq-w4a16",
    title="GPTQ W4A16",
    summary="INT4 weights in groups, 16-bit activations",
    explanation="Rounds weights to 4 bits, column by column, and corrects the columns that are left for each error "
    "made, guided by what calibration data does in the layer. The smallest artifact here. Choose it for chat and for "
    "models that would not fit otherwise; it loses more than 8 bits do, so look at the evaluation.",
    family="INT4",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.RECOMMENDED,
    sources=(
        Source(
            "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, Frantar et al. 2023",
            "https://arxiv.org/abs/2210.17323",
        ),
    ),
    runs_in=(
        "vLLM on NVIDIA GPUs from compute capability 7.5 on, with 4-bit weight kernels.",
        "vLLM on processors (its CPU build).",
        "transformers anywhere, where the weights are decompressed first: for checking quality, not for speed.",
    ),
    minimum_capability=(7, 5),
    parameters=(GROUP_SIZE, ACTORDER, IGNORE, SYMMETRIC, OBSERVER, DAMPENING, BLOCK_SIZE),
    modifiers=_modifiers,
    defaults=_defaults,
    rules=_rules,
    checks=_checks,
)
