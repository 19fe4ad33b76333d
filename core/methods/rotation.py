"""SpinQuant: the model turned into a basis in which outliers spread out, then rounded to four bits."""

from __future__ import annotations

from core.methods import sources
from core.methods.divisibility import default_group, divisibility
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.mixed import ALGORITHM
from core.methods.modifiers import gptq, rounding
from core.methods.parameters import (
    GROUP_SIZE,
    IGNORE,
    OBSERVER,
    SYMMETRIC,
    default_ignore,
    defaults_of,
    weight_observer,
)
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import int_weights
from core.methods.targets import matches
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

ROTATIONS = Parameter(
    name="rotations",
    title="Rotations",
    help="R1 turns what flows from layer to layer, R2 the values inside attention; R1 and R2 does both. They are built "
    "into the weights, so that nothing is added when the model runs.",
    kind=Kind.CHOICE,
    default="R1 and R2",
    choices=("R1 and R2", "R1", "R2"),
    level=Level.ADVANCED,
)

BLOCK = Parameter(
    name="rotation_block",
    title="Rotate in blocks",
    help="whole turns the model's full width at once. A number turns blocks of that many columns each, for widths that "
    "no Hadamard matrix is known for.",
    kind=Kind.CHOICE,
    default="whole",
    choices=("whole", 32, 64, 128, 256, 512),
    level=Level.ADVANCED,
    unit="columns",
)

_PARAMETERS = (GROUP_SIZE, ALGORITHM, IGNORE, SYMMETRIC, OBSERVER, ROTATIONS, BLOCK)

_NEEDED = (
    "re:.*embed_tokens$",
    "re:.*q_proj$",
    "re:.*k_proj$",
    "re:.*v_proj$",
    "re:.*o_proj$",
    "re:.*gate_proj$",
    "re:.*up_proj$",
    "re:.*down_proj$",
    "re:.*input_layernorm$",
    "re:.*post_attention_layernorm$",
    "model.norm",
    "lm_head",
)
"""The names that llmcompressor's SpinQuant works by, whatever the architecture."""

_BEYOND = ("re:.*feedforward_layernorm$", r"re:.*mlp\.(gate|router)$", r"re:.*experts")
"""What it would leave unturned, and so break: more norms in a layer, routers, experts."""

_NORMS = ("re:.*input_layernorm$", "re:.*post_attention_layernorm$", "model.norm")
"""They must be of the kind that a rotation passes through (RMSNorm): LayerNorm also takes the mean away, and breaks."""

_LARGEST_KNOWN = 256
"""compressed-tensors holds Hadamard matrices of all multiples of 4 up to this, and doubles them."""


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(
        4,
        parameters["group_size"],
        symmetric=bool(parameters["symmetric"]),
        observer=weight_observer(parameters),
    )
    return (Rule(targets=LINEAR, scheme=scheme),)


def _modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    block = parameters["rotation_block"]
    turn = ModifierSpec(
        name="SpinQuantModifier",
        arguments={
            "rotations": str(parameters["rotations"]).split(" and "),
            # A random matrix is not orthogonal here, and plain hadamard takes powers of two alone.
            "transform_type": "random-hadamard",
            "transform_block_size": None if block == "whole" else block,
        },
        title="Rotate",
    )
    make = gptq if parameters["algorithm"] == "gptq" else rounding
    return (turn, make(_rules(parameters), parameters))


def has_hadamard(size: int) -> bool:
    """Whether compressed-tensors can make a random Hadamard matrix of this size."""
    odd = size
    while odd and odd % 2 == 0:
        odd //= 2
    return size > 0 and (odd == 1 or (size % 4 == 0 and odd * 4 <= _LARGEST_KNOWN))


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return (
        *_architecture(survey),
        *_width(survey, parameters["rotation_block"]),
        *divisibility(survey, parameters, _rules(parameters)),
    )


def _architecture(survey: Survey) -> tuple[Finding, ...]:
    missing = [name for name in _NEEDED if not any(matches(module, name) for module in survey.modules)]
    beyond = [module.name for module in survey.modules if any(matches(module, name) for name in _BEYOND)]
    norms = [module for module in survey.modules if any(matches(module, name) for name in _NORMS)]
    other = [module.name for module in norms if not module.kind.endswith("RMSNorm")]
    if missing or beyond or other or survey.architecture.startswith("Gemma"):
        return (
            Finding(
                code="rotation-architecture",
                severity=Severity.BLOCKS,
                message=f"SpinQuant can turn models that are built as Llama is, and {survey.architecture or 'this'} is "
                "built otherwise: it would come out broken. Choose GPTQ W4A16 instead.",
                fix={"method": "gptq-w4a16"},
            ),
        )
    return ()


def _width(survey: Survey, block: Json) -> tuple[Finding, ...]:
    width = next((module.shape[1] for module in survey.modules if module.kind == "Embedding"), 0)
    if not width:
        return ()
    fitting = [size for size in BLOCK.choices if isinstance(size, int) and width % size == 0]
    if block != "whole" and width % int(block):
        return (
            Finding(
                code="rotation-size",
                severity=Severity.BLOCKS,
                message=f"Blocks of {block} columns do not divide the model's width of {width:,}.",
                fix={"rotation_block": "whole" if has_hadamard(width) else max(fitting)}
                if has_hadamard(width) or fitting
                else {"method": "gptq-w4a16"},
            ),
        )
    if block == "whole" and not has_hadamard(width):
        return (
            Finding(
                code="rotation-size",
                severity=Severity.BLOCKS,
                message=f"No Hadamard matrix is known for the model's width of {width:,}. "
                + (f"Rotate in blocks of {max(fitting)}." if fitting else "Choose GPTQ W4A16 instead."),
                fix={"rotation_block": max(fitting)} if fitting else {"method": "gptq-w4a16"},
            ),
        )
    return ()


def _group(survey: Survey) -> dict[str, Json]:
    return {"group_size": default_group(survey, default_ignore(survey))}


SPINQUANT_W4A16 = Method(
    id="spinquant-w4a16",
    title="SpinQuant W4A16",
    summary="INT4 weights after rotating the model",
    explanation="Multiplies the model's weights with random rotations that cancel each other out, so that outliers "
    "spread over all columns, then rounds to 4 bits. The rotations are random here, not learned as in the paper; on a "
    "small model it lost more than plain rounding. The output layer is stored apart from the embedding, which makes "
    "the file larger where they were one.",
    family="Rotation",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.SPINQUANT,),
    requirements=(
        "A model built as Llama is.",
        "A width that a Hadamard matrix is known for, or blocks that divide it.",
        "Calibration data for GPTQ; none to round to the nearest value.",
    ),
    kl_bound=1.8,
    parameters=_PARAMETERS,
    modifiers=_modifiers,
    defaults=defaults_of(_PARAMETERS, _group),
    rules=_rules,
    checks=_checks,
    turns_weights=True,
    unties_head=True,
)
