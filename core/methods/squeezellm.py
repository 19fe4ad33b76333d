"""SqueezeLLM: each row of weights gets a table of its own values, placed by how sensitive its weights are.

With `compensation` off it is the paper's method. On, which is the default, indices and tables are fitted to the layers'
outputs afterwards; that is ours. At 3 bits, in mean nats from the original, on 8,147 held-out tokens with the starter
model and on 2,034 with a Llama of 3.7 million parameters trained from nothing:

                            starter   from nothing
    GPTQ in groups of 64     0.723       0.0013
    tables, as in the paper  0.723       0.0067
    tables, fitted           0.486       0.0013
    0.45 % kept, paper       0.492       0.0054
    0.45 % kept, fitted      0.367       0.0011

The fit's gain is -0.237 (-0.262 to -0.215) and -0.0054 (-0.0060 to -0.0049) with tables alone, paired over documents;
on the starter, fitted tables lie 0.238 (0.218 to 0.258) below GPTQ at 0.967 times its size, and on the other model they
lie where GPTQ is, at 1.040 times. `make bench BENCH=codebook` makes the table.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from core.methods import sources
from core.methods.codebook_checks import codebook_findings
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.parameters import IGNORE, defaults_of
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import table
from core.methods.squeezellm_published import published
from core.models.survey import Survey
from core.plan.finding import Finding, Severity

SENSITIVITY = Parameter(
    name="sensitivity",
    title="What counts as sensitive",
    help="fisher takes the gradient of the loss on calibration data, which says how much each weight matters; it needs "
    "the most memory. activation takes how strongly data drives each column, with no gradient: activation-weighted, "
    "about 0.3 perplexity worse in the paper's D.4. none counts all weights alike, for comparison.",
    kind=Kind.CHOICE,
    default="fisher",
    choices=("fisher", "activation", "none"),
)

SENSITIVE = Parameter(
    name="sensitive_share",
    title="Most sensitive, kept exactly",
    help="This share of each matrix, the weights that matter most, is stored as it is beside the table. Each takes 48 "
    "bits. Without gradients nothing says which they are, and this share goes to outliers.",
    kind=Kind.NUMBER,
    default=0.0005,
    minimum=0.0,
    maximum=0.05,
)

OUTLIERS = Parameter(
    name="outlier_share",
    title="Outliers, kept exactly",
    help="This share of each matrix, its largest weights, is stored as it is, so that the table need not reach so far. "
    "With both shares at 0 there is a table alone.",
    kind=Kind.NUMBER,
    default=0.004,
    minimum=0.0,
    maximum=0.05,
)

COMPENSATION = Parameter(
    name="compensation",
    title="Fit to outputs",
    help="Ours, not the paper's. After the tables are placed, indices and tables are chosen together for what each "
    "layer gives on calibration data: an error in one column makes good for one in another, as in GPTQ. Same size, "
    "closer, and it takes longer. Off is the paper's method: each weight takes the nearest value.",
    kind=Kind.BOOLEAN,
    default=True,
)

ITERATIONS = Parameter(
    name="iterations",
    title="Iterations",
    help="How often the values of a table are moved to the middle of their weights, at most. Most rows are done after "
    "twenty.",
    kind=Kind.INTEGER,
    default=50,
    minimum=1,
    maximum=1000,
    level=Level.ADVANCED,
)

_PARAMETERS = (SENSITIVITY, COMPENSATION, SENSITIVE, OUTLIERS, IGNORE, ITERATIONS)

_REQUIREMENTS = (
    "Calibration data: the built-in chat, or text of your own; none where all weights count alike and nothing is "
    "fitted to outputs.",
    "Memory for gradients: the weights, one copy of them in 32 bits, and a fifth more. Where that does not fit, choose "
    "activations as the measure.",
    "Time: some minutes for each billion weights on a processor, after the gradients; with outputs fitted, several "
    "times GPTQ's.",
    "It runs in this app, and in transformers with the small loader that lies beside the weights; not in vLLM.",
)


def kept_share(parameters: Parameters) -> float:
    """Share of the weights that are stored as they are."""
    return float(parameters["sensitive_share"]) + float(parameters["outlier_share"])


def _rules(bits: int, parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=table(bits, kept_share(parameters))),)


def _modifiers(bits: int, parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="SqueezeLLMModifier",
            arguments={
                "targets": list(LINEAR),
                "ignore": list(parameters["ignore"]),
                "bits": bits,
                "sensitivity": parameters["sensitivity"],
                "sensitive": parameters["sensitive_share"],
                "outliers": parameters["outlier_share"],
                "iterations": parameters["iterations"],
                # Recipes from before there was the choice stay what they were.
                "compensation": bool(parameters.get("compensation", False)),
            },
            title="Place values and assign weights",
        ),
    )


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    found = list(codebook_findings(survey, parameters))
    if parameters["sensitivity"] == "activation":
        found.append(
            Finding(
                code="activation-weighted",
                severity=Severity.NOTES,
                message="Activation-weighted: values are placed by how strongly data drives each column instead of by "
                "gradients, about 0.3 perplexity worse in the paper's D.4.",
            )
        )
    elif parameters["sensitivity"] == "none":
        found.append(
            Finding(
                code="unweighted-tables",
                severity=Severity.WARNS,
                message="All weights count alike. That is for comparison: in the paper's ablation (LLaMA-7B, 3 bits, "
                "C4) perplexity was 18.08 so, and 7.75 with sensitivities.",
                fix={"sensitivity": "fisher"},
            )
        )
    return tuple(found)


SQUEEZELLM_W4 = Method(
    id="squeezellm-w4",
    title="SqueezeLLM W4",
    summary="16 values of its own for each row, outliers kept",
    explanation="Gives each row of weights 16 values of its own, placed where the weights are that the model's output "
    "depends on most, and keeps the most sensitive and the largest weights as they are. Then all is fitted to what the "
    "layers give, which is ours and not the paper's, and can be switched off. It comes closer than a grid of 4 bits "
    "with one scale a row. Choose it where memory is short and transformers runs it.",
    family="Tables",
    scheme="W4A16_TABLE",
    weight_bits=4,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.SQUEEZELLM, sources.GUIDEDQUANT),
    published=published(4),
    requirements=_REQUIREMENTS,
    parameters=_PARAMETERS,
    modifiers=partial(_modifiers, 4),
    defaults=defaults_of(_PARAMETERS),
    rules=partial(_rules, 4),
    checks=_checks,
)

SQUEEZELLM_W3 = replace(
    SQUEEZELLM_W4,
    id="squeezellm-w3",
    title="SqueezeLLM W3",
    summary="8 values of its own for each row, outliers kept",
    explanation="Gives each row of weights 8 values of its own, placed where the weights are that the model's output "
    "depends on most, and keeps the most sensitive and the largest weights as they are. Then all is fitted to what the "
    "layers give, which is ours and not the paper's, and can be switched off. It loses far less than 3 bits with one "
    "scale a row, and on our small models no more than GPTQ in groups of 64.",
    scheme="W3A16_TABLE",
    published=published(3),
    weight_bits=3,
    kl_bound=2.0,
    modifiers=partial(_modifiers, 3),
    rules=partial(_rules, 3),
)
