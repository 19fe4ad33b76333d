"""How much signal each module gives over the calibration text: what a logged error is held against."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


class OutputEnergy:
    """Mean squared output of every module that is compressed, over the calibration samples, before compression.

    GPTQ and SparseGPT log the sum of squared output errors per sample, a number between 0.1 and 10^6 that says nothing
    by itself. Divided by the sum of squared outputs per sample it is noise over signal, and the root of that is the
    relative error of the layer's output over the calibration text: |W'x - Wx| / |Wx|, 0.02 for 2 %. The dampening that
    both add to the Hessian is in the numerator, so the figure is slightly too large, never too small.
    """

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._handles: dict[Any, Any] = {}
        self._sums: dict[str, Any] = {}
        self._samples: dict[str, int] = {}

    def watch(self, modules: Iterable[tuple[str, Any]]) -> None:
        """Listen to these modules, by name."""
        for name, module in modules:
            if module not in self._names:
                self._names[module] = name
                self._handles[module] = module.register_forward_hook(self._heard)

    def settle(self, modules: Iterable[Any]) -> None:
        """Stop listening to modules that are about to be compressed: what they give afterwards does not count."""
        for module in modules:
            if (handle := self._handles.pop(module, None)) is not None:
                handle.remove()

    def close(self) -> None:
        """Leave the model as it was."""
        self.settle(list(self._handles))
        self._sums.clear()
        self._samples.clear()

    def relative(self, name: str, error: float) -> float | None:
        """Root of the error over the output's energy; None where nothing was heard."""
        total = float(self._sums.pop(name, 0.0))
        samples = self._samples.pop(name, 0)
        return math.sqrt(max(error, 0.0) * samples / total) if total > 0 else None

    def _heard(self, module: Any, _inputs: Any, output: Any) -> None:
        import torch

        name = self._names[module]
        heard = output.detach()
        bias = getattr(module, "bias", None)
        if bias is not None:
            heard = heard - bias
        # A dot product of the flat output: on the CPU several times faster than a norm that converts as it goes.
        flat = heard.float().flatten()
        energy = torch.dot(flat, flat)
        self._sums[name] = self._sums.get(name, 0.0) + energy
        # Both count a three-dimensional input by its batch and anything flatter as one sample.
        self._samples[name] = self._samples.get(name, 0) + (heard.shape[0] if heard.dim() >= 3 else 1)
