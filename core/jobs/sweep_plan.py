"""What a sweep is to do: methods and grids of their parameters as a list of entries, and how they are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.measure.gates import Gate
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.methods.catalogue import find
from core.methods.method import Kind, Method
from core.methods.nearest import did_you_mean
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.methods.resolve_recipe import parse_settings, setting_text
from core.plan.recovery_check import impossible
from core.value import Json, Received, Value

MOST_ENTRIES = 200
"""Grids multiply; nobody means more compressions than these."""


class SweepEntry(Value):
    """One compression of a sweep. `key` is unique in it, `label` is short and distinct."""

    key: str
    label: str
    method: str
    title: str
    parameters: dict[str, Json] = {}
    recovery: RecoverySpec | None = None
    """Training towards the original afterwards: a row of its own beside the one without."""


class SweepPlan(Received):
    """All that decides what a sweep finds; `model` is the original's path."""

    model: str
    model_name: str
    fingerprint: str | None = None
    """Of the original's config and weights: another model under the same path is another sweep."""
    entries: tuple[SweepEntry, ...]
    calibration: CalibrationSpec | None = None
    seed: int = 0
    fix: bool = False
    """Take over what mends a finding that blocks."""
    evaluation: EvaluationSuite = EvaluationSuite()
    benchmark: BenchmarkSuite | None = None
    gate: Gate
    gated: bool = False
    """Whether the gate was asked for, so that a script hears of it by the exit status."""

    def same_as(self, other: SweepPlan) -> bool:
        """Whether both would do the same."""
        return self.model_dump(mode="json") == other.model_dump(mode="json")


def entries_of(methods: Sequence[str], grid: Sequence[str]) -> tuple[SweepEntry, ...]:
    """Every method with every combination of its grid's values.

    A grid item is `group_size=32,64`, for all methods that have the parameter, or `gptq-w4a16:group_size=32,64` for
    one. Raises BitpressError `bad-setting`, `unknown-method`, `unknown-parameter` or `bad-parameter`.
    """
    chosen = list(dict.fromkeys(find(name).id for name in methods))
    if not chosen:
        raise BitpressError("bad-setting", "No method is named.", "Name some of `bitpress methods`, with commas.")
    axes: dict[str, dict[str, list[Json]]] = {method: {} for method in chosen}
    for item in grid:
        _add_axis(item, axes)
    found = tuple(entry for method in chosen for entry in _combined(find(method), axes[method]))
    if len(found) > MOST_ENTRIES:
        raise BitpressError(
            "bad-setting",
            f"These grids make {len(found)} compressions, and a sweep has at most {MOST_ENTRIES}.",
            "Give fewer values.",
        )
    return found


def entry_of(method: Method, parameters: Mapping[str, Json]) -> SweepEntry:
    """A method with what is set for it as an entry; the defaults stay open until the model is known."""
    words = [setting_text(name, value) for name, value in parameters.items()]
    return SweepEntry(
        key=":".join([method.id, *words]),
        label=", ".join([method.title, *(word.replace("_", " ").replace("=", " ") for word in words)]),
        method=method.id,
        title=method.title,
        parameters=dict(parameters),
    )


def also_recovered(
    entries: Sequence[SweepEntry], spec: RecoverySpec, methods: Sequence[str] = ()
) -> tuple[SweepEntry, ...]:
    """Every entry, and after it the same with recovery; with `methods` only theirs.

    A method whose result cannot be trained has no second row, unless it is named: then the row says why. Raises
    BitpressError `unknown-method`, and `bad-setting` for one that is not in this sweep.
    """
    named = [find(name).id for name in methods]
    missing = next((name for name in named if all(entry.method != name for entry in entries)), None)
    if missing is not None:
        raise BitpressError("bad-setting", f"{missing} is not in this sweep.", f"Add {missing} to --methods.")
    found: list[SweepEntry] = []
    for entry in entries:
        found.append(entry)
        if entry.method in named or (not named and why_not_recovered(entry) is None):
            found.append(_recovered(entry, spec))
    return tuple(found)


def why_not_recovered(entry: SweepEntry) -> str | None:
    """Why what this entry makes cannot be trained, as far as that is known without a model; None where it can."""
    method = find(entry.method)
    complete = {**method.defaults(None), **entry.parameters}
    return impossible(method, Recipe(method=method.id, parameters=complete))


def _recovered(entry: SweepEntry, spec: RecoverySpec) -> SweepEntry:
    return entry.model_copy(
        update={"key": f"{entry.key}:recover", "label": f"{entry.label}, recovered", "recovery": spec}
    )


def _add_axis(item: str, axes: dict[str, dict[str, list[Json]]]) -> None:
    left, separator, right = item.partition("=")
    named, _, name = left.rpartition(":")
    name, named = name.strip(), named.strip()
    values = [value.strip() for value in right.split(",") if value.strip()]
    if not separator or not name or not values:
        raise BitpressError(
            "bad-setting",
            f"{item!r} is no grid.",
            "Write --grid NAME=VALUE,VALUE or --grid METHOD:NAME=VALUE,VALUE, for example --grid group_size=32,64.",
        )
    if named:
        method = find(named).id
        if method not in axes:
            raise BitpressError(
                "bad-setting", f"The grid is for {method}, which is not in this sweep.", f"Add {method} to --methods."
            )
        takers = [method]
    else:
        takers = [method for method in axes if find(method).parameter(name) is not None]
        if not takers:
            known = sorted({parameter.name for method in axes for parameter in find(method).parameters})
            raise BitpressError(
                "unknown-parameter", f"None of these methods has {name}.", did_you_mean(name, known) or "Leave it out."
            )
    for method in takers:
        if name in axes[method]:
            raise BitpressError("bad-setting", f"{name} of {method} is given twice.", "Give all its values at once.")
        axes[method][name] = _values(find(method), name, values)


def _values(method: Method, name: str, texts: Sequence[str]) -> list[Json]:
    parameter = method.parameter(name)
    if parameter is not None and parameter.kind in (Kind.PATTERNS, Kind.RULES):
        raise BitpressError(
            "bad-setting",
            f"{name} is a list itself, so a grid cannot go over it.",
            "Compress with --set for each, and evaluate the results together.",
        )
    found: list[Json] = []
    for text in texts:
        value = parse_settings([f"{name}={text}"], method)[name]
        if value not in found:
            found.append(value)
    return found


def _combined(method: Method, axes: dict[str, list[Json]]) -> list[SweepEntry]:
    return [entry_of(method, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
