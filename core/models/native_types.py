"""Which model types the installed transformers builds itself, read from its source without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_TABLES = ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES")
"""Types of models that write text, by what they read."""


@cache
def native_types() -> frozenset[str]:
    """Values of `model_type` that need no code of the model's own; none where transformers is laid out otherwise.

    A worker test holds them against the imported tables.
    """
    package = find_spec("transformers")
    if package is None or package.origin is None:
        return frozenset()
    path = Path(package.origin).parent / "models" / "auto" / "modeling_auto.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(name for node in tree.body if _table(node) in _TABLES for name in _keys(node))


def _table(node: ast.stmt) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _keys(node: ast.stmt) -> Iterator[str]:
    """First parts of the pairs of strings in `OrderedDict([(...), ...])`."""
    for pair in ast.walk(node):
        if isinstance(pair, ast.Tuple) and len(pair.elts) == 2 and isinstance(pair.elts[0], ast.Constant):
            name = pair.elts[0].value
            if isinstance(name, str):
                yield name
