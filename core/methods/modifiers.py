"""The llmcompressor modifiers that several methods are made of, as data."""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.method import ModifierSpec, Parameters, kv_cache
from core.methods.parameters import GPTQ_PARAMETERS
from core.methods.scheme import Rule, config_groups
from core.methods.smoothing import smoothquant_mappings
from core.value import Json


def rounding(rules: Sequence[Rule], parameters: Parameters, title: str = "Compress weights") -> ModifierSpec:
    """Every weight to the nearest value that its scheme has."""
    return ModifierSpec(name="QuantizationModifier", arguments=_quantization(rules, parameters), title=title)


def gptq(rules: Sequence[Rule], parameters: Parameters) -> ModifierSpec:
    """Column by column, with corrections for each error made; what the method has no parameter for stays at default."""
    settings = {parameter.name: parameters.get(parameter.name, parameter.default) for parameter in GPTQ_PARAMETERS}
    return ModifierSpec(
        name="GPTQModifier",
        arguments={
            **_quantization(rules, parameters),
            **settings,
            "actorder": None if settings["actorder"] == "none" else settings["actorder"],
        },
        title="Calibrate and compress",
    )


def smoothing(parameters: Parameters) -> ModifierSpec:
    """Outliers of activations moved into the weights; takes the parameters smoothing_strength and smoothing_layout."""
    return ModifierSpec(
        name="SmoothQuantModifier",
        arguments={"smoothing_strength": parameters["smoothing_strength"], **smoothquant_mappings(parameters)},
        title="Smooth activations",
    )


_AUTOROUND_RATE = 0.005
"""AutoRound's own default is one over the iterations, meant for 200 of them: with few it throws the weights about."""


def autoround(rules: Sequence[Rule], parameters: Parameters) -> ModifierSpec:
    """Rounding learned by gradient descent, a decoder layer at a time. llmcompressor's takes no KV cache scheme."""
    return ModifierSpec(
        name="AutoRoundModifier",
        arguments={
            "config_groups": config_groups(tuple(rules)),
            "ignore": list(parameters["ignore"]),
            "iters": parameters["iters"],
            "lr": _AUTOROUND_RATE,
            "batch_size": parameters["batch_size"],
            "enable_torch_compile": parameters["compile"],
        },
        title="Learn the rounding",
    )


def _quantization(rules: Sequence[Rule], parameters: Parameters) -> dict[str, Json]:
    """The arguments that all modifiers of schemes share."""
    found: dict[str, Json] = {"config_groups": config_groups(tuple(rules)), "ignore": list(parameters["ignore"])}
    cache = kv_cache(parameters)
    if cache is not None:
        found["kv_cache_scheme"] = cache.arguments()
    return found
