"""Versions of the libraries that shape a result, read from package metadata without importing them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "transformers", "llmcompressor", "compressed-tensors", "tokenizers", "safetensors", "numpy")


def library_versions(*more: str) -> dict[str, str]:
    """Name to version, also of `more`; a library that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in (*LIBRARIES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
