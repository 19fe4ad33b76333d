"""Whether the groups of a method's schemes divide the layers of a model, and what to do where they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.methods.method import Parameters
from core.methods.parameters import GROUP_SIZE, GROUPS, USUAL_GROUP
from core.methods.scheme import Rule, Scheme, Strategy
from core.methods.targets import assigned, short_names, targeted
from core.models.survey import Survey, SurveyedModule
from core.plan.finding import Finding, Severity
from core.value import Json


def default_group(survey: Survey, ignore: Sequence[str]) -> int | str:
    """The group size to begin with: the largest that divides every layer, else `channel` where none divides any."""
    modules = targeted(survey, ignore)
    size = largest_group(modules)
    return "channel" if modules and len(undivided(modules, size)) == len(modules) else size


def largest_group(modules: tuple[SurveyedModule, ...]) -> int:
    """The largest offered group size that divides the columns of all modules, or else of the most modules."""
    return min(GROUPS, key=lambda size: (len(undivided(modules, size)), -size))


def undivided(modules: tuple[SurveyedModule, ...], size: int) -> tuple[SurveyedModule, ...]:
    """The modules whose columns the group size does not divide."""
    return tuple(module for module in modules if module.shape[-1] % size)


def divisibility(survey: Survey, parameters: Parameters, rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """What does not divide, with the parameters that mend it; a note where a smaller group than usual is used."""
    pairs = assigned(survey, rules, parameters["ignore"])
    bad = tuple((module, scheme) for module, scheme in pairs if scheme.divisor and module.shape[-1] % scheme.divisor)
    chosen = parameters.get(GROUP_SIZE.name)
    if not bad:
        return _noted(pairs, chosen)
    modules = tuple(module for module, _ in bad)
    sized = tuple((module, scheme) for module, scheme in pairs if _takes_size(scheme, chosen))
    stuck = tuple(module for module, scheme in bad if not _takes_size(scheme, chosen))
    sizes = sorted({scheme.divisor for _, scheme in bad if scheme.divisor})
    listed = " or ".join(str(size) for size in sizes)
    later = any(_fails_later(scheme) for _, scheme in bad)
    outcome = "the artifact would be written and could not run" if later else "llmcompressor would refuse the job"
    why = f"Group size {listed} does not divide {_where(modules, len(pairs))}, so {outcome}."
    fix: dict[str, Json] = {}
    left = list(stuck)
    what = []
    if sized:
        candidates = tuple(module for module, _ in sized)
        best: int | str = largest_group(candidates)
        rest = undivided(candidates, int(best))
        if len(rest) == len(candidates):
            best, rest = "channel", ()
        fix[GROUP_SIZE.name] = best
        left += rest
        divides = "gives each row one scale" if best == "channel" else "divides them all"
        what.append(f"Use {best}, which {divides}." if not left else f"Use {best}.")
    if left:
        what.append(f"Leave {short_names(left)} alone, or choose another method.")
        fix["ignore"] = [*parameters["ignore"], *_patterns(left)]
    if len(left) == len(pairs):
        all_of_it = f"{why} That is all that would be compressed. FP8 dynamic takes any layer."
        return (_blocked(later, all_of_it, {"method": "fp8-dynamic"}),)
    return (_blocked(later, " ".join([why, *what]), fix),)


def _blocked(later: bool, message: str, fix: dict[str, Json] | None) -> Finding:
    code = "block-size" if later else "group-size"
    return Finding(code=code, severity=Severity.BLOCKS, message=message, fix=fix)


def _noted(pairs: tuple[tuple[SurveyedModule, Scheme], ...], chosen: Json) -> tuple[Finding, ...]:
    modules = tuple(module for module, scheme in pairs if _takes_size(scheme, chosen))
    unusual = undivided(modules, USUAL_GROUP)
    if chosen in (None, USUAL_GROUP) or not unusual:
        return ()
    return (
        Finding(
            code="group-size-chosen",
            severity=Severity.NOTES,
            message=f"Group size {chosen} is used instead of the usual {USUAL_GROUP}, because {USUAL_GROUP} does "
            f"not divide {_where(unusual, len(modules))}.",
        ),
    )


def _takes_size(scheme: Scheme, chosen: Json) -> bool:
    """Whether the parameter group_size decides over this scheme: integers in groups, or in rows instead."""
    if chosen is None or scheme.weights.type != "int":
        return False
    return scheme.weights.strategy is Strategy.GROUP or chosen == "channel"


def _fails_later(scheme: Scheme) -> bool:
    """Whether the groups are those of activations, which llmcompressor does not look at before it saves."""
    return scheme.weights.group_size is None


def _patterns(modules: Sequence[SurveyedModule]) -> list[Json]:
    return [f"re:.*{re.escape(name)}$" for name in dict.fromkeys(module.name.rpartition(".")[2] for module in modules)]


def _where(bad: tuple[SurveyedModule, ...], count: int) -> str:
    columns = " or ".join(f"{n:,}" for n in sorted({module.shape[-1] for module in bad})[:4])
    return f"{columns} columns in {len(bad):,} of {count:,} layers ({short_names(bad)})"
