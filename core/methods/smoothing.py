"""Where outliers may be smoothed away without changing what the model computes.

Smoothing divides the output of a norm and multiplies the columns of the layers behind it. That is exact only where
these layers are all that reads the norm's output. llmcompressor 0.14 decides by the architecture's name; the layouts
here are for architectures that it knows wrongly or not at all:

- Gemma 2 and 3: it takes `post_attention_layernorm` for the norm before the MLP. There that norm follows attention, and
  `pre_feedforward_layernorm` is the one, so the saved model computes something else (mean KL near 1, nothing raised).
- Phi 1 and 2: attention and MLP read the same norm, and the MLP would be left out.
- OPT and GPT-NeoX: their layers have other names, and the job would fail.

AWQ scales in the same way and goes wrong in mixtures of experts: in Mixtral the router reads the scaled norm and is
left out, in Qwen2-MoE the shared expert and its gate. At 8 bits, where rounding costs 3 %, layers came out up to 38 %
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.methods.method import Kind, Level, Parameter, Parameters
from core.methods.targets import matches
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

OWN = "auto"
"""llmcompressor's own choice by the architecture's name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A norm and all layers that read its output, as patterns."""

    norm: str
    layers: tuple[str, ...]


_ATTENTION = ("re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$")

LAYOUTS: Mapping[str, tuple[Pair, ...]] = {
    "gemma": (
        Pair("re:.*input_layernorm$", _ATTENTION),
        Pair("re:.*pre_feedforward_layernorm$", ("re:.*gate_proj$", "re:.*up_proj$")),
    ),
    "phi": (Pair("re:.*input_layernorm$", (*_ATTENTION, "re:.*fc1$")),),
    "opt": (
        Pair("re:.*self_attn_layer_norm$", _ATTENTION),
        Pair(r"re:.*layers\.\d+\.final_layer_norm$", ("re:.*fc1$",)),
    ),
    "gpt-neox": (
        Pair("re:.*input_layernorm$", ("re:.*query_key_value$",)),
        Pair("re:.*post_attention_layernorm$", ("re:.*dense_h_to_4h$",)),
    ),
}

_BY_ARCHITECTURE: Mapping[str, str] = {
    "Gemma2ForCausalLM": "gemma",
    "Gemma3ForCausalLM": "gemma",
    "Gemma3ForConditionalGeneration": "gemma",
    "PhiForCausalLM": "phi",
    "OPTForCausalLM": "opt",
    "GPTNeoXForCausalLM": "gpt-neox",
}

_EXPERTS = (r"re:.*experts\.\d+\.gate_proj$", r"re:.*experts\.\d+\.up_proj$")

SCALING_LAYOUTS: Mapping[str, tuple[Pair, ...]] = {
    name: (
        Pair("re:.*input_layernorm$", _ATTENTION),
        Pair("re:.*v_proj$", ("re:.*o_proj$",)),
        Pair("re:.*post_attention_layernorm$", readers),
        Pair("re:.*up_proj$", ("re:.*down_proj$",)),
    )
    for name, readers in {
        "mixtral": (r"re:.*mlp\.gate$", *_EXPERTS),
        "qwen2-moe": (r"re:.*mlp\.gate$", r"re:.*shared_expert_gate$", "re:.*gate_proj$", "re:.*up_proj$"),
    }.items()
}

_SCALING_BY_ARCHITECTURE: Mapping[str, str] = {"MixtralForCausalLM": "mixtral", "Qwen2MoeForCausalLM": "qwen2-moe"}

SCALING_LAYOUT = Parameter(
    name="scaling_layout",
    title="Where to scale",
    help="Which layers are scaled against which. auto decides by the type of the model; mixtral and qwen2-moe are for "
    "mixtures of experts that auto knows wrongly. The default is the one for this model, and any other would change "
    "what the model computes.",
    kind=Kind.CHOICE,
    default=OWN,
    choices=(OWN, *SCALING_LAYOUTS),
    level=Level.ADVANCED,
)

LAYOUT = Parameter(
    name="smoothing_layout",
    title="Where to smooth",
    help="Which norms give their outliers to which layers. auto decides by the type of the model; gemma, phi, opt and "
    "gpt-neox are for families that auto does not know or knows wrongly. The default is the one for this model, and "
    "any other would change what the model computes.",
    kind=Kind.CHOICE,
    default=OWN,
    choices=(OWN, *LAYOUTS),
    level=Level.ADVANCED,
)


def default_layout(survey: Survey | None) -> str:
    """The layout for the surveyed architecture."""
    return OWN if survey is None else _BY_ARCHITECTURE.get(survey.architecture, OWN)


def smoothquant_mappings(parameters: Parameters) -> dict[str, Json]:
    """SmoothQuantModifier's argument `mappings`, or none where llmcompressor's own table serves."""
    pairs = LAYOUTS.get(str(parameters[LAYOUT.name]))
    return {} if pairs is None else {"mappings": [[list(pair.layers), pair.norm] for pair in pairs]}


def layout_findings(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    """What blocks smoothing with the chosen layout: another one is right for this architecture, or none is."""
    chosen, right = str(parameters[LAYOUT.name]), default_layout(survey)
    if right == "opt" and not any(module.name == "model.decoder.final_layer_norm" for module in survey.modules):
        return (
            Finding(
                code="smoothing-mappings",
                severity=Severity.BLOCKS,
                message="This OPT has its norms behind its layers (as OPT-350M), so there is no norm whose output only "
                "the next layer reads, and nothing can be smoothed. Choose a method without smoothing.",
            ),
        )
    if chosen != right:
        return (
            Finding(
                code="smoothing-layout",
                severity=Severity.BLOCKS,
                message=f"Smoothing as in {chosen} would change what {survey.architecture} computes. Use {right}.",
                fix={LAYOUT.name: right},
            ),
        )
    missing = [
        pattern.removeprefix("re:.*").removesuffix("$")
        for pair in LAYOUTS.get(chosen, ())
        for pattern in (pair.norm, *pair.layers)
        if not any(matches(module, pattern) for module in survey.modules)
    ]
    if not missing:
        return ()
    return (
        Finding(
            code="smoothing-mappings",
            severity=Severity.BLOCKS,
            message=f"There is nothing to smooth as in {chosen}: the model has no {', '.join(missing)}. Choose a "
            "method without smoothing.",
        ),
    )


def default_scaling(survey: Survey | None) -> str:
    """AWQ's layout for the surveyed architecture."""
    return OWN if survey is None else _SCALING_BY_ARCHITECTURE.get(survey.architecture, OWN)


def awq_mappings(parameters: Parameters) -> dict[str, Json]:
    """AWQModifier's argument `mappings`, or none where llmcompressor's own table serves."""
    pairs = SCALING_LAYOUTS.get(str(parameters[SCALING_LAYOUT.name]))
    if pairs is None:
        return {}
    return {"mappings": [{"smooth_layer": pair.norm, "balance_layers": list(pair.layers)} for pair in pairs]}


def scaling_layout_findings(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    """What blocks AWQ with the chosen layout: another is right for this architecture, or some layers lack experts."""
    chosen, right = str(parameters[SCALING_LAYOUT.name]), default_scaling(survey)
    if chosen != right:
        return (
            Finding(
                code="scaling-layout",
                severity=Severity.BLOCKS,
                message=f"Scaling as in {chosen} would change what {survey.architecture} computes. Use {right}.",
                fix={SCALING_LAYOUT.name: right},
            ),
        )
    if right != OWN and any(matches(module, r"re:.*\.mlp\.gate_proj$") for module in survey.modules):
        return (
            Finding(
                code="scaling-dense-layers",
                severity=Severity.BLOCKS,
                message="Some layers of this model have experts and others have none, and AWQ cannot tell their norms "
                "apart. Choose GPTQ instead.",
            ),
        )
    return ()
