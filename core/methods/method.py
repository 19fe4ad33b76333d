"""What a compression method is: its parameters, what it needs, and the modifiers it turns into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.methods.scheme import Rule, TensorScheme
from core.methods.schemes import FP8_KV_CACHE
from core.methods.smaller import Smaller
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
    RULES = "rules"
    """An object of pattern to the name of a scheme; see `core.methods.targets.assigned` for which one counts."""


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
    title: str = ""
    """The stage that it is, for a person: `Smooth activations`."""


@dataclass(frozen=True, slots=True)
class Source:
    """The paper or page that a method comes from."""

    title: str
    url: str


class Expected(Value):
    """What must be found in the files of the artifact; the proof holds it against them."""

    weight_bits: tuple[int, ...] = ()
    """Bits of quantized weights, each at least once; empty where no weights are quantized."""
    kv_cache_bits: int | None = None
    zeros: float | None = None
    """Share of zeros that pruned weights must reach."""
    mask: str = "0:0"
    """`2:4`: of every four weights in a row two are zero."""
    dropped_experts: float = 0.0
    """Share of each layer's experts that must be gone, 0 to 1; what goes is rounded down to whole experts."""
    smaller: Smaller = Smaller()
    """Blocks, channels and heads that must be gone."""

    plain: bool = False
    """Whether nothing is compressed any more: an artifact that was exported."""
    turned: bool = False
    """Whether weights were turned into another basis, so that no module holds the original's."""
    trained: bool = False
    """Whether weights were trained, so that none need be near the original's."""

    @property
    def comparable(self) -> bool:
        """Whether each module of the original's size has its weights, up to rounding and smoothing."""
        changed = self.zeros is not None or self.dropped_experts or self.turned or self.trained
        return bool(self.weight_bits) and not changed

    @property
    def unstated(self) -> bool:
        """Whether nothing at all is known of what was made, as for an artifact whose recipe is lost."""
        return self == Expected()


Parameters = Mapping[str, Json]


def _no_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return ()


def _no_zeros(parameters: Parameters) -> tuple[float, str] | None:
    return None


def _no_experts(parameters: Parameters) -> float:
    return 0.0


def _whole(parameters: Parameters) -> Smaller:
    return Smaller()


def kv_cache(parameters: Parameters) -> TensorScheme | None:
    """What becomes of keys and values, by the parameter `kv_cache` that most methods have: `none` or `fp8`."""
    return FP8_KV_CACHE if parameters.get("kv_cache") == "fp8" else None


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
    """The key of the hardware table."""
    weight_bits: int | None
    """None where weights stay 16 bits, or where layers differ."""
    activation_bits: int | None
    needs_calibration: bool
    """Whether it needs data as it is offered; see `calibrates`."""
    standing: Standing
    sources: tuple[Source, ...]
    parameters: tuple[Parameter, ...]
    modifiers: Callable[[Parameters], tuple[ModifierSpec, ...]]
    defaults: Callable[[Survey | None], dict[str, Json]]
    """Every parameter's default for a given model (group size that divides it, tied head ignored, ...)."""
    rules: Callable[[Parameters], tuple[Rule, ...]]
    """Which layers get which scheme. Empty where weights stay 16 bits."""
    checks: Callable[[Survey, Parameters], tuple[Finding, ...]] = _no_checks
    """What in this model stands in the way of this method alone: a group size that does not divide, ..."""

    published: tuple[str, ...] = ()
    """Sentences with the figures of its paper, each naming whose they are; none of them is ours."""
    requirements: tuple[str, ...] = ()
    """Plain sentences: what it needs of the model, the data and the machine; empty where it takes any model alone."""
    kl_bound: float = 1.0
    """Mean KL divergence in nats per token over which the proof calls the artifact another model."""
    from_file_to_file: bool = False
    """Whether it may go from file to file without building the model where it needs no data: see `streams`."""
    zeros: Callable[[Parameters], tuple[float, str] | None] = _no_zeros
    """Share of zeros and mask that pruning must leave, where the method prunes."""
    dropped_experts: Callable[[Parameters], float] = _no_experts
    """Share of each layer's experts that is taken out, 0 to 1; what goes is rounded down to whole experts."""
    smaller: Callable[[Parameters], Smaller] = _whole
    """Blocks, channels and heads that are taken out, so that a smaller dense model is left."""
    turns_weights: bool = False
    """Whether weights are turned into another basis, so that none is the original's any more."""
    trains_weights: bool = False
    """Whether weights are trained before they are rounded, so that none need be near the original's any more."""
    unties_head: bool = False
    """Whether an output layer that shared its weights with the embedding is stored on its own afterwards."""

    def calibrates(self, parameters: Parameters) -> bool:
        """Whether it needs data with these parameters: a KV cache, static activations and the importance matrix do."""
        return (
            (self.needs_calibration and parameters.get("sensitivity") != "none")
            or bool(parameters.get("compensation"))
            or kv_cache(parameters) is not None
            or parameters.get("algorithm") == "gptq"
            or any(rule.scheme.needs_data for rule in self.rules(parameters))
        )

    def streams(self, parameters: Parameters) -> bool:
        """Whether the worker may go from file to file, a shard in memory at a time."""
        return self.from_file_to_file and not self.calibrates(parameters)

    def expected(self, parameters: Parameters) -> Expected:
        """What the proof must find in the files."""
        cache = kv_cache(parameters)
        share, mask = self.zeros(parameters) or (None, "0:0")
        return Expected(
            weight_bits=tuple(sorted({rule.scheme.weights.num_bits for rule in self.rules(parameters)})),
            kv_cache_bits=None if cache is None else cache.num_bits,
            zeros=share,
            mask=mask,
            dropped_experts=self.dropped_experts(parameters),
            smaller=self.smaller(parameters),
            turned=self.turns_weights,
            trained=self.trains_weights,
        )

    def parameter(self, name: str) -> Parameter | None:
        return next((parameter for parameter in self.parameters if parameter.name == name), None)
