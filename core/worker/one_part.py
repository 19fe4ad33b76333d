"""One part of a model in a scheme, and the rest as it was: weights rounded in place and put back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from core.methods.scheme import Scheme, TensorScheme


@contextmanager
def compressed(model: Any, modules: Sequence[str], scheme: Scheme) -> Iterator[None]:
    """Inside the block these modules compute with weights, and inputs, that were rounded to the nearest.

    A module is a Linear, or holds a layer's experts in tensors of three dimensions. The old tensors are put aside and
    come back themselves, however the block ends.
    """
    kept: list[tuple[Any, torch.Tensor]] = []
    hooks: list[Any] = []
    try:
        for name in modules:
            module = model.get_submodule(name)
            for parameter, turned in weights_of(module):
                kept.append((parameter, parameter.data))
                parameter.data = _rounded_all(parameter.data, scheme.weights, turned=turned)
            if scheme.activations is not None:
                hooks.append(module.register_forward_pre_hook(_rounding(scheme.activations)))
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data
        for hook in hooks:
            hook.remove()


def weights_of(module: Any) -> tuple[tuple[Any, bool], ...]:
    """The parameters that are compressed, each with whether its rows and columns stand the other way round."""
    if isinstance(module, torch.nn.Linear):
        return ((module.weight, False),)
    down = module.down_proj
    inputs = module.gate_up_proj if hasattr(module, "gate_up_proj") else module.up_proj
    gated = 1 + hasattr(module, "gate_up_proj")
    # (experts, hidden, inner) as torch's Linear has it, or the other way round: the inputs tell which.
    turned = inputs.shape[1] != down.shape[2] * gated
    return ((inputs, turned), (down, turned))


@torch.no_grad()
def rounded(weight: torch.Tensor, scheme: TensorScheme) -> torch.Tensor:
    """The weight (rows, columns) as it reopens after llmcompressor rounded it to the nearest: its observer, its scales
    in the dtype that they are saved in, compressed-tensors' rounding.
    """
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from llmcompressor.observers import Observer

    args = QuantizationArgs(**scheme.arguments())
    observer = Observer.load_from_registry(scheme.observer or "memoryless_minmax", base_name="weight", args=args)
    observer(weight)
    found = observer.get_qparams()
    scale = found["scale"] if scheme.scale_dtype else found["scale"].to(weight.dtype)
    made: torch.Tensor = fake_quantize(weight, scale, found["zero_point"], args, global_scale=found["global_scale"])
    return made.to(weight.dtype)


def _rounded_all(weight: torch.Tensor, scheme: TensorScheme, *, turned: bool) -> torch.Tensor:
    if weight.dim() == 2:
        return rounded(weight, scheme)
    experts = [rounded(one.T.contiguous() if turned else one, scheme) for one in weight]
    return torch.stack([one.T if turned else one for one in experts]).contiguous()


def _rounding(scheme: TensorScheme) -> Any:
    """A hook that rounds a module's input, its scales found for each token as an engine does."""
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp

    args = QuantizationArgs(**scheme.arguments())

    def round_input(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        value = inputs[0]
        # Rows of tokens: what has more dimensions would be given one scale a batch row and token otherwise.
        flat = value.reshape(1, -1, value.shape[-1])
        scale, zero = compute_dynamic_scales_and_zp(flat, args, module)
        made = fake_quantize(flat, scale, zero, args)
        return (made.reshape(value.shape).to(value.dtype), *inputs[1:])

    return round_input
