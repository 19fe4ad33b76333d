"""Finds what is not offered by the names that people type for it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import BitpressError
from core.methods.not_offered import NOT_OFFERED, NotOffered

WORDS: Mapping[str, str] = {
    r"quip": "QuIP",
    r"random.?matrix": "SpinQuant with a random matrix",
    r"\br[34]\b|online": "Rotations while the model runs (R3, R4)",
    r"magnitude": "Magnitude pruning",
    r"constant": "Constant pruning",
    r"marlin.?24|sparse.?24|bitmask|sparse.?storage": "Sparse storage and 2:4 kernels",
    r"actorder|act.?order|group.?order": "GPTQ with activation ordering by group",
    r"w[2-7]a8|w[2-4]a4": "W4A8, W3A8, W4A4 and their like with integer activations",
    r"w[5-7]a16": "W5A16, W6A16 and W7A16",
    r"log.?eq|logarithmic": "Logarithmic equalization",
    r"awq.*fp8|fp8.*awq": "AWQ with FP8 static",
    r"autoround.*kv|auto.?round.*cache": "AutoRound with FP8 keys and values",
    r"embedding": "Quantized embeddings",
}
"""Expressions that are searched for in what was typed, in small letters, and the entry that each means."""


def not_offered(typed: str) -> NotOffered | None:
    """The entry of what is not offered that was probably meant; None where it is something else."""
    word = typed.strip().lower().replace("_", "-")
    named = next((name for expression, name in WORDS.items() if re.search(expression, word)), None)
    return next((entry for entry in NOT_OFFERED if entry.name == named), None)


def refusal(entry: NotOffered) -> BitpressError:
    """The error `not-offered` for it: why, and what to take instead."""
    return BitpressError("not-offered", f"{entry.name}: not offered. {entry.why}", f"Take instead: {entry.instead}")
