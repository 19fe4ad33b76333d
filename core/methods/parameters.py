"""Parameters that several methods have, each declared once."""

from __future__ import annotations

from core.methods.method import Kind, Level, Parameter, Parameters
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
    help="How the scale of each group or row is found. minmax takes the largest value; mse tries narrower ranges and "
    "keeps the one with the smallest squared error, which takes longer and can help at 4 bits.",
    kind=Kind.CHOICE,
    default="minmax",
    choices=("minmax", "mse"),
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
    help="How many columns GPTQ compresses before it corrects the others. It changes time and memory, hardly the "
    "result.",
    kind=Kind.INTEGER,
    default=128,
    minimum=8,
    maximum=4096,
    level=Level.ADVANCED,
    unit="columns",
)

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


def weight_observer(parameters: Parameters) -> str:
    """llmcompressor's name of the chosen observer; weights are seen once, so the memoryless kind."""
    return f"memoryless_{parameters['observer']}"


def gptq_arguments(parameters: Parameters) -> dict[str, Json]:
    """The arguments of GPTQModifier that do not depend on the scheme."""
    return {
        "ignore": list(parameters["ignore"]),
        "actorder": None if parameters["actorder"] == "none" else parameters["actorder"],
        "dampening_frac": parameters["dampening_frac"],
        "block_size": parameters["block_size"],
    }
