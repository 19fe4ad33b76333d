"""How many GPUs a model needs under a scheme, and what that costs: arithmetic over sizes, nothing is measured.

Per GPU: (weights + KV cache of all tokens) / GPUs + activations + the engine <= 0.9 x memory.
KV cache per token: 2 x layers x KV heads x head size x bytes. Weights: see `core.plan.architecture`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from core.plan.architecture import Architecture, Weights, whole_groups
from core.plan.gpu_kinds import GpuKind
from core.plan.hardware import Capability, Runs, runs_natively, support
from core.plan.published import RED_HAT, footprint
from core.value import Value

UTILIZATION = 0.9
"""Share of a GPU's memory that vLLM takes by default."""
ENGINE_BYTES = 1_000_000_000
"""CUDA context, graphs and buffers of the engine on each GPU: about a gigabyte."""
BATCHED_TOKENS = 8192
"""Tokens in one forward pass while prompts are read; vLLM measures its own peak when it starts."""
LARGEST_NODE = 8
"""GPUs over which one layer is split; more than that is split by layers, node beside node."""
HOURS_PER_MONTH = 730
_FALLBACK_ACTIVATIONS = 1_000_000_000

FORMULAS: tuple[str, ...] = (
    "Weights = compressed parameters x bits / 8 + kept parameters x 2 bytes; bits include the scales.",
    "KV cache = 2 x layers x KV heads x head size x bytes a value, for each token; tokens = context x concurrency.",
    f"Activations = {BATCHED_TOKENS:,} tokens x (4 x hidden + 2 x intermediate) x 2 bytes (1 GB where not known), and "
    "about 1 GB for the engine, on each GPU.",
    "By weights = weights / memory. By memory: (weights + KV cache) / GPUs + activations + engine <= 0.9 x memory.",
    "For tensor parallelism: the next count that divides attention heads, and KV heads or is a multiple of them, up to "
    f"{LARGEST_NODE} in a node; beyond that, groups of GPUs hold layers one after another.",
    f"A month is {HOURS_PER_MONTH} hours.",
)
SOURCES: tuple[str, ...] = (
    "vLLM's documentation, August 2026: memory share, tensor parallelism, supported hardware.",
    "Sliding windows and compressed attention (MLA) need a smaller KV cache than this.",
)


class Load(Value):
    """What is asked of the model: tokens of context for each of so many requests at once."""

    context: int = 8192
    concurrency: int = 1
    kv_bits: int = 16

    @property
    def tokens(self) -> int:
        return self.context * self.concurrency


class Price(Value):
    """What one GPU costs an hour, in a currency as typed."""

    per_gpu_hour: float
    currency: str = ""


class Cost(Value):
    """What a plan costs, and what it saves against BF16 on the same kind of GPU; None where BF16 has no plan there.

    A plan on GPUs that vLLM does not run the scheme on has no cost.
    """

    currency: str
    per_hour: float
    per_month: float
    saved_per_hour: float | None = None
    saved_per_month: float | None = None
    saved_share: float | None = None
    """Of one."""


class Placement(Value):
    """One scheme on one kind of GPU; bytes. `gpus` is what is to be rented: tensor_parallel x pipeline_parallel.

    Counts are None where even many GPUs do not suffice, `kv_cache_bytes` where the architecture is not known.
    """

    scheme: str
    title: str
    gpu: str
    gpu_name: str
    gpu_bytes: int
    bits_per_weight: float
    weight_bytes: int
    kv_cache_bytes: int | None
    overhead_bytes_per_gpu: int
    total_bytes: int
    """Weights, KV cache, and the overhead of all GPUs."""
    gpus_by_weights: int
    gpus_by_memory: int | None
    tensor_parallel: int | None
    pipeline_parallel: int | None
    gpus: int | None
    gpus_saved: int | None = None
    """Against BF16 on the same kind of GPU."""
    runs: Runs
    runs_text: str
    cost: Cost | None = None
    published: str = ""
    """What others published for this model and scheme, where they did, and how this plan differs."""
    notes: tuple[str, ...] = ()


class Deployment(Value):
    """Placements for one model and load, with the arithmetic in words."""

    architecture: Architecture
    load: Load
    placements: tuple[Placement, ...]
    formulas: tuple[str, ...] = FORMULAS
    sources: tuple[str, ...] = SOURCES


def deploy(
    architecture: Architecture,
    weights: Sequence[Weights],
    gpus: Sequence[GpuKind],
    load: Load,
    price: Price | None = None,
) -> Deployment:
    """Every scheme on every kind of GPU, GPU by GPU; pure."""
    placements = []
    for gpu in gpus:
        bf16 = _placed(architecture, _bf16(architecture), gpu, load)
        for one in weights:
            placement = _placed(architecture, one, gpu, load)
            saved = None if bf16.gpus is None or placement.gpus is None else bf16.gpus - placement.gpus
            update = {
                "gpus_saved": None if one.scheme == "BF16" else saved,
                "cost": _cost(placement, bf16, price),
                "published": _published(architecture, placement, gpu),
            }
            placements.append(placement.model_copy(update=update))
    return Deployment(architecture=architecture, load=load, placements=tuple(placements))


def parallel_sizes(architecture: Architecture, group: int = 1) -> tuple[int, ...]:
    """Counts of GPUs over which vLLM can split a layer of this model, up to a node.

    Attention heads must divide evenly; KV heads too, or be copied as often on every GPU; the MLP's columns too, in
    whole groups. Powers of two where the heads are not known.
    """
    if architecture.heads is None:
        return tuple(size for size in (1, 2, 4, 8) if size <= LARGEST_NODE)
    return tuple(size for size in range(1, LARGEST_NODE + 1) if _splits(architecture, size, group))


def overhead_bytes(architecture: Architecture) -> int:
    """Activations at their peak and the engine's own memory, on each GPU."""
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    if hidden is None:
        return _FALLBACK_ACTIVATIONS + ENGINE_BYTES
    return BATCHED_TOKENS * (4 * hidden + 2 * (inner or 4 * hidden)) * 2 + ENGINE_BYTES


def kv_cache_bytes(architecture: Architecture, load: Load) -> int | None:
    """Bytes of keys and values of all tokens; None where the architecture is not known."""
    values = architecture.kv_values
    return None if values is None else values * load.tokens * load.kv_bits // 8


def _splits(architecture: Architecture, size: int, group: int) -> bool:
    heads, kv_heads, inner = architecture.heads or 1, architecture.kv_heads, architecture.intermediate_size
    if heads % size:
        return False
    if kv_heads is not None and kv_heads % size and size % kv_heads:
        return False
    if inner is None or architecture.experts or size == 1:
        return True
    return inner % size == 0 and (inner % group != 0 or inner // size % group == 0)


def _placed(architecture: Architecture, weights: Weights, gpu: GpuKind, load: Load) -> Placement:
    load = load if weights.scheme != "KV_FP8" else load.model_copy(update={"kv_bits": 8})
    cache = kv_cache_bytes(architecture, load)
    overhead = overhead_bytes(architecture)
    usable = UTILIZATION * gpu.bytes - overhead
    by_weights = ceil(weights.bytes / gpu.bytes)
    by_memory = ceil((weights.bytes + (cache or 0)) / usable) if usable > 0 else None
    sizes = parallel_sizes(architecture, weights.group)
    split = None if by_memory is None else _split(architecture, weights.bytes, cache or 0, usable, by_memory, sizes)
    gpus = None if split is None else split[0] * split[1]
    runs, sentence = _runs(architecture, weights, gpu)
    return Placement(
        scheme=weights.scheme,
        title=weights.title,
        gpu=gpu.id,
        gpu_name=gpu.name,
        gpu_bytes=gpu.bytes,
        bits_per_weight=weights.bits,
        weight_bytes=weights.bytes,
        kv_cache_bytes=cache,
        overhead_bytes_per_gpu=overhead,
        total_bytes=weights.bytes + (cache or 0) + overhead * (gpus or 1),
        gpus_by_weights=by_weights,
        gpus_by_memory=by_memory,
        tensor_parallel=None if split is None else split[0],
        pipeline_parallel=None if split is None else split[1],
        gpus=gpus,
        runs=runs,
        runs_text=sentence,
        notes=_notes(
            architecture,
            weights,
            capability=gpu.capability,
            cache=cache,
            by_weights=by_weights,
            by_memory=by_memory,
            split=split,
            sizes=sizes,
        ),
    )


def _split(  # noqa: PLR0917
    architecture: Architecture, weights: int, cache: int, usable: float, least: int, sizes: tuple[int, ...]
) -> tuple[int, int] | None:
    """(tensor parallel, pipeline parallel): one node where that is enough, else nodes of the largest size."""
    for tensor in sizes:
        if tensor >= least and _per_gpu(architecture, weights, cache, tensor, 1) <= usable:
            return tensor, 1
    tensor = sizes[-1]
    most = architecture.layers or 128
    for pipeline in range(max(2, ceil(least / tensor)), most + 1):
        if _per_gpu(architecture, weights, cache, tensor, pipeline) <= usable:
            return tensor, pipeline
    return None


def _per_gpu(architecture: Architecture, weights: int, cache: int, tensor: int, pipeline: int) -> float:
    """Weights and cache on one GPU; more GPUs than KV heads hold copies of them."""
    shares = tensor if architecture.kv_heads is None else min(tensor, architecture.kv_heads)
    return weights / (tensor * pipeline) + cache / (shares * pipeline)


def _notes(
    architecture: Architecture,
    weights: Weights,
    *,
    capability: Capability,
    cache: int | None,
    by_weights: int,
    by_memory: int | None,
    split: tuple[int, int] | None,
    sizes: tuple[int, ...],
) -> tuple[str, ...]:
    notes = []
    if by_memory is None:
        notes.append("Activations and the engine alone do not fit into one such GPU.")
    elif by_memory != by_weights:
        notes.append(
            f"{by_weights} by weights, {by_memory} by memory: KV cache, activations, the engine, and the tenth of "
            "memory that vLLM leaves free come on top."
        )
    if by_memory is not None and split is None:
        notes.append("No split of its layers over such GPUs holds it.")
    elif split is not None and by_memory is not None and split[0] * split[1] != by_memory:
        notes.append(_why_more(architecture, by_memory, split, sizes))
    if cache is None:
        notes.append("The KV cache is left out: give layers, KV heads and head size.")
    if architecture.heads is None and split is not None and split[0] > 1:
        notes.append("The attention heads are not known: a power of two is assumed to divide them.")
    if architecture.experts:
        notes.append("All experts count: every one of them has to be in memory.")
    if weights.scheme == "W4AFP8":
        notes.append("It stores a byte for each weight.")
    if capability < (8, 0):
        notes.append("This GPU has no BF16: start vLLM with --dtype half.")
    return tuple(notes)


def _why_more(architecture: Architecture, by_memory: int, split: tuple[int, int], sizes: tuple[int, ...]) -> str:
    tensor, pipeline = split
    lead = f"{by_memory} by memory, {tensor * pipeline} for tensor parallelism"
    if pipeline > 1:
        return f"{lead}: {pipeline} groups of {tensor}, each with a part of the layers."
    if by_memory in sizes:
        return f"{lead}: with fewer, each GPU would hold more of the KV cache than it has room for."
    if architecture.heads is None:
        return f"{lead}: {by_memory} is no power of two."
    whose = f"{architecture.heads} attention heads"
    if architecture.kv_heads is not None:
        whose += f" and {architecture.kv_heads} KV heads"
    return f"{lead}: {by_memory} does not divide {whose} as vLLM needs it."


def _published(architecture: Architecture, placement: Placement, gpu: GpuKind) -> str:
    row = footprint(architecture.parameters, placement.scheme)
    if row is None or gpu.memory_gib != 80:
        return ""
    here = f"{placement.weight_bytes / 1e9:.0f} GB"
    why = "with its scales" if placement.bits_per_weight % 1 else "2 bytes a parameter"
    size = f"{row.gigabytes} GB, " if row.gigabytes is not None else ""
    text = f"Published for {row.model} ({RED_HAT}): {size}{row.gpus} x 80 GB, by weights alone. Here {here}"
    if row.gigabytes is not None and f"{row.gigabytes} GB" != here:
        text += f" ({why})"
    text += f", {placement.gpus_by_weights} by weights"
    if placement.gpus is None or placement.gpus == row.gpus:
        return f"{text}."
    return f"{text}; {placement.gpus} to serve it, as the notes say."


def _cost(placement: Placement, bf16: Placement, price: Price | None) -> Cost | None:
    if price is None or placement.gpus is None or placement.runs is Runs.NO:
        return None
    hour = placement.gpus * price.per_gpu_hour
    cost = Cost(currency=price.currency, per_hour=hour, per_month=hour * HOURS_PER_MONTH)
    if bf16.gpus is None or placement.scheme == "BF16":
        return cost
    saved = bf16.gpus * price.per_gpu_hour - hour
    return cost.model_copy(
        update={
            "saved_per_hour": saved,
            "saved_per_month": saved * HOURS_PER_MONTH,
            "saved_share": 1 - placement.gpus / bf16.gpus,
        }
    )


def _bf16(architecture: Architecture) -> Weights:
    return Weights(scheme="BF16", title="BF16", bytes=architecture.parameters * 2, bits=16.0)


def _runs(architecture: Architecture, weights: Weights, gpu: GpuKind) -> tuple[Runs, str]:
    """How vLLM takes the scheme there, and a sentence that names the GPU."""
    if weights.scheme == "FP8_BLOCK" and not whole_groups(architecture, weights.group):
        return Runs.NO, f"Blocks of {weights.group} do not divide all layers of this model: it would be saved, not run."
    sentence = runs_natively(weights.scheme, gpu.capability)[1]
    for word in ("This", "this"):
        sentence = sentence.replace(f"{word} GPU", gpu.name)
    return support(weights.scheme, gpu.capability), sentence
