"""What a compression method is: its parameters, what it needs, and the modifiers it turns into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.models.survey import Survey
from core.plan.finding import Finding
from core.value import Json, Value


class Kind(StrEnum):
    """How a parameter is edited and checked."""

    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    PATTERNS = "patterns"
    """A list of module names or `re:` patterns."""


class Level(StrEnum):
    """Where the form shows a parameter."""

    SIMPLE = "simple"
    ADVANCED = "advanced"


class Standing(StrEnum):
    """What we think of an entry."""

    RECOMMENDED = "recommended"
    ADVANCED = "advanced"
    EXPERIMENTAL = "experimental"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a method, declared once for the form, the recipe document and the command line."""

    name: str
    title: str
    help: str
    kind: Kind
    default: Json
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Json, ...] = ()
    level: Level = Level.SIMPLE
    unit: str = ""


class ModifierSpec(Value):
    """One llmcompressor modifier as data: class name and keyword arguments (JSON values only)."""

    name: str
    arguments: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Source:
    """The paper or page that a method comes from."""

    title: str
    url: str


Parameters = Mapping[str, Json]


def _no_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Method:
    """A catalogue entry. Functions are pure; `modifiers` must give the same data for the same parameters."""

    id: str
    title: str
    summary: str
    """One line under the title: INT4 weights, group 64."""
    explanation: str
    """Two or three plain sentences: what it does, what it costs, when to choose it."""
    family: str
    scheme: str
    weight_bits: int
    activation_bits: int | None
    needs_calibration: bool
    standing: Standing
    sources: tuple[Source, ...]
    runs_in: tuple[str, ...]
    """Plain sentences: which engine and hardware run the artifact with real kernels."""
    minimum_capability: tuple[int, int] | None
    """Lowest CUDA compute capability with native kernels for the scheme; None where any GPU will do."""
    parameters: tuple[Parameter, ...]
    modifiers: Callable[[Parameters], tuple[ModifierSpec, ...]]
    defaults: Callable[[Survey | None], dict[str, Json]]
    """Every parameter's default for a given model (group size that divides it, tied head ignored, ...)."""
    stored_bits: Callable[[Parameters, int, int], float]
    """Bits per weight on disk, scales included, for a Linear of (rows, columns)."""
    pipeline: tuple[str, ...]
    """Titles of the compress stages in order, one per modifier: ("Smooth activations", "Calibrate and compress")."""
    checks: Callable[[Survey, Parameters], tuple[Finding, ...]] = _no_checks
    """What in this model stands in the way of this method alone: a group size that does not divide, ..."""

    def parameter(self, name: str) -> Parameter | None:
        return next((parameter for parameter in self.parameters if parameter.name == name), None)
