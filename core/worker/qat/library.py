"""torchao, kept out of sight until it is wanted.

Where it is installed, transformers imports it with its own list of quantizers: that costs every worker half a second
and fills its log with lines about CUDA libraries that have nothing to do with the job.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from core.errors import BitpressError

_NAME = "torchao"


def hide() -> None:
    """Let nobody find torchao in this process, until `shown` is asked for. To be called before anything heavy."""
    if _NAME not in sys.modules:
        # Python's own way to say that a module is not to be imported: find_spec gives None, as if it were not there.
        sys.modules[_NAME] = cast(Any, None)


def shown(module: str) -> Any:
    """A module that uses torchao, imported without what torchao says on the way. Raises BitpressError `no-torchao`."""
    if sys.modules.get(_NAME, ...) is None:
        del sys.modules[_NAME]
        importlib.invalidate_caches()
    try:
        with _quiet():
            return importlib.import_module(module)
    except ImportError as error:
        hide()
        raise BitpressError(
            "no-torchao",
            f"Quantization-aware fine-tuning needs torchao, which cannot be imported: {error}.",
            "Install it: `make install` does, or `pip install torchao==0.18.0` in Bitpress's environment.",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(max(before, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
