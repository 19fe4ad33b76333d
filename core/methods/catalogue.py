"""All methods, in the order in which they are shown; the next one is one more entry."""

from __future__ import annotations

from difflib import get_close_matches

from core.errors import BitpressError
from core.methods.fp4 import NVFP4, NVFP4A16
from core.methods.fp8 import FP8_BLOCK, FP8_DYNAMIC, FP8_STATIC
from core.methods.gptqt import GPTQT_W2, GPTQT_W3, GPTQT_W4
from core.methods.int4 import AUTOROUND_W4A16, AWQ_W4A16, GPTQ_W4A16, GPTQ_W4AFP8, RTN_W4A16, RTN_W4AFP8
from core.methods.int8 import GPTQ_W8A8, RTN_W8A8, RTN_W8A16, SMOOTHQUANT_GPTQ_W8A8, SMOOTHQUANT_W8A8
from core.methods.kv_cache import FP8_KV_CACHE
from core.methods.look_up import not_offered, refusal
from core.methods.low_bit import GPTQ_W2A16, GPTQ_W3A16
from core.methods.method import Method
from core.methods.microscaling import MXFP4, MXFP4A16, MXFP8, MXFP8A16
from core.methods.mixed import MIXED
from core.methods.pruning import REAP, SPARSEGPT, WANDA
from core.methods.qat import QAT_W4A16
from core.methods.rotation import SPINQUANT_W4A16
from core.methods.squeezellm import SQUEEZELLM_W3, SQUEEZELLM_W4
from core.methods.structured import DROP_BLOCKS, NARROW_MLP

METHODS: tuple[Method, ...] = (
    FP8_DYNAMIC,
    GPTQ_W4A16,
    SMOOTHQUANT_GPTQ_W8A8,
    AWQ_W4A16,
    RTN_W8A16,
    FP8_STATIC,
    FP8_BLOCK,
    RTN_W8A8,
    GPTQ_W8A8,
    SMOOTHQUANT_W8A8,
    RTN_W4A16,
    AUTOROUND_W4A16,
    RTN_W4AFP8,
    GPTQ_W4AFP8,
    NVFP4,
    NVFP4A16,
    MXFP4A16,
    MXFP8,
    MXFP8A16,
    FP8_KV_CACHE,
    MIXED,
    SQUEEZELLM_W4,
    SQUEEZELLM_W3,
    MXFP4,
    QAT_W4A16,
    GPTQ_W3A16,
    GPTQ_W2A16,
    GPTQT_W3,
    GPTQT_W2,
    GPTQT_W4,
    SPARSEGPT,
    WANDA,
    REAP,
    DROP_BLOCKS,
    NARROW_MLP,
    SPINQUANT_W4A16,
)
"""Those that are recommended first, the experimental ones last."""


def find(method_id: str) -> Method:
    """The method with this id.

    Raises BitpressError `not-offered` with the reason and what to take instead, or `unknown-method` with the nearest
    name.
    """
    for method in METHODS:
        if method.id == method_id:
            return method
    if (refused := not_offered(method_id)) is not None:
        raise refusal(refused)
    known = [method.id for method in METHODS]
    near = get_close_matches(method_id.lower(), known, n=1, cutoff=0.4)
    raise BitpressError(
        "unknown-method",
        f"There is no method {method_id!r}.",
        (f"Did you mean {near[0]}? " if near else "") + f"The methods are {', '.join(known)}.",
    )
