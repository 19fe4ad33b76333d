"""Which method suits a goal on this hardware, and why; what others published is named as theirs, with the source.

The order: what runs here with kernels of its own, then what runs with its weights alone compressed, then what is not
documented, then experiments and baselines, and last what does not run. Within each, the scheme decides by the goal
(Kurtic et al. 2025: W4A16 for one request at a time, 8-bit weights and activations for full load; llm-compressor's
docs/steps/choosing-scheme.md by GPU), then the algorithm, then the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.methods.method import Method, Parameters, Standing
from core.methods.modifier_modules import STRUCTURED, TRAINING
from core.plan.hardware import SUPPORT, Capability, Runs, needs_loader, on_processor, runs_natively, support
from core.plan.machine import Machine
from core.plan.method_plan import Goal
from core.plan.published import (
    GPTQ_AGAINST_AWQ,
    KV_CACHE_ON_L4,
    RETRIEVAL_70B,
    cost_sentence,
    load_sentence,
    recovery_sentence,
)


class Algorithm(StrEnum):
    """How a method finds the rounded weights."""

    ROUNDING = "rounding"
    GPTQ = "gptq"
    AWQ = "awq"
    AUTOROUND = "autoround"
    TRAINED = "training"
    SMOOTHED_GPTQ = "smoothquant and gptq"
    SMOOTHED = "smoothquant"
    ROTATED = "rotation"
    PRUNED = "pruning"


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where the artifact is to run: a processor, or a GPU of a capability that may be unknown."""

    processor: bool
    capability: Capability | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A method's place for a goal, 0 the best; the reason in sentences, who measured what, and a short tag."""

    place: int
    reason: str
    source: str
    tag: str

    @property
    def text(self) -> str:
        """Reason and source together."""
        return f"{self.reason} {self.source}".strip()


BASELINES = frozenset({"W3A16", "W2A16"})
"""Shown to know how far weights can be rounded; never the advice."""

_CHAT = (
    *("W4A16", "NVFP4A16", "MXFP4A16", "NVFP4", "MXFP4", "FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W8A8"),
    *("W4AFP8", "W8A16", "MXFP8", "MXFP8A16", "MIXED", "KV_FP8", "PRUNED", "SPARSE"),
)
_CHAT_BEFORE_BLACKWELL = (
    *("W4A16", "FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W8A8", "W4AFP8", "NVFP4A16", "MXFP4A16", "W8A16"),
    *("NVFP4", "MXFP4", "MXFP8", "MXFP8A16", "MIXED", "KV_FP8", "PRUNED", "SPARSE"),
)
_BATCH = (
    *("FP8_DYNAMIC", "FP8", "FP8_BLOCK", "NVFP4", "MXFP8", "MXFP4", "W8A8", "W4AFP8", "W4A16", "NVFP4A16"),
    *("MXFP4A16", "W8A16", "MXFP8A16", "MIXED", "KV_FP8", "PRUNED", "SPARSE"),
)
_FAITHFUL = (
    *("W8A16", "FP8_DYNAMIC", "W8A8", "FP8", "FP8_BLOCK", "MXFP8A16", "MXFP8", "KV_FP8", "MIXED", "W4A16"),
    *("NVFP4A16", "NVFP4", "MXFP4A16", "W4AFP8", "MXFP4", "PRUNED", "SPARSE"),
)

_ALGORITHMS: Mapping[str, tuple[Algorithm, ...]] = {
    "W8A8": (Algorithm.SMOOTHED_GPTQ, Algorithm.GPTQ, Algorithm.SMOOTHED, Algorithm.ROUNDING),
    "W3A16": (Algorithm.AUTOROUND, Algorithm.GPTQ, Algorithm.AWQ, Algorithm.ROUNDING),
    "W2A16": (Algorithm.AUTOROUND, Algorithm.GPTQ, Algorithm.AWQ, Algorithm.ROUNDING),
}
_USUAL_ALGORITHMS = (
    *(Algorithm.GPTQ, Algorithm.AWQ, Algorithm.AUTOROUND, Algorithm.TRAINED, Algorithm.ROUNDING, Algorithm.ROTATED),
)

_OURS = "Ours, one run each on a 135M model"

_GOAL_REASONS: Mapping[tuple[Goal, str], str] = {
    (Goal.CHAT, "W4A16"): "At low load an answer waits for weights to be read, and four bits are the fewest to read.",
    (Goal.CHAT, "NVFP4A16"): "Four bits a weight to read for each token, with a scale for every 16 weights.",
    (Goal.CHAT, "MXFP4A16"): "Four bits a weight to read for each token, with scales that are powers of two.",
    (Goal.CHAT, "NVFP4"): "Four bits a weight to read for each token; at low load 4-bit arithmetic helps little.",
    (Goal.CHAT, "MXFP4"): "Four bits a weight to read for each token; at low load 4-bit arithmetic helps little.",
    (Goal.CHAT, "W4AFP8"): "It stores a byte a weight, so an answer waits as long for its weights as with 8 bits.",
    (Goal.BATCH, "W4A16"): "It leaves the most memory for requests, but the arithmetic stays in 16 bits.",
    (Goal.BATCH, "NVFP4"): "At full load arithmetic is the limit, and this GPU's FP4 is its fastest; it loses more "
    "than 8 bits.",
    (Goal.BATCH, "MXFP4"): "At full load arithmetic is the limit, and this GPU's FP4 is its fastest; it loses the most "
    "of the 4-bit formats.",
    (Goal.BATCH, "KV_FP8"): "Twice the tokens in the same cache, so more requests at once; the weights stay as they "
    "are.",
    (Goal.FAITHFUL, "W8A16"): "Eight bits in groups, and activations stay as they are: the least that can be changed.",
    (Goal.FAITHFUL, "FP8_DYNAMIC"): "Eight bits with a wide range lose almost nothing, and no calibration data can "
    "pull the model to one side.",
    (Goal.FAITHFUL, "W8A8"): "Eight bits for weights and activations, with errors corrected by calibration where the "
    "method does so.",
    (Goal.FAITHFUL, "KV_FP8"): "The weights stay as they are; keys and values are rounded to 8 bits.",
}

_EIGHT_BITS = frozenset({"FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W8A8", "W8A16", "MXFP8", "MXFP8A16"})
_SCHEME_REASONS: Mapping[str, str] = {
    "W3A16": "A baseline: it shows how far weights can be rounded, and is no advice.",
    "W2A16": "A baseline: it shows how far weights can be rounded, and is no advice.",
    "SPARSE": "Zeros alone save no byte and no time; it is for research.",
    "PRUNED": "It removes the parts that matter least by its measure; what they knew is gone.",
    "KV_FP8": "It halves the KV cache and nothing else: the weights stay as large as they are.",
    "W4A16_BINARY": "Levels of each row's own in four bits; only this application and transformers run it.",
    "W3A16_BINARY": "Levels of each row's own in three bits; only this application and transformers run it.",
    "W2A16_BINARY": "Levels of each row's own in two bits; only this application and transformers run it.",
    "W4A16_TABLE": "Values of each row's own in four bits; only this application and transformers run it.",
    "W3A16_TABLE": "Values of each row's own in three bits; only this application and transformers run it.",
    "W2A16_TABLE": "Values of each row's own in two bits; only this application and transformers run it.",
    "MIXED": "Each kind of layer gets a scheme of its own, between those of its parts.",
    "W4AFP8": "It stores a byte a weight: no smaller than 8 bits.",
}

_OUR_FIDELITY: Mapping[tuple[str, Algorithm], str] = {
    ("W8A16", Algorithm.ROUNDING): "mean KL divergence 0.0036 against the original",
    ("W8A8", Algorithm.SMOOTHED_GPTQ): "mean KL divergence 0.014 against the original",
    ("W8A8", Algorithm.ROUNDING): "mean KL divergence 0.030 against the original",
    ("FP8_DYNAMIC", Algorithm.ROUNDING): "mean KL divergence 0.030 against the original",
    ("FP8", Algorithm.ROUNDING): "mean KL divergence 0.033 against the original",
    ("KV_FP8", Algorithm.ROUNDING): "mean KL divergence 0.012 against the original",
    ("NVFP4A16", Algorithm.ROUNDING): "mean KL divergence 0.213 against the original",
    ("NVFP4", Algorithm.ROUNDING): "mean KL divergence 0.398 against the original",
    ("MXFP4A16", Algorithm.ROUNDING): "mean KL divergence 0.430 against the original",
    ("MXFP4", Algorithm.ROUNDING): "mean KL divergence 1.075 against the original; it wrote incoherent text",
    ("W4AFP8", Algorithm.ROUNDING): "mean KL divergence 0.454 against the original",
    ("W4A16", Algorithm.GPTQ): "mean KL divergence 0.140 with GPTQ and 0.443 with rounding",
    ("W4A16", Algorithm.AWQ): "mean KL divergence 0.138 with asymmetric AWQ and 0.140 with GPTQ",
    ("W4A16", Algorithm.ROUNDING): "mean KL divergence 0.443 with rounding and 0.140 with GPTQ",
    ("W3A16_BINARY", Algorithm.GPTQ): "mean KL divergence 0.539, and 1.894 with GPTQ and one scale a row",
    ("W4A16", Algorithm.ROTATED): "mean KL divergence 0.798 with rotation and rounding, 0.443 with rounding alone",
}
"""What we measured ourselves: SmolLM2-135M-Instruct, 2,048 held-out tokens, group size 64 where there is one."""

_ALGORITHM_REASONS: Mapping[tuple[str, Algorithm], str] = {
    ("W4A16", Algorithm.GPTQ): "GPTQ corrects the errors of rounding, which matters at four bits.",
    ("W4A16", Algorithm.AWQ): "AWQ scales the channels that matter before rounding; it comes close to GPTQ.",
    ("W4A16", Algorithm.AUTOROUND): "AutoRound learns the rounding, which takes the longest; where there is time.",
    ("W4A16", Algorithm.TRAINED): "Its weights are trained to be rounded: for small models, with text and time.",
    ("W4A16", Algorithm.ROUNDING): "Plain rounding takes seconds, and loses the most at four bits.",
    ("W8A8", Algorithm.SMOOTHED_GPTQ): "Outliers are smoothed away and errors corrected by calibration.",
    ("W8A8", Algorithm.ROUNDING): "Plain rounding takes seconds; calibration would lose less.",
    ("W3A16", Algorithm.AUTOROUND): "llm-compressor's documentation sees a clear advantage of AutoRound below 4 bits.",
    ("W2A16", Algorithm.AUTOROUND): "llm-compressor's documentation sees a clear advantage of AutoRound below 4 bits.",
}

_ON_PROCESSOR: Mapping[str, str] = {
    "W8A8": "vLLM runs INT8 on processors. Ours: 32.3 tokens per second against BF16's 24.3 with one request at a time "
    "(135M model, two cores, vLLM 0.32.0, one run).",
    "W4A16": "vLLM runs INT4 weights on processors; the gain is memory. Ours: 25.9 tokens per second with GPTQ against "
    "BF16's 24.3 with one request at a time, which is inside the noise (135M model, two cores, vLLM 0.32.0, one run).",
    "W8A16": "vLLM's processor build has no kernel for it. Ours: it stopped with an error (135M model, vLLM 0.32.0, "
    "one try).",
    "FP8_DYNAMIC": "Processors have no FP8 arithmetic: make it here for a GPU elsewhere. Ours: vLLM gave no answer in "
    "150 seconds (135M model, vLLM 0.32.0, one try).",
}
_STAYS_16 = "It saves memory, but at full load arithmetic is the limit, and that stays in 16 bits."
_ELSEWHERE = "There is no NVIDIA GPU here: make it for one elsewhere."


def hardware_of(machine: Machine) -> Hardware:
    """The first GPU, else the processor."""
    return Hardware(processor=False, capability=machine.gpus[0].capability) if machine.gpus else Hardware(True)


def algorithm_of(method: Method) -> Algorithm:
    """How the method finds its weights, by the modifiers that it turns into."""
    names = {modifier.name for modifier in method.modifiers(method.defaults(None))}
    if names & {"SpinQuantModifier", "QuIPModifier"}:
        return Algorithm.ROTATED
    if names & ({"SparseGPTModifier", "WandaPruningModifier", "REAPPruningModifier"} | STRUCTURED):
        return Algorithm.PRUNED
    if TRAINING in names:
        return Algorithm.TRAINED
    if "SmoothQuantModifier" in names:
        return Algorithm.SMOOTHED_GPTQ if "GPTQModifier" in names else Algorithm.SMOOTHED
    for name, algorithm in (
        ("AutoRoundModifier", Algorithm.AUTOROUND),
        ("AWQModifier", Algorithm.AWQ),
        ("GPTQModifier", Algorithm.GPTQ),
        ("GPTQTModifier", Algorithm.GPTQ),
    ):
        if name in names:
            return algorithm
    return Algorithm.ROUNDING


def advise(
    goal: Goal, methods: Sequence[tuple[Method, int]], machine: Machine, parameters: int | None = None
) -> dict[str, Advice]:
    """Advice by method id for this machine; see `ranked`."""
    return ranked(goal, methods, hardware_of(machine), parameters)


def ranked(
    goal: Goal, methods: Sequence[tuple[Method, int]], hardware: Hardware, parameters: int | None = None
) -> dict[str, Advice]:
    """Advice by method id, the best first.

    `methods` come with the bytes of their artifact, which decide what is smallest; `parameters` is the model's size,
    by which published figures are chosen.
    """
    ordered = sorted(methods, key=lambda pair: _key(goal, pair[0], pair[1], hardware))
    return {
        method.id: Advice(
            place=place,
            reason=_reason(goal, method, hardware),
            source=_source(goal, method, hardware, parameters),
            tag=_tag(method, hardware),
        )
        for place, (method, _) in enumerate(ordered)
    }


def parts_of(method: Method, parameters: Parameters | None = None) -> tuple[str, ...]:
    """The schemes of the layers where they are not simply the method's: of a mixed one, or of what follows pruning."""
    rules = method.rules(method.defaults(None) if parameters is None else parameters)
    found = tuple(dict.fromkeys(rule.scheme.name for rule in rules))
    return () if found == (method.scheme,) else found


def method_runs(method: Method, hardware: Hardware) -> Runs:
    """How vLLM takes what a method makes: a mixed model as the worst of its layers."""
    parts = parts_of(method)
    if not parts:
        return runs_there(method.scheme, hardware)
    return max((runs_there(part, hardware) for part in parts), key=list(Runs).index)


def runs_there(scheme: str, hardware: Hardware) -> Runs:
    """How vLLM takes a scheme on this hardware; a GPU of unknown capability is given the benefit of the doubt."""
    if hardware.processor:
        return on_processor(scheme)
    if hardware.capability is None:
        return Runs.NO if needs_loader(scheme) else Runs.NATIVE
    return support(scheme, hardware.capability)


def _key(goal: Goal, method: Method, size: int, hardware: Hardware) -> tuple[float, ...]:
    scheme = _index(_scheme_order(goal, hardware), method.scheme)
    algorithm = _index(_ALGORITHMS.get(method.scheme, _USUAL_ALGORITHMS), algorithm_of(method))
    if goal is Goal.SMALLEST:
        # Schemes of the same width differ by nothing but scales and headers: then the more faithful goes first.
        size = round(size, -6)
        return (_tier(method, hardware), _no_smaller(method), size, _index(_FAITHFUL, method.scheme), algorithm)
    return (_tier(method, hardware), scheme, algorithm, size)


def _tier(method: Method, hardware: Hardware) -> int:
    runs = method_runs(method, hardware)
    if runs is Runs.NO:
        return 4
    if method.standing is Standing.EXPERIMENTAL or method.scheme in BASELINES:
        return 3
    return (Runs.NATIVE, Runs.WEIGHT_ONLY, Runs.UNDOCUMENTED).index(runs)


def _no_smaller(method: Method) -> bool:
    return method.scheme in ("KV_FP8", "SPARSE")


def _scheme_order(goal: Goal, hardware: Hardware) -> tuple[str, ...]:
    match goal:
        case Goal.CHAT if hardware.processor:
            return ("W8A8", *_CHAT)
        case Goal.CHAT:
            blackwell = hardware.capability is not None and hardware.capability >= (10, 0)
            return _CHAT if blackwell else _CHAT_BEFORE_BLACKWELL
        case Goal.BATCH if hardware.processor:
            return ("W8A8", "W4A16", *_BATCH)
        case Goal.BATCH:
            return _BATCH
        case _:
            return _FAITHFUL


def _index(order: Sequence[str], item: str) -> int:
    return order.index(item) if item in order else len(order)


def _reason(goal: Goal, method: Method, hardware: Hardware) -> str:
    runs = method_runs(method, hardware)
    parts = [_mixed_where(method, hardware, runs) or _where(method.scheme, hardware, runs)]
    if hardware.processor and goal in (Goal.CHAT, Goal.BATCH) and method.scheme in _ON_PROCESSOR:
        pass
    elif goal is Goal.BATCH and runs is Runs.WEIGHT_ONLY and method.scheme != "SPARSE":
        parts.append(_STAYS_16)
    elif runs is not Runs.NO:
        parts.append(_why_scheme(goal, method))
    parts.append(_ALGORITHM_REASONS.get((method.scheme, algorithm_of(method)), ""))
    if method.standing is Standing.EXPERIMENTAL:
        parts.append("It is experimental.")
    return " ".join(part for part in parts if part)


def _mixed_where(method: Method, hardware: Hardware, runs: Runs) -> str:
    """What there is to say of a mixed method's layers: of the scheme that runs worst."""
    schemes = parts_of(method)
    worst = next((part for part in schemes if runs_there(part, hardware) is runs), None)
    if worst is None:
        return ""
    return f"Its layers are {' and '.join(schemes)}. {_where(worst, hardware, runs)}".strip()


def _where(scheme: str, hardware: Hardware, runs: Runs) -> str:
    """What there is to say of this hardware; nothing where it runs the scheme natively."""
    if needs_loader(scheme):
        return runs_natively(scheme, hardware.capability)[1]
    if not hardware.processor:
        return "" if hardware.capability is None else _unless_native(runs_natively(scheme, hardware.capability))
    if scheme in _ON_PROCESSOR:
        return _ON_PROCESSOR[scheme]
    if runs is Runs.NO:
        return f"{SUPPORT[scheme].on_processor} {_ELSEWHERE}"
    return _ELSEWHERE if runs is Runs.UNDOCUMENTED else ""


def _unless_native(found: tuple[bool, str]) -> str:
    native, sentence = found
    return "" if native else sentence


def _why_scheme(goal: Goal, method: Method) -> str:
    scheme = method.scheme
    if found := _GOAL_REASONS.get((goal, scheme)) or _SCHEME_REASONS.get(scheme):
        return found
    if goal is Goal.SMALLEST:
        return "About half of the original." if scheme in _EIGHT_BITS else "About a quarter of the original's weights."
    if goal is Goal.CHAT and scheme in _EIGHT_BITS:
        return "Half the weights to read for each token."
    if goal is Goal.BATCH and scheme in ("W8A16", "MXFP8A16", "NVFP4A16", "MXFP4A16"):
        return _STAYS_16
    if goal is Goal.BATCH and scheme in _EIGHT_BITS:
        return "At full load arithmetic is the limit, and 8 bits halve it."
    if goal is Goal.FAITHFUL and scheme in _EIGHT_BITS:
        return "Eight bits lose little."
    return "Four bits lose more than eight." if goal is Goal.FAITHFUL else method.explanation


def _source(goal: Goal, method: Method, hardware: Hardware, parameters: int | None) -> str:
    """Who measured what, on what: published figures first, then ours; empty where nobody did."""
    scheme, algorithm = method.scheme, algorithm_of(method)
    ours = _OUR_FIDELITY.get((scheme, algorithm), "")
    ours = f"{_OURS}: {ours}." if ours else ""
    if scheme == "KV_FP8" and goal is not Goal.FAITHFUL:
        return ours if hardware.processor else KV_CACHE_ON_L4
    if algorithm in (Algorithm.ROTATED, Algorithm.PRUNED):
        return ours
    if goal in (Goal.FAITHFUL, Goal.SMALLEST):
        against = GPTQ_AGAINST_AWQ if (scheme, algorithm) == ("W4A16", Algorithm.AWQ) else ""
        return " ".join(part for part in (recovery_sentence(scheme, parameters), against, ours) if part)
    if hardware.processor or method_runs(method, hardware) is not Runs.NATIVE:
        return ours
    if goal is Goal.BATCH:
        return load_sentence(scheme, parameters, hardware.capability) or ours
    found = cost_sentence(scheme, parameters, hardware.capability) or ours
    large = parameters is not None and 20_000_000_000 <= parameters <= 200_000_000_000
    return f"{found} {RETRIEVAL_70B}" if large and scheme in ("W4A16", "W8A8") else found


def _tag(method: Method, hardware: Hardware) -> str:
    match method_runs(method, hardware):
        case Runs.NATIVE:
            return ""
        case Runs.WEIGHT_ONLY:
            return "weight-only here" if method.scheme != "SPARSE" else "no gain"
        case Runs.UNDOCUMENTED:
            return "for a GPU elsewhere" if hardware.processor else "not documented here"
        case Runs.NO:
            return "not on processors" if hardware.processor else "not on this GPU"
