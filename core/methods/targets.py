"""Which modules of a model a method compresses, decided as compressed-tensors decides it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache

from core.methods.scheme import Rule, Scheme
from core.models.experts import expert_linears
from core.models.survey import Survey, SurveyedModule

_NUMBER = re.compile(r"[0-9]+")
_COMPARED = 200

REGULAR = "re:"
"""Patterns that begin with this are regular expressions, matched from the start of the module's name."""


def matches(module: SurveyedModule, pattern: str) -> bool:
    """Whether a pattern names the module: its full name, its class, or `re:` and an expression.

    Follows compressed_tensors.utils.match.match_name: a full name does not reach a module's children.
    Raises re.error for an expression that is none.
    """
    return _matcher(pattern)(module)


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[SurveyedModule], bool]:
    """The pattern taken apart once: planning all methods asks for hundreds of thousands of matches."""
    if not pattern.startswith(REGULAR):
        return lambda module: pattern in (module.name, module.kind)
    match = re.compile(pattern.removeprefix(REGULAR)).match
    return lambda module: match(module.name) is not None


def ignored(module: SurveyedModule, patterns: Iterable[str]) -> bool:
    """Whether any of the patterns names the module."""
    return any(matches(module, pattern) for pattern in patterns)


def linears_of(survey: Survey) -> tuple[SurveyedModule, ...]:
    """Every Linear of the model as it is compressed; of fused experts one stands for many alike."""
    found: list[SurveyedModule] = []
    for module in survey.modules:
        if module.kind == "Linear":
            found.append(module)
        else:
            found += [linear for linear, _ in expert_linears(module)]
    return tuple(found)


def targeted(survey: Survey, ignore: Iterable[str]) -> tuple[SurveyedModule, ...]:
    """The Linear modules that are compressed, in the model's order."""
    patterns = tuple(ignore)
    return tuple(module for module in linears_of(survey) if not ignored(module, patterns))


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
    if len(named) < 2:
        return named[0] if named else None
    return min(
        named,
        key=lambda target: (target == module.kind, target.startswith(REGULAR), target),
    )


def unfused_experts(survey: Survey, ignore: Iterable[str]) -> tuple[SurveyedModule, ...]:
    """Modules that hold a layer's experts in one tensor; llmcompressor takes them apart into Linears and compresses."""
    patterns = tuple(ignore)
    return tuple(
        module for module in survey.modules if module.kind.endswith("Experts") and not ignored(module, patterns)
    )


def names_any(survey: Survey, pattern: str) -> bool:
    """Whether the pattern names a module of the model at all. Raises re.error for an expression that is none."""
    return any(matches(module, pattern) for module in survey.modules)


def nearest_pattern(survey: Survey, pattern: str) -> str | None:
    """A pattern that says what was probably meant: a last name, a whole block, or a name or class mistyped."""
    if pattern.startswith(REGULAR):
        unanchored = f"{REGULAR}.*{pattern.removeprefix(REGULAR)}"
        return unanchored if names_any(survey, unanchored) else None
    names = [module.name for module in survey.modules]
    if any(name.rpartition(".")[2] == pattern for name in names):
        return f"{REGULAR}.*{re.escape(pattern)}$"
    if any(name.startswith(f"{pattern}.") for name in names):
        return f"{REGULAR}{re.escape(pattern)}\\."
    if any(f".{pattern}." in f".{name}" for name in names):
        return f"{REGULAR}.*{re.escape(pattern)}\\."
    near = _nearest_name(names, pattern)
    if near is not None:
        return near
    last = get_close_matches(pattern, sorted({name.rpartition(".")[2] for name in names}), n=1, cutoff=0.6)
    if last:
        return f"{REGULAR}.*{re.escape(last[0])}$"
    kinds = get_close_matches(pattern, sorted({module.kind for module in survey.modules}), n=1, cutoff=0.7)
    return kinds[0] if kinds else None


def _nearest_name(names: Sequence[str], pattern: str) -> str | None:
    """The full name that is most like the pattern, its numbers kept where there is such a module.

    Names that differ in their numbers alone are compared once: a model of experts has tens of thousands.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_NUMBER.sub("#", name), []).append(name)
    near = get_close_matches(_NUMBER.sub("#", pattern), list(alike), n=1, cutoff=0.6)
    if not near:
        return None
    numbers = _NUMBER.findall(pattern)
    meant = re.sub("#", lambda _: numbers.pop(0) if numbers else "#", near[0])
    found = alike[near[0]]
    return meant if meant in found else (get_close_matches(pattern, found[:_COMPARED], n=1, cutoff=0.0) or found)[0]


def short_names(modules: Sequence[SurveyedModule], limit: int = 6) -> str:
    """The last parts of the names, each once, in order: `q_proj, k_proj and 2 more`."""
    names = list(dict.fromkeys(module.name.rpartition(".")[2] for module in modules))
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
