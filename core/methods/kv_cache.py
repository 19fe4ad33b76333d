"""FP8 keys and values: the weights stay, what the model remembers while it answers takes half the memory."""

from __future__ import annotations

from dataclasses import replace

from core.methods import sources
from core.methods.method import Method, ModifierSpec, Parameters, Standing
from core.methods.parameters import KV_CACHE, defaults_of
from core.methods.scheme import Rule
from core.methods.schemes import FP8_KV_CACHE as SCHEME

_PARAMETERS = (
    replace(
        KV_CACHE,
        help="fp8 lets the engine keep keys and values in 8-bit floating point. It is all that this method does.",
        default="fp8",
        choices=("fp8",),
    ),
)


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    return ()


def _modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="QuantizationModifier",
            # Without this llmcompressor takes all Linear layers for targets.
            arguments={"targets": [], "kv_cache_scheme": SCHEME.arguments()},
            title="Calibrate keys and values",
        ),
    )


FP8_KV_CACHE = Method(
    id="fp8-kv-cache",
    title="FP8 keys and values",
    summary="Weights as they were, FP8 KV cache",
    explanation="Leaves all weights as they are, so the file does not get smaller. It fixes a scale for the keys and "
    "values of each layer, so that the engine can keep them in 8 bits: twice as much text, or twice as many requests, "
    "fit into the same memory. Other methods take it along as a parameter.",
    family="KV cache",
    scheme="KV_FP8",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.ADVANCED,
    sources=(sources.KV_CACHE, sources.FP8_FORMATS),
    requirements=("Calibration data: the built-in chat, or text of your own.",),
    kl_bound=0.15,
    parameters=_PARAMETERS,
    modifiers=_modifiers,
    defaults=defaults_of(_PARAMETERS),
    rules=_rules,
)
