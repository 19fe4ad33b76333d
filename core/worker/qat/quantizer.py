"""The fake quantizer that training sees: torchao's, on exactly the grid on which the artifact is saved.

torchao 0.18 and compressed-tensors 0.19 put the same scale behind each group (at 4 bits its largest magnitude over
7.5), and differ in the last bit of what is rounded: torchao multiplies with a reciprocal, compressed-tensors divides in
the model's dtype. In every second group the largest weight is negative and lies halfway between -8 and -7, so that one
weight of a hundred came out one level apart. Here a weight is rounded to the model's dtype first and then as it will be
when it is saved, so that what is trained is what is served. The gradient passes straight through (Bengio et al.,
arXiv:1308.3432).

Imported by `core.worker.qat.library.shown` alone, as torchao comes with it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils import calculate_qparams
from torch import Tensor, nn
from torchao.quantization import quantize_
from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig
from torchao.quantization.qat.fake_quantizer import IntxFakeQuantizer


class SavedGrid(IntxFakeQuantizer):
    """Symmetric integers in groups along a row, as compressed-tensors rounds weights of `dtype`.

    Takes weights (rows, columns) in float32, and gives the values in `dtype` that the artifact will have.
    """

    def __init__(self, config: Any, bits: int, group: int, dtype: torch.dtype) -> None:
        super().__init__(config)
        self.bits, self.group, self.dtype = bits, group, dtype

    def forward(self, weight: Tensor) -> Tensor:
        """The values on the grid; differentiable, as if nothing had been rounded."""
        rounded: Tensor = _Rounded.apply(weight, self.bits, self.group, self.dtype)
        return rounded


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, weight: Tensor, bits: int, group: int, dtype: torch.dtype) -> Tensor:
        rows, columns = weight.shape
        size = columns if group < 0 else group
        context.kind = weight.dtype
        values = weight.to(dtype).float().view(rows, -1, size)
        low, high = torch.aminmax(values, dim=-1)
        arguments = QuantizationArgs(num_bits=bits, type="int", strategy="group", group_size=size, symmetric=True)
        scale, _ = calculate_qparams(low.to(dtype), high.to(dtype), arguments)
        spread = scale.to(dtype).float().unsqueeze(-1)
        most = 2 ** (bits - 1)
        # The quotient in the model's dtype: it decides on which side of a half a weight lies.
        values = (values / spread).to(dtype).float().round_().clamp_(-most, most - 1).mul_(spread)
        return values.to(dtype).view(rows, columns)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient.to(context.kind), None, None, None


def prepared(model: nn.Module, names: Collection[str], bits: int, group: int | str) -> dict[str, Any]:
    """Let torchao put its FakeQuantizedLinear in the place of these Linear modules: them by name, weights in float32.

    The modules that were there stay untouched: their weights are theirs. `group` is `channel` for one scale a row.
    """
    columns = -1 if isinstance(group, str) else group
    dtypes: dict[str, Any] = {}
    for name in names:
        plain: Any = model.get_submodule(name)
        dtypes[name] = plain.weight.dtype
        # A module of its own for the master copy, made without memory of its own.
        master = nn.Linear(plain.in_features, plain.out_features, bias=False, device="meta")
        master.weight = nn.Parameter(plain.weight.detach().float())
        master.bias = plain.bias
        model.set_submodule(name, master)
    quantize_(model, QATConfig(weight_config=_config(bits, columns), step="prepare"), lambda _, name: name in names)
    found: dict[str, Any] = {}
    for name in names:
        module: Any = model.get_submodule(name)
        module.weight_fake_quantizer = SavedGrid(module.weight_fake_quantizer.config, bits, columns, dtypes[name])
        found[name] = module
    return found


def _config(bits: int, columns: int) -> Any:
    if columns < 0:
        return IntxFakeQuantizeConfig(getattr(torch, f"int{bits}"), "per_channel", is_symmetric=True)
    return IntxFakeQuantizeConfig(getattr(torch, f"int{bits}"), group_size=columns, is_symmetric=True)
