"""GPUs that a model can be planned for: memory and compute capability.

Capabilities by generation are NVIDIA's (Transformer Engine's support matrix names these GPUs); memory sizes are
general knowledge, as vendors give them. Where a GPU corrects memory errors, its driver shows up to 7 % less.
"""

from __future__ import annotations

from difflib import get_close_matches

from core.errors import BitpressError
from core.plan.hardware import Capability
from core.value import Value


class GpuKind(Value):
    """One kind of GPU; memory in GiB."""

    id: str
    name: str
    memory_gib: int
    capability: Capability

    @property
    def bytes(self) -> int:
        return self.memory_gib * 2**30


GPU_KINDS: tuple[GpuKind, ...] = (
    GpuKind(id="t4", name="T4", memory_gib=16, capability=(7, 5)),
    GpuKind(id="rtx-3090", name="RTX 3090", memory_gib=24, capability=(8, 6)),
    GpuKind(id="rtx-4090", name="RTX 4090", memory_gib=24, capability=(8, 9)),
    GpuKind(id="rtx-5090", name="RTX 5090", memory_gib=32, capability=(12, 0)),
    GpuKind(id="a10", name="A10", memory_gib=24, capability=(8, 6)),
    GpuKind(id="l4", name="L4", memory_gib=24, capability=(8, 9)),
    GpuKind(id="l40s", name="L40S", memory_gib=48, capability=(8, 9)),
    GpuKind(id="rtx-a6000", name="RTX A6000", memory_gib=48, capability=(8, 6)),
    GpuKind(id="rtx-6000-ada", name="RTX 6000 Ada", memory_gib=48, capability=(8, 9)),
    GpuKind(id="rtx-pro-6000", name="RTX PRO 6000", memory_gib=96, capability=(12, 0)),
    GpuKind(id="a100-40", name="A100 40 GB", memory_gib=40, capability=(8, 0)),
    GpuKind(id="a100-80", name="A100 80 GB", memory_gib=80, capability=(8, 0)),
    GpuKind(id="h100-80", name="H100 80 GB", memory_gib=80, capability=(9, 0)),
    GpuKind(id="h200", name="H200", memory_gib=140, capability=(9, 0)),
    GpuKind(id="b200", name="B200", memory_gib=180, capability=(10, 0)),
)

GPU_SOURCE = (
    "Memory of GPUs: general knowledge, as vendors give it; where a GPU corrects memory errors, its driver shows up to "
    "7 % less. Compute capabilities: NVIDIA."
)


def find_gpu(name: str) -> GpuKind:
    """The kind with this id or name. Raises BitpressError `unknown-gpu` with the nearest name."""
    wanted = "".join(character for character in name.lower() if character.isalnum())
    for kind in GPU_KINDS:
        if wanted in (_plain(kind.id), _plain(kind.name)):
            return kind
    near = get_close_matches(wanted, [_plain(kind.id) for kind in GPU_KINDS], n=1, cutoff=0.5)
    meant = next((kind.id for kind in GPU_KINDS if near and _plain(kind.id) == near[0]), "")
    raise BitpressError(
        "unknown-gpu",
        f"There is no GPU {name!r} in the table.",
        (f"Did you mean {meant}? " if meant else "") + f"The GPUs are {', '.join(kind.id for kind in GPU_KINDS)}.",
    )


def kind_of(name: str, memory: int) -> GpuKind | None:
    """The kind that a driver's name and bytes of memory mean: `NVIDIA A100-SXM4-80GB`; None where none is meant."""
    words = _plain(name)
    known = [
        kind
        for kind in GPU_KINDS
        if _plain(kind.name.split(" 40 GB")[0].split(" 80 GB")[0]) in words
        and abs(memory - kind.bytes) < 0.15 * kind.bytes
    ]
    return max(known, key=lambda kind: len(kind.name), default=None)


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
