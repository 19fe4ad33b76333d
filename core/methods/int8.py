"""INT8: eight-bit integer weights and activations, with outliers smoothed from activations into weights."""

from __future__ import annotations

from core.methods.method import Kind, Method, ModifierSpec, Parameter, Parameters, Source, Standing
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
from core.methods.schemes import int8
from core.methods.smoothing import LAYOUT, OWN, default_layout, layout_findings, smoothquant_mappings
from core.methods.targets import matches
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

SMOOTHING = Parameter(
    name="smoothing_strength",
    title="Smoothing strength",
    help="How much of the outliers in activations is moved into the weights: 0 moves nothing, 1 everything. 0.8 suits "
    "most chat models.",
    kind=Kind.NUMBER,
    default=0.8,
    minimum=0.0,
    maximum=1.0,
)

MAPPED_ARCHITECTURES = frozenset(
    {
        "AfmoeForCausalLM",
        "BloomForCausalLM",
        "ChatGLMForConditionalGeneration",
        "Cohere2ForCausalLM",
        "Cohere2MoeForCausalLM",
        "Cohere2VisionForConditionalGeneration",
        "CohereForCausalLM",
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "Ernie4_5_MoeForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "Gemma3ForConditionalGeneration",
        "Glm4MoeForCausalLM",
        "Glm4MoeLiteForCausalLM",
        "GlmMoeDsaForCausalLM",
        "GraniteForCausalLM",
        "Llama4ForConditionalGeneration",
        "LlamaForCausalLM",
        "Mistral3ForConditionalGeneration",
        "MistralForCausalLM",
        "MixtralForCausalLM",
        "NanbeigeForCausalLM",
        "Phi3ForCausalLM",
        "Phi3VForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen2MoeForCausalLM",
        "Qwen2_5OmniModel",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM",
        "SeedOssForCausalLM",
        "WhisperForConditionalGeneration",
    }
)
"""Architectures that llmcompressor 0.14 has smoothing mappings for (MAPPINGS_REGISTRY)."""

_USUAL_MAPPINGS = (
    ("re:.*q_proj", "re:.*k_proj", "re:.*v_proj", "re:.*input_layernorm"),
    ("re:.*gate_proj", "re:.*up_proj", "re:.*post_attention_layernorm"),
)
"""What llmcompressor tries for an architecture that it does not know."""


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    return (Rule(targets=LINEAR, scheme=int8(weight_observer(parameters))),)


def _modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="SmoothQuantModifier",
            arguments={
                "smoothing_strength": parameters["smoothing_strength"],
                **smoothquant_mappings(parameters),
            },
            title="Smooth activations",
        ),
        ModifierSpec(
            name="GPTQModifier",
            arguments={"config_groups": config_groups(_rules(parameters)), **gptq_arguments(parameters)},
            title="Calibrate and compress",
        ),
    )


def _defaults(survey: Survey | None) -> dict[str, Json]:
    return {
        "smoothing_strength": SMOOTHING.default,
        LAYOUT.name: default_layout(survey),
        "actorder": ACTORDER.default,
        "ignore": default_ignore(survey),
        "observer": OBSERVER.default,
        "dampening_frac": DAMPENING.default,
        "block_size": BLOCK_SIZE.default,
    }


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    if parameters[LAYOUT.name] != OWN or default_layout(survey) != OWN:
        return layout_findings(survey, parameters)
    if survey.architecture in MAPPED_ARCHITECTURES:
        return ()
    missing = [
        pattern.removeprefix("re:.*")
        for mapping in _USUAL_MAPPINGS
        for pattern in mapping
        if not any(matches(module, pattern) for module in survey.modules)
    ]
    if missing:
        return (
            Finding(
                code="smoothing-mappings",
                severity=Severity.BLOCKS,
                message=f"SmoothQuant does not know where to smooth {survey.architecture or 'this architecture'}: "
                f"llmcompressor has no mapping for it, and it has no {', '.join(missing)}. Choose FP8 dynamic or "
                "GPTQ W4A16 instead.",
            ),
        )
    return (
        Finding(
            code="smoothing-mappings",
            severity=Severity.NOTES,
            message=f"There is no smoothing mapping for {survey.architecture or 'this model'} in llmcompressor; its "
            "layers are named as in Llama, so Llama's is used. The proof after the job shows whether it fits.",
        ),
    )


SMOOTHQUANT_GPTQ_W8A8 = Method(
    id="smoothquant-gptq-w8a8",
    title="SmoothQuant + GPTQ W8A8",
    summary="INT8 weights and activations",
    explanation="Moves the outliers of activations into the weights, then rounds both to 8-bit integers, the weights "
    "with GPTQ. Close to the original and fast at full load on GPUs without FP8 (RTX 20 and 30, A100) and on "
    "processors. It takes the longest of the three to make.",
    family="INT8",
    scheme="W8A8",
    weight_bits=8,
    activation_bits=8,
    needs_calibration=True,
    standing=Standing.RECOMMENDED,
    sources=(
        Source(
            "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, "
            "Xiao et al. 2023",
            "https://arxiv.org/abs/2211.10438",
        ),
        Source(
            "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, Frantar et al. 2023",
            "https://arxiv.org/abs/2210.17323",
        ),
    ),
    runs_in=(
        "vLLM on NVIDIA GPUs from compute capability 7.5 to 9.0, with INT8 kernels; not on 10.0 and newer.",
        "vLLM on x86 and Arm processors (its CPU build).",
        "transformers anywhere, where the weights are decompressed first: for checking quality, not for speed.",
    ),
    minimum_capability=(7, 5),
    parameters=(SMOOTHING, ACTORDER, IGNORE, LAYOUT, OBSERVER, DAMPENING, BLOCK_SIZE),
    modifiers=_modifiers,
    defaults=_defaults,
    rules=_rules,
    checks=_checks,
)
