"""How much memory a job takes at its peak, on a processor and beside a GPU: bytes from shapes.

Two processes run one after the other, and the larger decides. The one that compresses maps the original's files, which
stay resident once they were read, makes new weights where a modifier changes them, and packs layer by layer when it
saves. The proof opens the artifact, which transformers decompresses before it computes, then the original, and holds
the logits of its held-out text. Fitted to runs of Llama, Qwen 2 and OPT shapes from 50M to 640M parameters on a
processor (`tests/bench/bench_estimates.py` measures them again); what GPUs need follows llm-compressor's own guide
(docs/guides/memory.md: one layer for rounding, about two for GPTQ, where the Hessians come on top).
"""

from __future__ import annotations

from core.methods.method import ModifierSpec
from core.plan.job import Job
from core.plan.qat_memory import state_bytes, training_bytes
from core.plan.work import ANSWER_BATCH, ANSWER_TOKENS, SKIPPED_LONGEST, expected_data
from core.value import Range

_COMPRESS_START = 540e6
"""Resident once torch, transformers and llmcompressor are imported and a model is mapped."""

_START_LEAST = 250e6
"""Of that, what is not mapped code."""

_PROOF_START = 575e6
"""Resident once torch and transformers are imported and a model has computed."""

_GIVEN_BACK = 32 * 2**20
"""Bytes from which on the allocator gives a tensor's memory back at once (glibc's largest M_MMAP_THRESHOLD): what the
artifact was decompressed to is still there when the original comes, except for those."""

_PROOF_LOGITS = 4 * 255
"""Rows of logits that the proof keeps: core.worker.prove's DOCUMENTS windows."""

_PROOF_FLOATS = 128 * 4 * 5
"""Bytes for each entry of the vocabulary while divergences are computed: 128 rows in 32 bits, about five at a time."""

_CHANGING = frozenset(
    {
        "GPTQModifier",
        "GPTQTModifier",
        "SmoothQuantModifier",
        "AWQModifier",
        "AutoRoundModifier",
        "SparseGPTModifier",
        "WandaPruningModifier",
        "REAPPruningModifier",
        "NarrowModifier",
        "SpinQuantModifier",
        "SqueezeLLMModifier",
        "QuIPModifier",
    }
)
"""Modifiers that write new weights while the files of the old ones stay mapped."""

_LAYERS_ON_GPU = {"QuantizationModifier": 1.0, "AutoRoundModifier": 4.0}
"""Decoder layers' worth of weights that a modifier has on the GPU at once; two for the others, a copy and its like."""

_ROTATING = frozenset({"SpinQuantModifier", "QuIPModifier"})

_SEARCHED = 130e6
"""Sorted weights with their sums, and errors, that GPTQT's search holds for some rows at a time."""

_ABOUT = 1.17
"""Times the weights and the sums of squared gradients: what the pass for gradients took, measured on the starter."""

_SPREAD = 1.25
"""Either way around the value: allocators give memory back to the system late, and differently each time."""


def host_memory(job: Job) -> Range:
    """Peak resident memory of the larger process on a processor."""
    value = max(_compress(job), _proof(job), _answering(job))
    return Range(value=value, low=value / _SPREAD, high=value * _SPREAD)


def host_least(job: Job) -> int:
    """Bytes of the larger process that the system cannot take back: mapped files are left out, and libraries' code."""
    shape = job.shape
    element = job.weights / max(shape.elements, 1)
    logits = shape.vocabulary * (_PROOF_LOGITS * element + _PROOF_FLOATS)
    proof = shape.compressed_elements * element + logits
    rewritten = 0.0 if job.streams else _rewritten(job) + _work(job)
    trained = training_bytes(job, on_gpu=False)
    return round(_START_LEAST + max(proof, rewritten, gradient_sums(job), trained, _answer_bytes(job)))


def host_memory_beside_gpu(job: Job) -> Range:
    """The model lies in main memory and lends its layers to the GPU; CUDA's libraries take over a gigabyte."""
    return Range(
        value=1.6e9 + 1.2 * job.weights + job.artifact + gradient_sums(job),
        low=0.6e9 + 0.8 * job.weights,
        high=3e9 + 2.2 * job.weights + job.artifact + gradient_sums(job),
    )


def device_memory(job: Job) -> Range:
    """Peak memory on the GPU, with CUDA's context.

    While it compresses, one layer lies there with its Hessians; the proof opens the whole artifact, decompressed, and
    then the original, and answers are made there if the model fits.
    """
    context = 0.8e9
    one = job.weights / max(job.shape.layers, 1)
    layers = max((_LAYERS_ON_GPU.get(modifier.name, 2.0) for modifier in job.modifiers), default=1.0)
    trained = training_bytes(job, on_gpu=True)
    value = context + max(1.1 * job.weights + _answer_bytes(job), layers * one + _work(job), trained)
    return Range(value=value, low=0.3e9 + job.weights + state_bytes(job), high=1.2 * value + job.artifact / 2 + 1e9)


def _compress(job: Job) -> float:
    if job.streams:
        return _COMPRESS_START + 2.0 * job.weights / job.shards
    trained = training_bytes(job, on_gpu=False)
    pressing = _COMPRESS_START + job.weights + max(_rewritten(job) + _work(job), trained)
    return max(pressing, _COMPRESS_START + _ABOUT * (job.weights + gradient_sums(job)) if asks_gradients(job) else 0.0)


def asks_gradients(job: Job) -> bool:
    """Whether a pass for gradients comes first."""
    return any(
        modifier.name == "SqueezeLLMModifier" and modifier.arguments.get("sensitivity") == "fisher"
        for modifier in job.modifiers
    )


def gradient_sums(job: Job) -> int:
    """Bytes of the sums of squared gradients, 32 bits for each weight that is compressed; 0 without such a pass."""
    return 4 * job.shape.compressed_elements if asks_gradients(job) else 0


def gradient_least(job: Job) -> int:
    """Bytes that the pass for gradients takes on the host at the least: every sample goes through all weights."""
    return round(_START_LEAST + job.weights + gradient_sums(job))


def _rewritten(job: Job) -> float:
    """Weights that were made anew beside the mapped files: all of the layers by some modifiers, packed ones by all."""
    shape = job.shape
    element = job.weights / max(shape.elements, 1)
    packed = max(job.artifact - shape.kept * element, 0.0)
    changed = any(modifier.name in _CHANGING for modifier in job.modifiers)
    if any(modifier.name in _ROTATING for modifier in job.modifiers):
        # Embedding and output layer as well, apart from each other, and the largest of them in 64 bits.
        table = shape.vocabulary * shape.hidden
        return job.weights + table * (element + 8)
    if any(modifier.name == "GPTQTModifier" for modifier in job.modifiers):
        # Its codes lie beside the weights until all layers are done.
        return packed + shape.linear_elements * element
    return max(packed, shape.linear_elements * element) if changed else packed


def _proof(job: Job) -> float:
    shape = job.shape
    element = job.weights / max(shape.elements, 1)
    logits = shape.vocabulary * (_PROOF_LOGITS * element + _PROOF_FLOATS)
    sizes = [rows * columns * element for rows, columns in shape.compressed]
    small = sum(size for size in sizes if size < _GIVEN_BACK)
    return _PROOF_START + logits + max(job.artifact + sum(sizes), job.weights + small)


def _answering(job: Job) -> float:
    return _COMPRESS_START + job.weights + _answer_bytes(job)


def _answer_bytes(job: Job) -> float:
    """Memory of one batch of self-made answers beside the weights: KV cache and logits; 0 for other data."""
    calibration, shape = job.recipe.calibration, job.shape
    if calibration is None or not calibration.has_self_chat:
        return 0.0
    return float(ANSWER_BATCH * (2 * ANSWER_TOKENS * shape.kv_values * 2 + shape.vocabulary * 12))


def _work(job: Job) -> float:
    """What calibration holds beside the weights: activations between layers, and what each modifier gathers.

    No logits: llmcompressor runs its passes without the output layer.
    """
    shape, data = job.shape, expected_data(job.recipe.calibration)
    if not data.tokens:
        return 0.0
    between = data.tokens * shape.hidden * 2 * 2
    return between + max((_gathered(job, modifier) for modifier in job.modifiers), default=0.0)


def _gathered(job: Job, modifier: ModifierSpec) -> float:
    shape, data = job.shape, expected_data(job.recipe.calibration)
    layers = max(shape.layers, 1)
    linears = shape.linears or shape.compressed
    if modifier.name in ("GPTQModifier", "GPTQTModifier", "SparseGPTModifier"):
        # A Hessian in 32 bits for every Linear of a layer, and the inverse of one with its factors.
        hessians = sum(columns**2 for _, columns in linears) * 4 / layers
        largest = max((columns for _, columns in linears), default=0) ** 2 * 4
        return hessians + 3 * largest + (_SEARCHED if modifier.name == "GPTQTModifier" else 0)
    if modifier.name == "SqueezeLLMModifier" and modifier.arguments.get("compensation"):
        # The same, one more of the largest, and of one matrix in 32 bits what it was, is, and is off by.
        hessians = sum(columns**2 for _, columns in linears) * 4 / layers
        largest = max((columns for _, columns in linears), default=0) ** 2 * 4
        return hessians + 4 * largest + 5 * 4 * max((rows * columns for rows, columns in linears), default=0)
    if modifier.name == "NarrowModifier":
        return _narrowing(job, modifier)
    if modifier.name == "DropBlocksModifier":
        return _skipping(job, modifier)
    if modifier.name == "AWQModifier":
        # Inputs of a layer's two halves and the outputs that each candidate is held against, over all samples.
        widest = max((rows for rows, _ in linears), default=0)
        return data.tokens * (4 * shape.hidden * 2 + shape.hidden * 4) + data.longest * widest * 8
    if modifier.name == "AutoRoundModifier":
        # Inputs and both outputs of a layer, padded to the longest sample; for each weight of it a rounding value with
        # gradient and best copy in 32 bits; and what the gradients of one batch need.
        padded = data.samples * data.longest * shape.hidden * 2 * 3
        weights = sum(rows * columns for rows, columns in linears) / layers * 4 * 4
        widest = max((rows for rows, _ in linears), default=0)
        graph = int(modifier.arguments.get("batch_size") or 8) * data.longest * (8 * shape.hidden + 4 * widest) * 4
        return padded + weights + graph
    return 0.0


def _narrowing(job: Job, modifier: ModifierSpec) -> float:
    """X^T X in 32 bits of the inputs that are narrowed in one block, and of the widest its inverse and copies."""
    wide = sorted({columns for _, columns in job.shape.linears if columns != job.shape.hidden}, reverse=True)
    widest = (wide or [job.shape.hidden])[0]
    heads = job.shape.hidden**2 * 4 if modifier.arguments.get("kv_heads") else 0
    return 5 * widest**2 * 4 + heads


def _skipping(job: Job, modifier: ModifierSpec) -> float:
    """Hidden states of every block's absence, the masks of the texts, and logits of one text, twice in 32 bits."""
    tokens = int(modifier.arguments.get("tokens") or 0)
    states = (job.shape.layers + 3) * tokens * job.shape.hidden * 2
    return states + job.shape.vocabulary * (2 * SKIPPED_LONGEST * 2 + 3 * 128 * 4)
