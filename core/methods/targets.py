"""Which modules of a model a method compresses, decided as compressed-tensors decides it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.methods.scheme import Rule, Scheme
from core.models.survey import Survey, SurveyedModule

REGULAR = "re:"
"""Patterns that begin with this are regular expressions, matched from the start of the module's name."""


def matches(module: SurveyedModule, pattern: str) -> bool:
    """Whether a pattern names the module: its full name, its class, or `re:` and an expression.

    Follows compressed_tensors.utils.match.match_name: a full name does not reach a module's children.
    Raises re.error for an expression that is none.
    """
    if pattern.startswith(REGULAR):
        return re.match(pattern.removeprefix(REGULAR), module.name) is not None
    return pattern in (module.name, module.kind)


def ignored(module: SurveyedModule, patterns: Iterable[str]) -> bool:
    """Whether any of the patterns names the module."""
    return any(matches(module, pattern) for pattern in patterns)


def targeted(survey: Survey, ignore: Iterable[str]) -> tuple[SurveyedModule, ...]:
    """The Linear modules that are compressed, in the model's order."""
    patterns = tuple(ignore)
    return tuple(module for module in survey.linears if not ignored(module, patterns))


def assigned(survey: Survey, rules: Sequence[Rule], ignore: Iterable[str]) -> tuple[tuple[SurveyedModule, Scheme], ...]:
    """Every Linear that a rule names with its scheme, in the model's order."""
    schemes = {target: rule.scheme for rule in rules for target in rule.targets}
    found = []
    for module in targeted(survey, ignore):
        target = strongest(module, tuple(schemes))
        if target is not None:
            found.append((module, schemes[target]))
    return tuple(found)


def strongest(module: SurveyedModule, targets: Iterable[str]) -> str | None:
    """The target that decides over the module: a full name, else an expression, else a class.

    Of several expressions the first in the order of the alphabet counts, wherever it stands in the recipe. Follows
    compressed_tensors.utils.match.match_targets and quantization.lifecycle.apply.
    """
    named = [target for target in targets if matches(module, target)]
    return min(named, key=lambda target: (target == module.kind, target.startswith(REGULAR), target), default=None)


def unfused_experts(survey: Survey, ignore: Iterable[str]) -> tuple[SurveyedModule, ...]:
    """Modules that hold a layer's experts in one tensor; llmcompressor takes them apart into Linears and compresses."""
    patterns = tuple(ignore)
    return tuple(
        module for module in survey.modules if module.kind.endswith("Experts") and not ignored(module, patterns)
    )


def short_names(modules: Sequence[SurveyedModule], limit: int = 6) -> str:
    """The last parts of the names, each once, in order: `q_proj, k_proj and 2 more`."""
    names = list(dict.fromkeys(module.name.rpartition(".")[2] for module in modules))
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
