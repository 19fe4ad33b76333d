"""A catalogue entry as JSON: what `bitpress methods --json` prints."""

from __future__ import annotations

from core.methods.method import Method
from core.plan.advice import parts_of
from core.plan.hardware import minimum_capability, where_it_runs
from core.value import Json


def described(method: Method) -> dict[str, Json]:
    """Everything that a script may want to know of a method; parameters with their bounds and general defaults."""
    general = method.defaults(None)
    lowest = minimum_capability(method.scheme)
    return {
        "id": method.id,
        "title": method.title,
        "summary": method.summary,
        "explanation": method.explanation,
        "family": method.family,
        "scheme": method.scheme,
        "weight_bits": method.weight_bits,
        "activation_bits": method.activation_bits,
        "needs_calibration": method.needs_calibration,
        "standing": str(method.standing),
        "sources": [{"title": source.title, "url": source.url} for source in method.sources],
        "runs_in": list(where_it_runs(method.scheme, parts=parts_of(method))),
        "minimum_capability": list(lowest) if lowest else None,
        "parameters": [
            {
                "name": parameter.name,
                "title": parameter.title,
                "help": parameter.help,
                "kind": str(parameter.kind),
                "default": general.get(parameter.name, parameter.default),
                "minimum": parameter.minimum,
                "maximum": parameter.maximum,
                "choices": list(parameter.choices),
                "level": str(parameter.level),
                "unit": parameter.unit,
            }
            for parameter in method.parameters
        ],
    }
