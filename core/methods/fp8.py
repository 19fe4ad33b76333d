"""FP8: eight-bit floating point weights and activations, without calibration data."""

from __future__ import annotations

from core.methods.method import Method, ModifierSpec, Parameters, Source, Standing
from core.methods.parameters import IGNORE, OBSERVER, default_ignore, weight_observer
from core.methods.scheme import LINEAR, Rule, config_groups
from core.methods.schemes import fp8_dynamic
from core.models.survey import Survey
from core.value import Json


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=fp8_dynamic(weight_observer(parameters))),)


def _modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="QuantizationModifier",
            arguments={"config_groups": config_groups(_rules(parameters)), "ignore": list(parameters["ignore"])},
            title="Compress weights",
        ),
    )


def _defaults(survey: Survey | None) -> dict[str, Json]:
    return {"ignore": default_ignore(survey), "observer": OBSERVER.default}


FP8_DYNAMIC = Method(
    id="fp8-dynamic",
    title="FP8 dynamic",
    summary="FP8 weights and activations",
    explanation="Rounds every weight to 8-bit floating point with one scale per row; activations are rounded while "
    "the model runs. It needs no data, takes seconds and loses very little. Choose it for GPUs from compute "
    "capability 8.9 on (RTX 40, L40, H100 and newer), above all at full load.",
    family="FP8",
    scheme="FP8_DYNAMIC",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=False,
    standing=Standing.RECOMMENDED,
    sources=(
        Source("FP8 Formats for Deep Learning, Micikevicius et al. 2022", "https://arxiv.org/abs/2209.05433"),
        Source(
            '"Give Me BF16 or Give Me Death"? Accuracy-Performance Trade-Offs in LLM Quantization, Kurtic et al. 2025',
            "https://arxiv.org/abs/2411.02355",
        ),
    ),
    runs_in=(
        "vLLM on NVIDIA GPUs from compute capability 8.9 on, with FP8 kernels.",
        "vLLM on NVIDIA GPUs from 7.5 to 8.6, with 8-bit weights only: it saves memory, activations stay 16 bits.",
        "transformers anywhere, where the weights are decompressed first: for checking quality, not for speed.",
    ),
    minimum_capability=(8, 9),
    parameters=(IGNORE, OBSERVER),
    modifiers=_modifiers,
    defaults=_defaults,
    rules=_rules,
)
