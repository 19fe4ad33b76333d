"""A catalogue entry as JSON: what `bitpress methods --json` prints."""

from __future__ import annotations

from core.methods.method import Method, Parameters
from core.methods.storage import bits_per_weight
from core.plan.advice import parts_of
from core.plan.hardware import minimum_capability, where_it_runs
from core.value import Json


def bits_on_disk(method: Method, parameters: Parameters) -> float | None:
    """Bits that a compressed weight takes on disk with its share of the scales, in a layer of 4096 by 4096.

    None where weights keep their precision, or where layers get different schemes.
    """
    bits = {round(bits_per_weight(rule.scheme), 3) for rule in method.rules(parameters)}
    return bits.pop() if len(bits) == 1 else None


def described(method: Method) -> dict[str, Json]:
    """Everything that a script may want to know of a method; parameters with their bounds and general defaults."""
    general = method.defaults(None)
    parts = parts_of(method)
    lowest = minimum_capability(parts[0] if len(parts) == 1 else method.scheme)
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
        "published": list(method.published),
        "requirements": list(method.requirements),
        "bits_per_weight": bits_on_disk(method, general),
        "runs_in": list(where_it_runs(method.scheme, parts=parts)),
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
