"""A choice of schemes as the settings of the method `mixed`: as few patterns as name exactly the chosen layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.measure.parts import layer_of
from core.measure.sensitivity_values import UNQUANTIZED, Assignment, Part, SensitivityResult
from core.methods.divisibility import default_group
from core.methods.parameters import default_ignore
from core.methods.recipe_document import RecipeDocument
from core.methods.targets import REGULAR, linears_of, matches
from core.models.survey import Survey, SurveyedModule
from core.value import Json

METHOD = "mixed"
"""The catalogue's entry that takes a scheme for each layer."""

_NUMBER = "#"


def mixed_parameters(
    assignment: Assignment, parts: Sequence[Part], survey: Survey, group_size: int | str
) -> dict[str, Json]:
    """`rules`, `group_size`, `algorithm` and `ignore` of the method `mixed`, rounded by GPTQ.

    Every layer is named by a pattern and none by its class: vLLM holds the class of a fused layer (QKVParallelLinear)
    against `Linear` too, in some versions before it looks at the layers that it was fused of. Parts that stay as they
    are go into `ignore`.
    """
    by_scheme: dict[str, list[Part]] = {}
    for part in parts:
        by_scheme.setdefault(assignment.schemes[part.key], []).append(part)
    left = by_scheme.pop(UNQUANTIZED, [])
    every = linears_of(survey)
    ignore = [str(pattern) for pattern in default_ignore(survey)]
    rules = {
        pattern: scheme for scheme in sorted(by_scheme) for pattern in patterns(by_scheme[scheme], every, ignore=ignore)
    }
    return {
        "rules": rules,
        "group_size": group_size,
        "algorithm": "gptq",
        "ignore": [*ignore, *patterns(left, every, ignore=ignore)],
    }


def mix_document(result: SensitivityResult, survey: Survey) -> RecipeDocument | None:
    """The recipe document that presses the mix, its calibration the method's default; None where none was chosen."""
    mix = result.assignment
    if mix is None:
        return None
    group = result.group_size or default_group(survey, [str(pattern) for pattern in default_ignore(survey)])
    return RecipeDocument(method=METHOD, parameters=mixed_parameters(mix, result.parts, survey, group))


def patterns(parts: Sequence[Part], every: Sequence[SurveyedModule], *, ignore: Iterable[str] = ()) -> tuple[str, ...]:
    """Patterns that name the Linears of these parts and no other of `every` that is compressed.

    Parts that differ in their layer's number alone share a pattern: `re:.*layers\\.(0|3)\\.mlp\\.(gate_proj|up_proj)$`.
    Where that would name too much, the modules are named in full.
    """
    ignored = tuple(ignore)
    compressed = [module for module in every if not any(matches(module, pattern) for pattern in ignored)]
    alike: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        alike.setdefault(tuple(_template(name) for name in part.modules), []).append(part)
    found: list[str] = []
    for templates, group in alike.items():
        wanted = {module.name for module in compressed if any(_inside(module.name, part) for part in group)}
        fused = not wanted & {name for part in group for name in part.modules}
        tried = (r"\d+", "|".join(str(part.layer) for part in sorted(group, key=lambda part: part.layer)))
        fitting = (
            pattern
            for pattern in (_pattern(templates, numbers, fused=fused) for numbers in tried)
            if {module.name for module in compressed if matches(module, pattern)} == wanted
        )
        pattern = next(fitting, None)
        found += [pattern] if pattern is not None else _exact(group, wanted)
    return tuple(found)


def _exact(group: Sequence[Part], wanted: Iterable[str]) -> list[str]:
    """Full names; of experts that stand for many a pattern over their block, as their names are not all known."""
    names = set(wanted)
    return [name if name in names else rf"{REGULAR}{re.escape(name)}\..*$" for part in group for name in part.modules]


def _inside(name: str, part: Part) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in part.modules)


def _template(name: str) -> str:
    """The name with its layer's number, the first in it, left open."""
    number = str(layer_of(name))
    pieces = name.split(".")
    if number in pieces:
        pieces[pieces.index(number)] = _NUMBER
    return ".".join(pieces)


def _pattern(templates: Sequence[str], numbers: str, *, fused: bool) -> str:
    """One expression for the modules of parts that differ in their layer's number alone."""
    stems = {template.rpartition(".")[0] for template in templates}
    if len(stems) == 1:
        lasts = [re.escape(template.rpartition(".")[2]) for template in templates]
        body = re.escape(stems.pop()) + (r"\." if "." in templates[0] else "")
        body += lasts[0] if len(lasts) == 1 else f"({'|'.join(lasts)})"
    else:
        body = "(" + "|".join(re.escape(template) for template in templates) + ")"
    body = body.replace(re.escape(_NUMBER), f"({numbers})" if "|" in numbers else numbers)
    return REGULAR + _shortened(body) + (r"\..*$" if fused else "$")


def _shortened(body: str) -> str:
    """From the list of layers on: what stands before it is another prefix in some engines."""
    place = body.find(r"layers\.")
    return ".*" + body[place:] if place > 0 and "(" not in body[:place] else body
