"""Lets AWQ run without a GPU: the one patch that Bitpress makes to llmcompressor.

Since pull request 2813 (https://github.com/vllm-project/llm-compressor/pull/2813), so in 0.14.0.1, AWQ pins the inputs
that it keeps for its search into page-locked memory, which is there to be copied to an accelerator faster. Without an
accelerator torch refuses that, and with it AWQ. Pinning is nothing but speed, so here it is left out.

`tests/worker/test_awq_without_gpu.py` fails as soon as llmcompressor runs AWQ without a GPU by itself: delete this
file then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UPSTREAM_VERSION = "0.14.0.1"
"""The version of llmcompressor that needs this."""


@contextmanager
def awq_without_gpu() -> Iterator[None]:
    """Where there is no accelerator, nothing is pinned until the block ends. Elsewhere nothing is touched."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if torch.accelerator.is_available():
        yield
        return

    def leave_unpinned(_cache: Any, *_arguments: Any, **_named: Any) -> None:
        return None

    pin_memory = IntermediatesCache.pin_memory
    IntermediatesCache.pin_memory = leave_unpinned
    try:
        yield
    finally:
        IntermediatesCache.pin_memory = pin_memory
