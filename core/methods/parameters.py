"""Parameters that several methods have, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from core.methods.method import Kind, Level, Parameter, Parameters
from core.methods.scheme import IMPORTANCE
from core.methods.targets import matches
from core.models.survey import Survey
from core.value import Json

IGNORE = Parameter(
    name="ignore",
    title="Layers to leave alone",
    help="These layers keep their full precision. Give full module names, class names, or patterns that begin with "
    "`re:`. The output layer (lm_head) is small and sensitive, and in many models it shares its weights with the "
    "embedding, so it is left alone unless you remove it here.",
    kind=Kind.PATTERNS,
    default=["lm_head"],
)

OBSERVER = Parameter(
    name="observer",
    title="Range search",
    help="How the scale of the weights is found. minmax takes the largest value; mse tries narrower ranges and keeps "
    "the one with the smallest error, which takes longer and can help at 4 bits; imatrix does the same, and counts an "
    "error more where the model's own data is large, for which it needs calibration data.",
    kind=Kind.CHOICE,
    default="minmax",
    choices=("minmax", "mse", "imatrix"),
    level=Level.ADVANCED,
)

RANGE = replace(
    OBSERVER,
    help="How the scale of the weights is found. minmax takes the largest value; mse tries narrower ranges and keeps "
    "the one with the smallest error, which takes longer.",
    choices=("minmax", "mse"),
)
"""For schemes with one scale a tensor or block, where llmcompressor has no importance matrix and would use mse."""

KV_CACHE = Parameter(
    name="kv_cache",
    title="Keys and values",
    help="While it answers, a model keeps keys and values of all the text so far. fp8 lets the engine keep them in 8 "
    "bits, so that twice as much text fits; that needs calibration data, and an engine and GPU that support it. none "
    "leaves them as they are.",
    kind=Kind.CHOICE,
    default="none",
    choices=("none", "fp8"),
    level=Level.ADVANCED,
)

USUAL_GROUP = 128
"""What kernels are tuned for, and what published results use."""

GROUP_SIZE = Parameter(
    name="group_size",
    title="Group size",
    help="How many weights of a row share one scale. Smaller groups lose less and make the file a little larger. A "
    "number has to divide the columns of every layer that is compressed; channel gives each row one scale, suits any "
    "layer, and loses the most.",
    kind=Kind.CHOICE,
    default=USUAL_GROUP,
    choices=(32, 64, 128, "channel"),
    unit="columns",
)

GROUPS = tuple(size for size in GROUP_SIZE.choices if isinstance(size, int))
"""The group sizes that are numbers."""

SYMMETRIC = Parameter(
    name="symmetric",
    title="Symmetric",
    help="Symmetric groups store a scale alone, which every engine runs. Asymmetric ones also store a zero point: a "
    "little larger, sometimes closer to the original.",
    kind=Kind.BOOLEAN,
    default=True,
    level=Level.ADVANCED,
)

ACTORDER = Parameter(
    name="actorder",
    title="Activation ordering",
    help="static compresses the columns that matter most first, which loses less and costs nothing when the model "
    "runs. none takes the columns as they come.",
    kind=Kind.CHOICE,
    default="static",
    choices=("static", "none"),
)

DAMPENING = Parameter(
    name="dampening_frac",
    title="Dampening",
    help="Added to the diagonal of each layer's Hessian, as a share of its mean, so that it can be inverted. Raise it "
    "if the log says that layers fell back to plain rounding.",
    kind=Kind.NUMBER,
    default=0.01,
    minimum=0.0001,
    maximum=1.0,
    level=Level.ADVANCED,
)

BLOCK_SIZE = Parameter(
    name="block_size",
    title="Block size",
    help="How many columns are worked on before the others are corrected. It changes time and memory, hardly the "
    "result.",
    kind=Kind.INTEGER,
    default=128,
    minimum=8,
    maximum=4096,
    level=Level.ADVANCED,
    unit="columns",
)

GPTQ_PARAMETERS = (ACTORDER, DAMPENING, BLOCK_SIZE)

_HEADS = (r"re:.*lm_head$", r"re:.*embed_out$")
_ROUTERS = r"re:.*(mlp|moe|feed_forward)\.(gate|router|shared_expert_gate)$"
_VISION = r"re:.*(vision_tower|vision_model|visual|multi_modal_projector|audio_tower)\."


def default_ignore(survey: Survey | None) -> list[Json]:
    """What every method leaves alone: the output layer, routers of experts, and what does not process text."""
    if survey is None:
        return list(IGNORE.default)
    heads = [module.name for module in survey.linears if any(matches(module, head) for head in _HEADS)]
    others = [pattern for pattern in (_ROUTERS, _VISION) if any(matches(module, pattern) for module in survey.linears)]
    return [*heads, *others]


def defaults_of(
    parameters: Sequence[Parameter], for_model: Callable[[Survey], Mapping[str, Json]] | None = None
) -> Callable[[Survey | None], dict[str, Json]]:
    """`Method.defaults` from declarations; `for_model` gives what depends on the model, the ignored layers apart."""

    def defaults(survey: Survey | None) -> dict[str, Json]:
        found = {parameter.name: deepcopy(parameter.default) for parameter in parameters}
        if IGNORE.name in found:
            found[IGNORE.name] = default_ignore(survey)
        return found if survey is None or for_model is None else {**found, **for_model(survey)}

    return defaults


def weight_observer(parameters: Parameters) -> str:
    """llmcompressor's name of the chosen observer; weights are seen once, so the memoryless kinds."""
    chosen = parameters["observer"]
    return IMPORTANCE if chosen == "imatrix" else f"memoryless_{chosen}"
