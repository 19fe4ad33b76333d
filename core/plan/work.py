"""Seconds from arithmetic: how much a job computes, reads and writes, at which speed.

The speeds are round figures from measured runs of SmolLM2-135M on two quiet processor cores with 7,680 calibration
tokens (FP8 2 s; static FP8 9, NVFP4 12, Wanda 15, GPTQ 37, SmoothQuant with GPTQ 54, SparseGPT 44 without a mask and 76
with 2:4, AWQ 126, SpinQuant 6; 128 self-made answers 90) and, for GPUs, from published ones (Llama-3-8B GPTQ 745 s on
one GPU, llm-compressor's distributed_oneshot.md; AutoRound 19 min for 8B on an A100, auto-round's step_by_step.md).
They are a first guess with a wide range; this machine's own runs correct it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from core.calibration.spec import CalibrationSpec
from core.methods.gptqt import CODEBOOKS
from core.methods.method import Method, Parameters
from core.plan.sizes import Shape
from core.value import Json

ANSWER_TOKENS = 170
"""Tokens that a prompt and its answer have in the middle (measured over 128 samples); answers end at 128."""

ANSWER_BATCH = 32

_PROOF_TOKENS = 200

SKIPPED_LONGEST = 256
"""Tokens of one text on which blocks are skipped: core.worker.structured.skipping's LONGEST."""


Arguments = Mapping[str, Json]
"""A modifier's."""


@dataclass(frozen=True, slots=True)
class Data:
    """Calibration data in numbers; nothing but zeros where there is none."""

    tokens: int = 0
    samples: int = 0
    longest: int = 0
    """Tokens of the longest sample."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a device does each kind of work; `per_*` in seconds, rates per second."""

    forward: float
    """Floating point operations of a forward pass over calibration batches."""
    hessian: float
    """Floating point operations in 32 bits: Hessians and GPTQ's corrections."""
    gradient: float
    """Floating point operations of AutoRound's steps, forward and back."""
    per_block: float
    """Set-up of AutoRound for one layer."""
    per_column: float
    """Set-up of one column in GPTQ's loop."""
    per_call: float
    """Set-up of one layer's forward pass of one sample."""
    rounding: float
    """Elements rounded and packed."""
    load: float
    """Bytes of weights read and placed."""
    save: float
    """Bytes of artifact written."""
    bandwidth: float
    """Bytes of weights read to generate one token."""
    per_token: float
    """Least time for one generated token."""
    per_answer: float
    """One self-made answer, times the model's elements; 0 where the bandwidth decides."""
    start: float
    """Process and imports."""


def processor_speed(cores: int) -> Speed:
    """Two cores measured; more help less than in proportion, and hardly beyond 64."""
    factor = (min(max(cores, 1), 64) / 2) ** 0.8
    return Speed(
        forward=0.36e12 * factor,
        hessian=0.15e12 * factor,
        gradient=0.1e12 * factor,
        per_block=1.0,
        per_column=80e-6,
        per_call=0.5e-3,
        rounding=1.8e8 * factor**0.5,
        load=400e6,
        save=160e6,
        bandwidth=7e9 * factor,
        per_token=5e-3,
        per_answer=5.2e-9 / factor,
        start=6.0,
    )


def gpu_speed() -> Speed:
    """A data centre GPU of the A100's and H100's class; others lie in the range around it."""
    return Speed(
        forward=120e12,
        hessian=50e12,
        gradient=80e12,
        per_block=1.0,
        per_column=10e-6,
        per_call=1.5e-3,
        rounding=4e8,
        load=800e6,
        save=400e6,
        bandwidth=1e12,
        per_token=25e-3,
        per_answer=0.0,
        start=10.0,
    )


def expected_tokens(calibration: CalibrationSpec | None) -> int:
    """Calibration tokens to expect: chat samples are short, documents mostly fill their length."""
    if calibration is None:
        return 0
    chats = calibration.chat_samples
    documents = ceil((calibration.samples - chats) * calibration.max_length * 0.7)
    return chats * min(calibration.max_length, ANSWER_TOKENS) + documents


def expected_data(calibration: CalibrationSpec | None) -> Data:
    """The calibration data of a job that has not run."""
    if calibration is None:
        return Data()
    longest = calibration.max_length
    if calibration.chat_samples == calibration.samples:
        longest = min(longest, 2 * ANSWER_TOKENS)
    return Data(expected_tokens(calibration), calibration.samples, longest)


def compress_seconds(method: Method, parameters: Parameters, shape: Shape, data: Data, speed: Speed) -> float:
    """Seconds that the method's modifiers take, load and save apart.

    Every modifier that needs data has a pass over it of its own (llmcompressor's independent pipeline).
    """
    seconds = 0.0
    for modifier in method.modifiers(parameters):
        seconds += _COSTS.get(modifier.name, _gptq)(modifier.arguments, shape, data, speed)
    observer = parameters.get("observer")
    if observer in ("mse", "imatrix"):
        # Up to 20 narrower ranges are tried for every weight.
        seconds += 15 * shape.compressed_elements / speed.rounding
    return seconds


def answer_seconds(calibration: CalibrationSpec | None, shape: Shape, weights: int, speed: Speed) -> float:
    """Seconds to let the model answer the built-in prompts; 0 for other data."""
    if calibration is None or not calibration.has_self_chat:
        return 0.0
    if speed.per_answer:
        return calibration.chat_samples * shape.elements * speed.per_answer
    steps = ceil(calibration.chat_samples / ANSWER_BATCH) * ANSWER_TOKENS
    return steps * max(speed.per_token, weights / speed.bandwidth)


def fixed_seconds(weights: int, artifact: int, speed: Speed) -> float:
    """Seconds for what every job does: start, load, save, and the proof in a second process."""
    token = max(speed.per_token, weights / speed.bandwidth)
    proof = speed.start + (weights + artifact) / speed.load + 3 * _PROOF_TOKENS * token
    return speed.start + weights / speed.load + artifact / speed.save + proof


def _two_passes(shape: Shape, data: Data, speed: Speed) -> float:
    """The sequential pipeline runs every layer twice: to calibrate, then to pass on what the changed layer gives."""
    operations = 2 * 2 * shape.linear_elements * data.tokens
    return operations / speed.forward + 2 * data.samples * shape.layers * speed.per_call


def _smoothing(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    return _two_passes(shape, data, speed)


def _rounding(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """To the nearest value; with a pass over the data where activations or the KV cache get static scales."""
    passes = _two_passes(shape, data, speed) if data.tokens and _looks_at_data(arguments) else 0.0
    return passes + shape.compressed_elements / speed.rounding


def _gptq(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    hessian = sum(2 * columns**2 * data.tokens for _, columns in shape.compressed)
    update = sum(2 * rows * columns**2 + columns**3 for rows, columns in shape.compressed)
    columns = sum(columns for _, columns in shape.compressed)
    return (
        _two_passes(shape, data, speed)
        + (hessian + update) / speed.hessian
        + columns * speed.per_column
        + shape.compressed_elements / speed.rounding
    )


def _gptqt(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """GPTQ's arithmetic, and the error of every set of levels at every scale for every row, from sorted weights.

    Fitted to processor time on one core, SmolLM2-135M and 10,127 tokens: GPTQ 84 s, GPTQT to 3 bits 97 s with 4
    intermediate bits and 134 s with 5.
    """
    grid = int(arguments["grid_bits"])
    tried = int(arguments["shrink_steps"]) * CODEBOOKS[grid, int(arguments["bits"])]
    errors = tried * sum(rows for rows, _ in shape.compressed)
    # A product of matrices over the sums of each half step of the grid, and the least of what it gives.
    search = errors * (8 * (1 << grid) / speed.hessian + 0.2 / speed.rounding)
    return _gptq(arguments, shape, data, speed) + search + 15 * shape.compressed_elements / speed.rounding


def _squeezellm(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """Clusters in sorted rows; before that gradients, each layer forward twice, or a pass that looks at activations.

    Compensated as GPTQ is, and then fitted: three times the table, for which every value of it goes through the
    Hessian, and twice the indices.
    """
    seconds = 40 * shape.compressed_elements / speed.rounding
    if arguments.get("sensitivity") == "fisher":
        operations = 3 * 2 * (shape.linear_elements + shape.vocabulary * shape.hidden) * data.tokens
        seconds += operations / speed.gradient
        seconds += 2 * shape.compressed_elements * data.tokens / speed.hessian
    if arguments.get("compensation"):
        through = sum(rows * columns**2 for rows, columns in shape.compressed)
        values = 1 << int(arguments["bits"])
        return seconds + _gptq(arguments, shape, data, speed) + (3 * 2 * values + 2 * 4) * through / speed.hessian
    return seconds + (_two_passes(shape, data, speed) if arguments.get("sensitivity") == "activation" else 0.0)


def _sparsegpt(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """GPTQ's arithmetic, and a mask chosen block by block; 2:4 chooses it for every four columns."""
    factor = 1.9 if arguments.get("mask_structure") == "2:4" else 1.1
    return factor * _gptq(arguments, shape.pruned, data, speed)


def _wanda(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """Each row's weights are sorted by their size times their input's."""
    return _two_passes(shape, data, speed) + 8 * shape.linear_elements / speed.rounding


def _awq(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """Each candidate scale rounds the weights and runs the layer's halves over all samples once more."""
    tries = int(arguments.get("n_grid") or 20) * (2 if arguments.get("duo_scaling") == "both" else 1)
    again = 2 * shape.linear_elements * data.tokens / speed.forward + data.samples * shape.layers * speed.per_call
    return _two_passes(shape, data, speed) + tries * (again + shape.linear_elements / speed.rounding)


def _autoround(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """Each step takes a batch forward and back, with every weight of the layer rounded differentiably.

    Samples are padded to the longest.
    """
    steps = int(arguments.get("iters") or 200)
    batch = min(int(arguments.get("batch_size") or 8), max(data.samples, 1))
    step = 3 * 2 * shape.compressed_elements * batch * data.longest / speed.gradient
    step += 12 * shape.compressed_elements / speed.rounding + shape.layers * 20 * speed.per_call
    passes = 2 * 2 * shape.compressed_elements * data.samples * data.longest / speed.forward
    return _two_passes(shape, data, speed) + passes + steps * step + shape.layers * speed.per_block


def step_seconds(shape: Shape, tokens: int, speed: Speed) -> float:
    """Seconds of one training step: every layer forward twice and back once, each time rounded anew, and the logits."""
    operations = 8 * (shape.linear_elements + shape.vocabulary * shape.hidden) * tokens
    return operations / speed.gradient + 6 * shape.compressed_elements / speed.rounding + shape.layers * speed.per_call


def _trained(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """The original's pass, the training as far as its minutes go, and what is judged before and after."""
    if not data.tokens:
        return 0.0
    size = int(arguments.get("batch_size") or 1)
    tokens = 0.75 * data.tokens
    steps = int(arguments.get("passes") or 1) * max(ceil(0.75 * data.samples / size), 1)
    per_step = step_seconds(shape, round(min(tokens, tokens * size / max(0.75 * data.samples, 1))), speed)
    once = 2 * (shape.linear_elements + shape.vocabulary * shape.hidden) * data.tokens / speed.forward
    return 2 * once + min(60.0 * float(arguments.get("minutes") or 0.0), steps * per_step) * 1.2


def _experts_dropped(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    return _two_passes(shape, data, speed)


def _blocks_dropped(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """Every candidate's hidden states walk down from where it was skipped, half of the blocks on average, to logits.

    Once for each block that goes; by influence it is one pass.
    """
    tokens = min(int(arguments.get("tokens") or 0), data.tokens or 0)
    texts = max(tokens / min(max(data.longest, 1), SKIPPED_LONGEST), 1)
    whole = 2 * (shape.linear_elements + shape.vocabulary * shape.hidden) * tokens / speed.forward
    once = whole + texts * shape.layers * speed.per_call
    if arguments.get("importance") == "influence":
        return once
    blocks, candidates = int(arguments.get("blocks") or 1), shape.layers
    walks = 2 * shape.linear_elements * tokens * candidates / 2 / speed.forward
    heads = (2 * shape.hidden + _SOFTMAX) * shape.vocabulary * tokens * candidates / speed.forward
    calls = texts * candidates * (shape.layers / 2 + 1) * speed.per_call
    return once + blocks * (walks + heads + calls)


def _narrowed(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """X^T X of the layers that read channels, an inverse of it, and an update of the weights in a few steps."""
    wide = [(rows, columns) for rows, columns in shape.linears if columns != shape.hidden]
    if arguments.get("kv_heads"):
        wide += [(shape.hidden, shape.hidden)] * shape.layers
    grams = sum(2 * columns**2 * data.tokens for _, columns in wide)
    solved = sum(4 * columns**3 + 2 * rows * columns**2 for rows, columns in wide)
    return _two_passes(shape, data, speed) + (grams + solved) / speed.hessian


def _rotation(arguments: Arguments, shape: Shape, data: Data, speed: Speed) -> float:
    """Every weight is multiplied with a matrix as wide as the model, in 64 bits."""
    width = int(arguments.get("transform_block_size") or shape.hidden)
    return 2 * 2 * shape.elements * width / (speed.hessian / 3)


_SOFTMAX = 200
"""Floating point operations that a logit costs when its divergence is taken, by the speed of forward passes."""


def _looks_at_data(arguments: Arguments) -> bool:
    groups = arguments.get("config_groups") or {}
    inputs = [group.get("input_activations") for group in groups.values()]
    static = any(each is not None and each.get("dynamic") is not True for each in inputs)
    observed = any("imatrix" in str((group.get("weights") or {}).get("observer")) for group in groups.values())
    return static or observed or arguments.get("kv_cache_scheme") is not None


_COSTS: Mapping[str, Callable[[Arguments, Shape, Data, Speed], float]] = {
    "QuantizationModifier": _rounding,
    "SmoothQuantModifier": _smoothing,
    "GPTQModifier": _gptq,
    "GPTQTModifier": _gptqt,
    "SqueezeLLMModifier": _squeezellm,
    "AWQModifier": _awq,
    "QATModifier": _trained,
    "AutoRoundModifier": _autoround,
    "SparseGPTModifier": _sparsegpt,
    "WandaPruningModifier": _wanda,
    "REAPPruningModifier": _experts_dropped,
    "DropBlocksModifier": _blocks_dropped,
    "NarrowModifier": _narrowed,
    "SpinQuantModifier": _rotation,
    "QuIPModifier": _rotation,
}
"""By modifier; what is not listed is taken to cost what GPTQ costs."""
