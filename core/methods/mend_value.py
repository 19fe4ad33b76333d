"""The value that was probably meant where a parameter does not take the one that was given."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from core.methods.method import Kind, Parameter
from core.value import Json

REMOVED_ORDERINGS = ("group", "dynamic", True)
"""What GPTQ's `actorder` took once: llmcompressor 0.14 refuses it when the first layer is compressed."""


def mended_value(parameter: Parameter, value: Json) -> Json | None:
    """The nearest value that the parameter takes; None where nothing is like it."""
    match parameter.kind:
        case Kind.CHOICE:
            return _choice(parameter, value)
        case Kind.INTEGER | Kind.NUMBER:
            return _bounded(parameter, value)
        case Kind.RULES:
            return _rules(parameter, value)
    return None


def _choice(parameter: Parameter, value: Json) -> Json | None:
    if parameter.name == "actorder" and value in REMOVED_ORDERINGS:
        return "static"
    # A number among choices is a group size, which must suit the model: its default does, the nearest may not.
    return _nearest(value, parameter)


def _bounded(parameter: Parameter, value: Json) -> Json | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:  # noqa: PLR0124
        return None
    low, high = parameter.minimum, parameter.maximum
    bounded = min(max(value, value if low is None else low), value if high is None else high)
    if parameter.kind is Kind.NUMBER:
        return float(bounded)
    return None if bounded in (float("inf"), float("-inf")) else round(bounded)


def _rules(parameter: Parameter, value: Json) -> Json | None:
    """The rules with each unknown scheme replaced by the nearest, or left out where none is near."""
    if not isinstance(value, Mapping):
        return None
    found = {}
    for pattern, scheme in value.items():
        known = scheme.strip().upper() if isinstance(scheme, str) else scheme
        meant = known if known in parameter.choices else _nearest(known, parameter)
        if meant is not None:
            found[pattern] = meant
    return found or None


def _nearest(value: Json, parameter: Parameter) -> Json | None:
    names = {str(choice).lower(): choice for choice in parameter.choices}
    near = get_close_matches(str(value).lower(), list(names), n=1, cutoff=0.5) if isinstance(value, str) else []
    return names[near[0]] if near else None
