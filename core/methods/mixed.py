"""Mixed precision: a scheme for each kind of layer, by patterns."""

from __future__ import annotations

import re

from core.methods import sources
from core.methods.divisibility import default_group, divisibility
from core.methods.fused import EXPERTS, fused
from core.methods.method import Kind, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.modifiers import gptq, rounding
from core.methods.parameters import GROUP_SIZE, IGNORE, KV_CACHE, OBSERVER, default_ignore, defaults_of, weight_observer
from core.methods.scheme import Rule
from core.methods.schemes import NAMES, named
from core.methods.targets import REGULAR, ignored, matches, nearest_pattern, short_names, strongest, targeted
from core.models.survey import Survey, SurveyedModule
from core.plan.finding import Finding, Severity
from core.value import Json

RULES = Parameter(
    name="rules",
    title="Schemes by layer",
    help="Which layers get which scheme. A layer is named in full, by its class, or by a pattern that begins with "
    "`re:`. Where several rules name a layer, a full name goes before a pattern and a pattern before a class; of "
    "several patterns the first in the alphabet counts. Layers that no rule names stay as they are.",
    kind=Kind.RULES,
    default={"re:.*self_attn.*": "FP8_DYNAMIC", "re:.*mlp.*": "W4A16"},
    choices=NAMES,
)

ALGORITHM = Parameter(
    name="algorithm",
    title="Rounding",
    help="nearest takes the nearest value for each weight, in seconds. gptq corrects the errors made column by column, "
    "which needs calibration data and loses less.",
    kind=Kind.CHOICE,
    default="gptq",
    choices=("gptq", "nearest"),
)

_PARAMETERS = (RULES, GROUP_SIZE, ALGORITHM, IGNORE, OBSERVER, KV_CACHE)


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    size, observer = parameters["group_size"], weight_observer(parameters)
    return tuple(
        Rule(targets=(pattern,), scheme=named(name, size, observer)) for pattern, name in parameters["rules"].items()
    )


def _modifiers(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    make = gptq if parameters["algorithm"] == "gptq" else rounding
    # A pattern such as `re:model.*` names the embedding too, which compressed-tensors would compress like a Linear.
    without_embedding = {**parameters, IGNORE.name: [*parameters[IGNORE.name], "Embedding"]}
    return (make(_rules(parameters), without_embedding),)


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    rules = parameters["rules"]
    modules = targeted(survey, parameters["ignore"])
    return (
        *_on_blocks(modules, rules),
        *_unmatched(survey, modules, rules),
        *divisibility(survey, parameters, _rules(parameters)),
        *_contested(modules, rules),
        *_split(modules, rules),
        *_left(modules, rules),
    )


def _on_blocks(modules: tuple[SurveyedModule, ...], rules: dict[str, str]) -> tuple[Finding, ...]:
    """Patterns that name a block and not the layers in it: llmcompressor stops at an attention block so named."""
    blocks: dict[str, list[SurveyedModule]] = {}
    for module in modules:
        blocks.setdefault(module.name.rpartition(".")[0], []).append(module)
    mended = dict(rules)
    for pattern in rules:
        for name, inside in blocks.items():
            block = SurveyedModule(name=name, kind="", shape=(), elements=0)
            if matches(block, pattern) and not any(matches(module, pattern) for module in inside):
                mended = {(_inside(old) if old == pattern else old): scheme for old, scheme in mended.items()}
                break
    changed = [pattern for pattern in rules if pattern not in mended]
    if not changed:
        return ()
    listed = ", ".join(f"{pattern} as {_inside(pattern)}" for pattern in changed)
    return (
        Finding(
            code="rules-on-blocks",
            severity=Severity.BLOCKS,
            message=f"A rule names blocks of layers and not the layers in them. Write {listed}.",
            fix={"rules": mended},
        ),
    )


def _inside(pattern: str) -> str:
    """The pattern for everything below what this one names."""
    if pattern.startswith(REGULAR):
        return rf"{pattern.removesuffix('$')}\..*"
    return rf"{REGULAR}{re.escape(pattern)}\..*"


def _unmatched(survey: Survey, modules: tuple[SurveyedModule, ...], rules: dict[str, str]) -> tuple[Finding, ...]:
    """Patterns that name nothing: the nearest that does takes their place, and a rule without one is taken out."""
    if _on_blocks(modules, rules):
        return ()
    missed = [pattern for pattern in rules if not any(matches(module, pattern) for module in modules)]
    if not missed:
        return ()
    better: dict[str, str] = {}
    for pattern in missed:
        near = nearest_pattern(survey, pattern)
        if near is not None and near not in rules and any(matches(module, near) for module in modules):
            better[pattern] = near
    said = [f"{pattern} (did you mean {better[pattern]}?)" if pattern in better else pattern for pattern in missed]
    mended = {
        better.get(pattern, pattern): name
        for pattern, name in rules.items()
        if pattern not in missed or pattern in better
    }
    return (
        Finding(
            code="rules-unmatched",
            severity=Severity.BLOCKS,
            message=f"No layer that is compressed is named {' or '.join(said)}, so "
            f"{'that rule' if len(missed) == 1 else 'those rules'} would do nothing.",
            fix={"rules": mended} if mended else None,
        ),
    )


def _contested(modules: tuple[SurveyedModule, ...], rules: dict[str, str]) -> tuple[Finding, ...]:
    """Layers that several rules with different schemes name, which is easily read otherwise than it is done."""
    for module in modules:
        named_by = [pattern for pattern in rules if matches(module, pattern)]
        if len({rules[pattern] for pattern in named_by}) > 1:
            winner = strongest(module, named_by)
            if winner is not None:
                return (
                    Finding(
                        code="rules-overlap",
                        severity=Severity.NOTES,
                        message=f"{len(named_by)} rules name {module.name}: {', '.join(named_by)}. It gets "
                        f"{rules[winner]}, by {winner}.",
                    ),
                )
    return ()


def _split(modules: tuple[SurveyedModule, ...], rules: dict[str, str]) -> tuple[Finding, ...]:
    """Layers that engines run as one and that get different schemes."""
    schemes = {module.name: rules[target] if (target := strongest(module, rules)) else "" for module in modules}
    for group in fused(schemes):
        if len({schemes[name] for name in group.modules}) > 1:
            parent = group.key if group.kind == EXPERTS else group.key.rpartition(".")[0]
            names = short_names(tuple(module for module in modules if module.name in group.modules))
            said = "The experts" if group.kind == EXPERTS else " and ".join(names.rsplit(", ", 1))
            return (
                Finding(
                    code="rules-split",
                    severity=Severity.WARNS,
                    message=f"{said} of {parent} get different schemes. vLLM runs them as one layer and refuses that; "
                    "give them the same.",
                ),
            )
    return ()


def _left(modules: tuple[SurveyedModule, ...], rules: dict[str, str]) -> tuple[Finding, ...]:
    left = tuple(module for module in modules if not ignored(module, rules))
    if not left:
        return ()
    return (
        Finding(
            code="rules-incomplete",
            severity=Severity.NOTES,
            message=f"{len(left):,} of {len(modules):,} layers are named by no rule and stay as they are "
            f"({short_names(left)}).",
        ),
    )


def _group(survey: Survey) -> dict[str, Json]:
    return {"group_size": default_group(survey, default_ignore(survey))}


MIXED = Method(
    id="mixed",
    title="Mixed precision",
    summary="A scheme for each kind of layer",
    explanation="Gives different layers different schemes, by their names: at first attention in FP8, where it is "
    "sensitive, and the rest in INT4. Size and quality lie between the two. It runs only where every scheme in it "
    "runs.",
    family="Mixed",
    scheme="MIXED",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=False,
    standing=Standing.ADVANCED,
    sources=(sources.SCHEMES, sources.GPTQ),
    requirements=(
        "An engine and a GPU that run every scheme in it.",
        "Calibration data, unless all is rounded to the nearest value and no scale is fixed beforehand.",
    ),
    parameters=_PARAMETERS,
    modifiers=_modifiers,
    defaults=defaults_of(_PARAMETERS, _group),
    rules=_rules,
    checks=_checks,
)
