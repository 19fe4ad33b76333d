"""Facts about the sentences that say whether a model fits."""

from __future__ import annotations

from pathlib import Path

from core.models.local_model import LocalModel, Origin, Remark, Weights
from core.plan.fit import Fit, fits
from core.plan.machine import Gpu, Machine

GIB = 2**30


def model(size: int, *remarks: Remark) -> LocalModel:
    return LocalModel(
        path=Path("/m"), name="m", origin=Origin.FOLDER, weights=Weights.SAFETENSORS, bytes=size, precision="BF16",
        layers=32, hidden_size=4096, heads=32, kv_heads=8, parameters=size // 2, remarks=remarks,
    )  # fmt: skip


def machine(free: int, *gpus: Gpu) -> Machine:
    return Machine(cpu_name="cpu", cores=8, memory_total=free, memory_available=free, gpus=gpus)


def test_that_a_small_model_fits_and_a_large_one_does_not() -> None:
    small, large = (fits(model(size), None, machine(24 * GIB))[0] for size in (1 * GIB, 60 * GIB))
    assert small[0] is Fit.YES
    assert large[0] is Fit.NO
    assert "60" in large[1] or "61" in large[1]


def test_that_the_gpu_counts_where_there_is_one() -> None:
    gpu = Gpu(index=0, name="NVIDIA RTX 4090", memory_total=24 * GIB, memory_free=10 * GIB, capability=(8, 9))
    fit, sentence = fits(model(16 * GIB), None, machine(128 * GIB, gpu))[0]
    assert fit is Fit.NO
    assert "RTX 4090" in sentence


def test_that_nothing_is_said_of_a_model_that_must_not_be_loaded() -> None:
    assert fits(model(GIB, Remark(code="pickle", level="blocks", message="no")), None, machine(GIB)) == ()
