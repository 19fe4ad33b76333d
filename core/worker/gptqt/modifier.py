"""GPTQT as an llmcompressor modifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from compressed_tensors.offload import disable_offloading
from compressed_tensors.utils import get_execution_device, match_named_modules, update_offload_parameter
from llmcompressor.core import Event, State
from llmcompressor.modifiers import Modifier
from llmcompressor.modifiers.gptq.helpers import accumulate_hessian, make_empty_hessian
from llmcompressor.utils.metric_logging import CompressionLogger
from loguru import logger
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor, nn

from bitpress_codebook.packing import pack, unpack
from bitpress_codebook.weight import CodebookWeight, binary_values
from core.worker.changes import nothing_changed
from core.worker.gptqt.codebooks import MOST_BITS, codebooks
from core.worker.gptqt.compensation import compensate
from core.worker.gptqt.search import Grid, search
from core.worker.swap_codebooks import swap_codebooks

_PARTS = ("codes", "coefficients", "offset")

_ROWS = 1 << 10
"""Rows whose weights are looked up at once."""


class GPTQTModifier(Modifier):
    """Weights in 2 to 4 bits of binary coding per row, after GPTQT (Guo, Lang and Ren 2024, arXiv 2407.02891).

    **What is the paper's**, as its public abstract says it: weights are first quantized linearly to a relatively high
    number of bits, then the integers are re-encoded in binary coding of fewer bits; the scale is explored once more, as
    the second step changes what can be represented; for inference both steps merge into pure binary coding; errors are
    compensated as in GPTQ.

    **What is a reconstruction**, as neither the paper's full text nor code was at hand: the codebooks are all
    binary-coding level sets within the intermediate grid; the scale is re-explored over parts of the row's range, and
    (scale, codebook) chosen per row by the output error that the Hessian's diagonal gives; the zero point of the first
    step is not rounded to an integer, as it vanishes into the merged offset; columns are taken in the order of their
    activation. Figures of the paper are not to be expected of it.

    For each layer: hooks gather a Hessian for every module, and at the layer's end each is compressed in turn and its
    Hessian given back. Levels are computed from the float16 numbers that are stored, in the model's dtype, before
    errors are compensated, so that the codes fit what runs. The model holds the dequantized weights until `finalize`
    swaps in the codes.
    """

    requires_calibration_data: bool = True

    targets: list[str] = Field(default_factory=lambda: ["Linear"])
    ignore: list[str] = Field(default_factory=list)
    bits: int = Field(default=3, ge=2, le=4)
    grid_bits: int = Field(default=5, ge=2, le=MOST_BITS)
    """n of the intermediate grid; `bits` itself leaves plain GPTQ with a uniform grid and a scale that is searched."""
    least_shrink: float = Field(default=0.4, gt=0.0, le=1.0)
    """The smallest part of a row's range that the grid is laid over."""
    shrink_steps: int = Field(default=13, ge=1)
    """How many parts of the range are tried, from the whole to the smallest; 1 is without re-exploration."""
    dampening_frac: float = Field(default=0.01, gt=0.0)
    """Added to the Hessian's diagonal, as a share of its mean."""
    block_size: int = Field(default=128, ge=1)
    """Columns that are worked on before the others are corrected."""

    _names: dict[nn.Linear, str] = PrivateAttr(default_factory=dict)
    _hessians: dict[nn.Linear, Tensor] = PrivateAttr(default_factory=dict)
    _samples: dict[nn.Linear, Tensor] = PrivateAttr(default_factory=dict)
    _done: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _fell_back: list[str] = PrivateAttr(default_factory=list)
    _grids: dict[torch.device, Grid] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _grid_holds_the_bits(self) -> GPTQTModifier:
        if self.grid_bits < self.bits:
            raise ValueError(f"a grid of {self.grid_bits} bits has no levels for {self.bits} bits")
        return self

    @property
    def shrinks(self) -> Tensor:
        """Parts of the row's range, (steps,), from 1 down."""
        return torch.linspace(1.0, self.least_shrink, self.shrink_steps)

    @property
    def compressed(self) -> Mapping[nn.Linear, str]:
        """The modules that are or will be compressed, with their names; from `initialize` to `finalize`."""
        return self._names

    def finished(self) -> dict[str, Tensor]:
        """Everything that is remembered of modules already compressed, on the CPU; what a checkpoint has to keep.

        For a module NAME of (rows, columns): `NAME.codes` int32 (rows, words), packed as `bitpress_codebook.packing`
        does, `NAME.coefficients` float16 (rows, bits) and `NAME.offset` float16 (rows, 1). Between two layers there is
        nothing else: Hessians live within one.
        """
        return dict(self._done)

    def restore(self, finished: Mapping[str, Tensor]) -> None:
        """Go on where another of the same recipe stood; `finished` is what it gave. Call it before `initialize`.

        `initialize` then writes the dequantized weights into the model, bit for bit what they were, and no data is
        gathered of these modules any more.
        """
        self._done = {name: tensor.cpu() for name, tensor in finished.items()}

    def on_initialize(self, state: State, **_arguments: Any) -> bool:
        self._names = {module: name for name, module in match_named_modules(state.model, self.targets, self.ignore)}
        for module, name in self._names.items():
            if f"{name}.codes" in self._done:
                update_offload_parameter(module, "weight", self._weight(name, module).dense(module.weight.dtype))
        return True

    def on_calibration_start(self, state: State, event: Event, **_arguments: Any) -> None:
        if not self._names:
            raise nothing_changed()
        for module, name in self._names.items():
            if f"{name}.codes" not in self._done:
                self.register_hook(module, self._heard, "forward")

    def on_sequential_epoch_end(self, state: State, event: Event, modules: list[nn.Module], **_arguments: Any) -> None:
        self._compress_heard()

    def on_calibration_end(self, state: State, event: Event, **_arguments: Any) -> None:
        self.remove_hooks()

    def on_finalize(self, state: State, **_arguments: Any) -> bool:
        self._compress_heard()
        self.remove_hooks()
        self._say_what_fell_back()
        done = [(name, module) for module, name in self._names.items() if f"{name}.codes" in self._done]
        for name, module in done:
            weight = self._weight(name, module)
            for part in _PARTS:
                del self._done[f"{name}.{part}"]
            swap_codebooks(state.model, {name: weight})
        if missed := len(self._names) - len(done):
            logger.warning(f"{missed} of {len(self._names)} modules got no calibration data and were left as they are")
        self._names, self._grids = {}, {}
        return True

    def _heard(self, module: nn.Linear, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """One batch of the module's inputs."""
        if module not in self._hessians:
            device = get_execution_device(module)
            self._hessians[module] = make_empty_hessian(module, device=device)
            self._samples[module] = torch.zeros((), device=device)
        self._hessians[module], self._samples[module] = accumulate_hessian(
            inputs[0], module, self._hessians[module], self._samples[module]
        )

    def _compress_heard(self) -> None:
        for module in list(self._hessians):
            name = self._names[module]
            # In GPTQ's own words, which the log's readers know.
            logger.info(f"Quantizing 1 module(s): {[name]}")
            with torch.no_grad(), disable_offloading(), CompressionLogger(module) as figures:
                hessian = self._hessians.pop(module)
                hessian /= self._samples.pop(module)
                figures.set_results(name="GPTQT", loss=self._compress(name, module, hessian))

    def _compress(self, name: str, module: nn.Linear, hessian: Tensor) -> float:
        weight = module.weight
        finite = bool(hessian.isfinite().all())
        if not finite:
            # Nothing is known of the inputs then: every weight counts alike, and none is corrected for another.
            hessian = torch.eye(weight.shape[1], device=hessian.device)
        scales = search(weight, hessian.diagonal().clone(), self._grid(weight.device), self.shrinks)
        levels = binary_values(scales.coefficients, scales.offset).to(weight.dtype).float()
        found = compensate(weight, hessian, levels, dampening=self.dampening_frac, block_size=self.block_size)
        if found.fell_back or not finite:
            self._fell_back.append(name)
        self._done[f"{name}.codes"] = pack(found.codes, self.bits).cpu()
        self._done[f"{name}.coefficients"] = scales.coefficients.cpu()
        self._done[f"{name}.offset"] = scales.offset.cpu()
        update_offload_parameter(module, "weight", _looked_up(levels.to(weight.dtype), found.codes))
        return found.error

    def _grid(self, device: torch.device) -> Grid:
        if device not in self._grids:
            self._grids[device] = Grid.of(codebooks(self.grid_bits, self.bits), device)
        return self._grids[device]

    def _weight(self, name: str, module: nn.Linear) -> CodebookWeight:
        codes, coefficients, offset = (self._done[f"{name}.{part}"] for part in _PARTS)
        return CodebookWeight(
            codes=unpack(codes, self.bits, module.in_features),
            bits=self.bits,
            coefficients=coefficients,
            offset=offset,
        )

    def _say_what_fell_back(self) -> None:
        if not self._fell_back:
            return
        shown = ", ".join(self._fell_back[:10]) + (" …" if len(self._fell_back) > 10 else "")
        logger.warning(
            f"Hessian inversion failed for {len(self._fell_back)} of {len(self._names)} modules. Each of their weights "
            f"was rounded by itself, to the nearest level of its row. Raise the dampening, or calibrate with more and "
            f"other samples. They are: {shown}"
        )


def _looked_up(levels: Tensor, codes: Tensor) -> Tensor:
    """levels[row, codes[row, column]], (rows, columns), some rows at a time: a place takes 8 bytes."""
    found = torch.empty(codes.shape, dtype=levels.dtype, device=levels.device)
    for start in range(0, codes.shape[0], _ROWS):
        part = slice(start, start + _ROWS)
        torch.gather(levels[part], 1, codes[part].long(), out=found[part])
    return found
