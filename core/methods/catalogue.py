"""All methods, in the order in which they are shown; the next one is one more entry."""

from __future__ import annotations

from difflib import get_close_matches

from core.errors import BitpressError
from core.methods.fp8 import FP8_DYNAMIC
from core.methods.int4 import GPTQ_W4A16
from core.methods.int8 import SMOOTHQUANT_GPTQ_W8A8
from core.methods.method import Method

METHODS: tuple[Method, ...] = (FP8_DYNAMIC, GPTQ_W4A16, SMOOTHQUANT_GPTQ_W8A8)


def find(method_id: str) -> Method:
    """The method with this id. Raises BitpressError `unknown-method`, with the nearest name."""
    for method in METHODS:
        if method.id == method_id:
            return method
    known = [method.id for method in METHODS]
    near = get_close_matches(method_id.lower(), known, n=1, cutoff=0.4)
    raise BitpressError(
        "unknown-method",
        f"There is no method {method_id!r}.",
        (f"Did you mean {near[0]}? " if near else "") + f"The methods are {', '.join(known)}.",
    )
