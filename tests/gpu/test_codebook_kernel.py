"""The fused kernel beside the plain product. Without a GPU, where Triton is at hand, Triton's interpreter runs it:
TRITON_INTERPRET=1 pytest -m gpu tests/gpu/test_codebook_kernel.py.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytest
import torch

from bitpress_codebook import CodebookLinear
from bitpress_codebook.fused import Fused
from bitpress_codebook.lookup import product

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "worker"))

from nearest_codebook import nearest

pytestmark = pytest.mark.gpu

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("kind", ["table", "binary"])
@pytest.mark.parametrize(("rows", "columns", "kept"), [(7, 33, 0), (130, 300, 0), (64, 513, 40), (5, 8, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_that_the_kernel_gives_the_plain_product_but_for_rounding(
    bits: int, kind: str, rows: int, columns: int, kept: int, dtype: torch.dtype
) -> None:
    from bitpress_codebook.kernel import fused_product

    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn((rows, columns), generator=generator).to(dtype)
    bias = torch.randn(rows, generator=generator).to(dtype) if kept else None
    code = nearest(weight, bits, "table" if kind == "table" else "binary", kept, spread=0.3)
    module = CodebookLinear.of(code, bias, dtype).to(DEVICE)
    inputs = torch.randn((1, 1, columns), generator=generator).to(dtype).to(DEVICE)
    found = fused_product(inputs, module.values(), module.weight, module.kept, module.bias)
    exact = torch.nn.functional.linear(
        inputs.double(), module.dense(dtype).double(), None if module.bias is None else module.bias.double()
    )
    assert found.shape == (1, 1, rows)
    assert found.dtype == dtype
    # A sum of `columns` products in 32 bits, rounded once to the dtype.
    error = (found.double() - exact).abs().max() / exact.abs().max()
    assert error < {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]


def test_that_a_kernel_that_fails_warns_once_and_leaves_the_plain_product() -> None:
    def fails(*_: object) -> torch.Tensor:
        raise RuntimeError("no compiler")

    kernel = Fused(fails)
    inputs = torch.randn(1, 8)
    with pytest.warns(UserWarning, match="no compiler"):
        assert kernel.tried(inputs, inputs, inputs, None, None) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel.tried(inputs, inputs, inputs, None, None) is None


def test_that_one_row_is_computed_as_many_are_but_for_rounding() -> None:
    weight = torch.randn((512, 1024), dtype=torch.bfloat16)
    module = CodebookLinear.of(nearest(weight, 3, kept=100), None, torch.bfloat16).to(DEVICE)
    inputs = torch.randn((2, 1024), dtype=torch.bfloat16, device=DEVICE)
    with torch.no_grad():
        torch.testing.assert_close(
            product(inputs[:1], module.values(), module.indices, None), module(inputs)[:1], rtol=2e-2, atol=2e-1
        )
