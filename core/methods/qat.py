"""Quantization-aware fine-tuning: weights are trained to be rounded, towards the original's own predictions."""

from __future__ import annotations

from core.methods import sources
from core.methods.divisibility import default_group, divisibility
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.modifier_modules import TRAINING
from core.methods.modifiers import rounding
from core.methods.parameters import GROUP_SIZE, IGNORE, default_ignore, defaults_of
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import int_weights
from core.methods.targets import unfused_experts
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

QAT_TRAIN_METRIC, QAT_HELD_OUT_METRIC = "qat_kl_training", "qat_kl_held_out"
"""Metrics while it trains: mean KL in nats per token; the event's `layer` is the step, as text."""

MINUTES = Parameter(
    name="minutes",
    title="Minutes of training",
    help="Training ends after so many minutes at the latest, and sooner where held-out text gains nothing any more or "
    "all passes are made. What comes before and after is not counted.",
    kind=Kind.NUMBER,
    default=20.0,
    minimum=0.05,
    maximum=10_080.0,
    unit="minutes",
)

PASSES = Parameter(
    name="passes",
    title="Passes over the text",
    help="How often each sample is trained on, at most. More text is better than more passes: the number of samples "
    "and their length are those of the calibration data.",
    kind=Kind.INTEGER,
    default=8,
    minimum=1,
    maximum=1000,
    unit="passes",
)

LEARNING_RATE = Parameter(
    name="learning_rate",
    title="Learning rate",
    help="How far each step of AdamW moves a weight, at most. Too little changes no rounding, too much breaks what the "
    "model knows; held-out text decides which step is kept.",
    kind=Kind.NUMBER,
    default=1e-4,
    minimum=1e-7,
    maximum=1e-2,
    level=Level.ADVANCED,
)

BATCH_SIZE = Parameter(
    name="batch_size",
    title="Batch size",
    help="How many samples each step looks at. More are steadier and take more memory.",
    kind=Kind.INTEGER,
    default=8,
    minimum=1,
    maximum=256,
    level=Level.ADVANCED,
    unit="samples",
)

_PARAMETERS = (GROUP_SIZE, MINUTES, PASSES, IGNORE, LEARNING_RATE, BATCH_SIZE)

_REQUIREMENTS = (
    "Calibration data, the more the better: it is what the weights are trained on. An eighth is watched meanwhile, and "
    "an eighth judges the result.",
    "Memory for training: about 22 bytes for each weight that is compressed, on the GPU where there is one. Bitpress "
    "says beforehand whether that fits.",
    "Layers whose columns the group size divides, or one scale a row.",
    "Time: with a GPU minutes to hours; without one it is for models of some hundred million parameters.",
)


def _rules(bits: int, parameters: Parameters) -> tuple[Rule, ...]:
    scheme = int_weights(bits, parameters["group_size"], observer="memoryless_minmax")
    return (Rule(targets=LINEAR, scheme=scheme),)


def _rules_w4(parameters: Parameters) -> tuple[Rule, ...]:
    return _rules(4, parameters)


def _modifiers(bits: int, parameters: Parameters) -> tuple[ModifierSpec, ...]:
    arguments: dict[str, Json] = {
        "targets": list(LINEAR),
        "ignore": list(parameters["ignore"]),
        "bits": bits,
        "group_size": parameters["group_size"],
        "minutes": parameters["minutes"],
        "passes": parameters["passes"],
        "learning_rate": parameters["learning_rate"],
        "batch_size": parameters["batch_size"],
    }
    return (
        ModifierSpec(name=TRAINING, arguments=arguments, title="Train for rounding"),
        rounding(_rules(bits, parameters), parameters),
    )


def _modifiers_w4(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return _modifiers(4, parameters)


def _checks_w4(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    if unfused_experts(survey, ()):
        return (
            Finding(
                code="qat-experts",
                severity=Severity.BLOCKS,
                message="Training is for small dense models, and this one has experts, most of which see hardly any "
                "of the text. GPTQ W4A16 rounds every expert with what it sees.",
                fix={"method": "gptq-w4a16"},
            ),
        )
    return divisibility(survey, parameters, _rules_w4(parameters))


def _group(survey: Survey) -> dict[str, Json]:
    return {"group_size": default_group(survey, default_ignore(survey))}


QAT_W4A16 = Method(
    id="qat-w4a16",
    title="QAT W4A16",
    summary="INT4 weights in groups, trained to be rounded",
    explanation="Quantization-aware fine-tuning, for small models: every weight is trained while it is rounded, "
    "towards the original's own predictions on your text. Then it is rounded to 4 bits on the grid that it was trained "
    "for, as engines read it. Where unseen text shows no gain, the model is rounded as it was.",
    family="INT4",
    scheme="W4A16",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.LLM_QAT, sources.STRAIGHT_THROUGH),
    published=(),
    requirements=_REQUIREMENTS,
    parameters=_PARAMETERS,
    modifiers=_modifiers_w4,
    defaults=defaults_of(_PARAMETERS, _group),
    rules=_rules_w4,
    checks=_checks_w4,
    trains_weights=True,
)
