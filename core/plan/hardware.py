"""Which GPU generation runs which scheme with kernels of its own.

Sources, read in August 2026: docs.vllm.ai, quantization page and its pages on int4, int8_w8a8 and fp8;
llm-compressor, docs/steps/choosing-scheme.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Capability = tuple[int, int]
"""CUDA compute capability, major and minor."""

VLLM_TABLE = "https://docs.vllm.ai/en/latest/features/quantization/"


@dataclass(frozen=True, slots=True)
class Support:
    """Where a scheme runs in vLLM. Bounds are compute capabilities; `below` and `above` say what happens outside."""

    title: str
    lowest: Capability
    highest: Capability | None
    """First capability that is no longer served; None where there is no such."""
    weights_only_from: Capability | None
    """Lowest capability on which the artifact at least runs with 16-bit activations."""
    below: str
    above: str = ""


SUPPORT: Mapping[str, Support] = {
    "W4A16": Support(
        title="INT4 weights",
        lowest=(7, 5),
        highest=None,
        weights_only_from=None,
        below="vLLM has no INT4 weight kernels for it",
    ),
    "W8A8": Support(
        title="INT8 weights and activations",
        lowest=(7, 5),
        highest=(10, 0),
        weights_only_from=None,
        below="vLLM has no INT8 kernels for it",
        above="vLLM does not support INT8 activations from compute capability 10.0 on",
    ),
    "FP8_DYNAMIC": Support(
        title="FP8 weights and activations",
        lowest=(8, 9),
        highest=None,
        weights_only_from=(7, 5),
        below="it cannot compute in FP8",
    ),
}
"""By `Method.scheme`."""

PROCESSOR_SCHEMES = ("W8A8", "W4A16")
"""Schemes that vLLM's processor build served here, the faster first; FP8 gave no answer in 150 seconds."""


def runs_natively(scheme: str, capability: Capability | None) -> tuple[bool, str]:
    """Whether a GPU of this capability runs the scheme with kernels made for it, and a sentence that says so.

    Where the capability or the scheme is not known the answer is False, and the sentence says that it is not known.
    """
    support = SUPPORT.get(scheme)
    if support is None:
        return False, f"It is not known which GPUs run {scheme}."
    if capability is None:
        return False, f"This GPU does not tell its compute capability, so it is not known whether it runs {scheme}."
    here = f"compute capability {capability[0]}.{capability[1]}"
    if capability < support.lowest:
        if support.weights_only_from is not None and capability >= support.weights_only_from:
            return False, (
                f"This GPU ({here}) runs it with 8-bit weights only: {support.below}, so vLLM saves the memory but "
                "computes in 16 bits."
            )
        return False, f"This GPU ({here}) does not run {support.title}: {support.below}."
    if support.highest is not None and capability >= support.highest:
        return False, f"This GPU ({here}) does not run {support.title}: {support.above}."
    return True, f"This GPU ({here}) runs {support.title} with kernels of its own in vLLM."


def runs_at_all(scheme: str, capability: Capability) -> bool:
    """Whether the artifact runs there in vLLM, natively or with 16-bit activations."""
    support = SUPPORT.get(scheme)
    if support is None:
        return False
    lowest = support.weights_only_from or support.lowest
    return capability >= lowest and (support.highest is None or capability < support.highest)
