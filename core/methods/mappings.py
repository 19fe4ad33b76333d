"""Where SmoothQuant and AWQ shift scales: architectures that llmcompressor 0.14 knows, and names tried otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods.targets import matches
from core.models.survey import Survey
from core.plan.finding import Finding, Severity

SMOOTHQUANT_ARCHITECTURES = frozenset(
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
"""SmoothQuant's MAPPINGS_REGISTRY."""

AWQ_ARCHITECTURES = frozenset(
    {
        "AfmoeForCausalLM",
        "BloomForCausalLM",
        "Cohere2ForCausalLM",
        "Cohere2MoeForCausalLM",
        "Cohere2VisionForConditionalGeneration",
        "CohereForCausalLM",
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "Ernie4_5_MoeForCausalLM",
        "Exaone4ForCausalLM",
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
        "MuseGlimmerForConditionalGeneration",
        "NanbeigeForCausalLM",
        "Olmo3ForCausalLM",
        "OlmoForCausalLM",
        "Phi3ForCausalLM",
        "Phi3VForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen2MoeForCausalLM",
        "Qwen2_5OmniModel",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM",
        "Qwen3NextForCausalLM",
        "Qwen3_5ForCausalLM",
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5MoeForCausalLM",
        "Qwen3_5MoeForConditionalGeneration",
        "SeedOssForCausalLM",
        "Step3p5ForCausalLM",
    }
)
"""AWQ_MAPPING_REGISTRY and AWQ_DYNAMIC_MAPPING_REGISTRY."""

_NORMS = ("re:.*input_layernorm$", "re:.*post_attention_layernorm$")
_SMOOTHED = ("re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$", "re:.*gate_proj$", "re:.*up_proj$", *_NORMS)
_SCALED = (*_SMOOTHED, "re:.*o_proj$", "re:.*down_proj$")


@dataclass(frozen=True, slots=True)
class _Shifter:
    """A modifier that shifts scales, and the method to take where it does not know how."""

    name: str
    code: str
    instead: str
    method: str


_SMOOTHQUANT = _Shifter(name="SmoothQuant", code="smoothing-mappings", instead="GPTQ W8A8", method="gptq-w8a8")
_AWQ = _Shifter(name="AWQ", code="awq-mappings", instead="GPTQ W4A16", method="gptq-w4a16")


def smoothing_findings(survey: Survey) -> tuple[Finding, ...]:
    """Whether SmoothQuant finds its way in this model."""
    return _findings(survey, SMOOTHQUANT_ARCHITECTURES, _SMOOTHED, _SMOOTHQUANT)


def scaling_findings(survey: Survey) -> tuple[Finding, ...]:
    """Whether AWQ finds its way in this model."""
    return _findings(survey, AWQ_ARCHITECTURES, _SCALED, _AWQ)


def _findings(survey: Survey, known: frozenset[str], usual: tuple[str, ...], shifter: _Shifter) -> tuple[Finding, ...]:
    if survey.architecture in known:
        return ()
    missing = [
        pattern.removeprefix("re:.*").removesuffix("$")
        for pattern in usual
        if not any(matches(module, pattern) for module in survey.modules)
    ]
    if missing:
        return (
            Finding(
                code=shifter.code,
                severity=Severity.BLOCKS,
                message=f"{shifter.name} does not know where to shift scales in "
                f"{survey.architecture or 'this architecture'}: llmcompressor has no mapping for it, and it has no "
                f"{', '.join(missing)}. Choose {shifter.instead} instead.",
                fix={"method": shifter.method},
            ),
        )
    return (
        Finding(
            code=shifter.code,
            severity=Severity.NOTES,
            message=f"There is no mapping for {survey.architecture or 'this model'} in llmcompressor's {shifter.name}; "
            "its layers are named as in Llama, so Llama's is used. The proof after the job shows whether it fits.",
        ),
    )
