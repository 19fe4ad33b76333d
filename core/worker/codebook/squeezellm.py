"""SqueezeLLM: each row of a matrix gets a table of 8 or 16 values, placed where its sensitive weights are.

Kim et al., "SqueezeLLM: Dense-and-Sparse Quantization", ICML 2024, arXiv 2306.07629. The table is found by k-means,
weighted by how much the loss minds a change of each weight; the few most sensitive and the largest weights are taken
out beforehand and stored as they are. Differences from the paper's code: what is kept is counted exactly, by rank
instead of by a threshold; k-means starts from the density and is improved by moves (`kmeans`) instead of scikit-learn's
random starts; kept weights replace the table's value instead of being added to that of zero; and squared gradients are
taken token by token (`fisher`).

`compensation` is ours and not the paper's: the tables begin as the paper's, and then indices and tables are chosen
together for what the layer gives (`correlated`), layer after layer with what the layers before have become. Without it
each weight takes the nearest value of the table that k-means found, as in the paper.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from compressed_tensors.utils import (
    align_module_device,
    get_execution_device,
    match_named_modules,
    update_offload_parameter,
)
from llmcompressor.core import Event, State
from llmcompressor.modifiers import Modifier
from llmcompressor.modifiers.gptq.helpers import accumulate_hessian, make_empty_hessian
from loguru import logger
from pydantic import PrivateAttr, model_validator
from torch import Tensor

from bitpress_codebook.packing import pack, unpack
from bitpress_codebook.weight import CodebookWeight, Kept
from core.errors import BitpressError
from core.worker.codebook.correlated import fitted
from core.worker.codebook.kept import kept_mask, kept_weights
from core.worker.codebook.kmeans import ITERATIONS, weighted_kmeans
from core.worker.swap_codebooks import swap_codebooks

_PARTS = ("codes", "table", "kept_starts", "kept_columns", "kept_values")
"""What is remembered of a module, under its name and these."""

Sensitivity = Literal["fisher", "activation", "none"]


@dataclass(frozen=True, slots=True)
class Pressed:
    """A matrix as indices and tables.

    `relative` is the weighted squared error over the weighted sum of squares; with a Hessian it is the squared error of
    the outputs over their sum of squares.
    """

    weight: CodebookWeight
    relative: float
    fell_back: bool = False
    """Whether the Hessian could not be inverted."""


def press(
    weight: Tensor,
    sensitivity: Tensor | None,
    *,
    bits: int,
    sensitive: float = 0.0,
    outliers: float = 0.0,
    iterations: int = ITERATIONS,
    hessian: Tensor | None = None,
) -> Pressed:
    """SqueezeLLM of one matrix (rows, columns).

    `sensitivity` is (rows, columns), or (columns,) where all rows share it, or None where all weights count the same;
    a row of nothing but zeros counts each of its weights the same. `sensitive` and `outliers` are shares of the weights
    that are kept as they are. With `hessian` (columns, columns), which is overwritten, indices and tables are then
    fitted to the layer's outputs.
    """
    rows, columns = weight.shape
    if sensitivity is None:
        counted = torch.ones((rows, columns), dtype=torch.float32, device=weight.device)
    else:
        counted = sensitivity.to(weight.device, torch.float32).expand(rows, columns).clone()
    mask = kept_mask(weight, None if sensitivity is None else counted, sensitive=sensitive, outliers=outliers)
    counted[counted.sum(1) <= 0] = 1.0
    counted[mask] = 0.0
    found = weighted_kmeans(weight, counted, 1 << bits, iterations=iterations)
    kept = kept_weights(weight, mask)
    if hessian is not None:
        del counted
        fit = fitted(weight, found.table, hessian, mask)
        made = CodebookWeight(codes=fit.codes, bits=bits, table=fit.table, kept=kept)
        return Pressed(made, fit.relative, fit.fell_back)
    whole = float((counted.double() * weight.double().square()).sum())
    made = CodebookWeight(codes=found.codes, bits=bits, table=found.table.to(torch.float16), kept=kept)
    return Pressed(made, float(found.error.sum()) / whole if whole else 0.0)


class SqueezeLLMModifier(Modifier):
    """Weights of the targets become tables and indices of `bits` bits; the shares `sensitive` and `outliers` are kept.

    With `sensitivity` fisher, it must have taken a file of them when it begins (`core.worker.codebook.fisher_stage`),
    and no data passes here. With activation, data passes and the mean square of each column's inputs counts instead.
    With `compensation` data passes as well, and indices and tables are fitted to the layer's outputs, which is ours.
    The model computes with the new weights at once; modules are exchanged for CodebookLinear at the very end. Between
    two layers nothing is remembered but what `_done` holds, so that a checkpoint there is whole.
    """

    targets: list[str] = ["Linear"]
    ignore: list[str] = []
    bits: Literal[2, 3, 4] = 4
    sensitivity: Sensitivity = "fisher"
    sensitive: float = 0.0005
    outliers: float = 0.004
    iterations: int = ITERATIONS
    compensation: bool = False

    _names: dict[Any, str] = PrivateAttr(default_factory=dict)
    _squares: dict[Any, Tensor] = PrivateAttr(default_factory=dict)
    _tokens: dict[Any, int] = PrivateAttr(default_factory=dict)
    _hessians: dict[Any, Tensor] = PrivateAttr(default_factory=dict)
    _samples: dict[Any, Tensor] = PrivateAttr(default_factory=dict)
    _done: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _fell_back: list[str] = PrivateAttr(default_factory=list)
    _open: ExitStack = PrivateAttr(default_factory=ExitStack)
    _path: Path | None = PrivateAttr(default=None)
    _file: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _asks_for_data(self) -> SqueezeLLMModifier:
        self.requires_calibration_data = self.compensation or self.sensitivity == "activation"
        return self

    @property
    def layer_by_layer(self) -> bool:
        """Whether it is to be led from layer to layer, as no data does that."""
        return not self.requires_calibration_data

    @property
    def requires_gradients(self) -> bool:
        """Whether a pass for the Fisher information must come first."""
        return self.sensitivity == "fisher"

    def take_sensitivities(self, path: Path) -> None:
        """Use the sensitivities in this file (`sensitivity_file`). No field: a recipe tells nothing of this machine."""
        self._path = path

    def modules_of(self, model: Any) -> dict[str, Any]:
        """The modules that it compresses, by name, in the model's order."""
        return dict(match_named_modules(model, self.targets, self.ignore))

    def on_initialize(self, state: State, **_: Any) -> bool:
        self._names = {module: name for name, module in self.modules_of(state.model).items()}
        shared = state.model.get_input_embeddings()
        for module, name in self._names.items():
            if shared is not None and module.weight is shared.weight:
                raise BitpressError(
                    "tied-head",
                    f"{name} shares its weights with the embedding, which stays as it is.",
                    "Leave it alone: add it to the ignored layers.",
                )
        if self.sensitivity == "fisher":
            self._file = self._opened()
        return True

    def on_calibration_start(self, state: State, event: Event, **_: Any) -> None:
        for module, name in self._names.items():
            if self.compensation and f"{name}.codes" not in self._done:
                self.register_hook(module, self._heard, "forward")
            elif self.sensitivity == "activation":
                self.register_hook(module, self._seen, "forward")

    def on_sequential_epoch_end(self, state: State, event: Event, modules: Sequence[Any] = (), **_: Any) -> None:
        self._press([module for module in modules if module in self._names])

    def on_calibration_end(self, state: State, event: Event, **_: Any) -> None:
        self._press(list(self._names))
        self.remove_hooks()
        self._open.close()

    def on_finalize(self, state: State, **_: Any) -> bool:
        if self._fell_back:
            shown = ", ".join(self._fell_back[:10]) + (" …" if len(self._fell_back) > 10 else "")
            logger.warning(
                f"Hessian inversion failed for {len(self._fell_back)} of {len(self._names)} modules. Their indices "
                f"began with each weight by itself. Calibrate with more and other samples. They are: {shown}"
            )
        while self._names:
            # The last one that holds the dense weight lets it go.
            module, name = self._names.popitem()
            columns = module.in_features
            del module
            swap_codebooks(state.model, {name: self._weight(name, columns)})
            for part in _PARTS:
                self._done.pop(f"{name}.{part}", None)
        return True

    def works(self, modules: Sequence[Any]) -> int:
        """How many of these it will work on."""
        return sum(module in self._names for module in modules)

    def module_done(self, name: str, relative: float, seconds: float) -> None:
        """Hear that a module is done; whoever follows the progress puts itself here."""

    def _seen(self, module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        """Add the squares of what goes into the module, (columns,)."""
        rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        squares = rows.float().square().sum(0)
        self._squares[module] = self._squares[module] + squares if module in self._squares else squares
        self._tokens[module] = self._tokens.get(module, 0) + len(rows)

    def _heard(self, module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        """One batch of the module's inputs."""
        if module not in self._hessians:
            device = get_execution_device(module)
            self._hessians[module] = make_empty_hessian(module, device=device)
            self._samples[module] = torch.zeros((), device=device)
        self._hessians[module], self._samples[module] = accumulate_hessian(
            inputs[0], module, self._hessians[module], self._samples[module]
        )

    def _press(self, modules: Sequence[Any]) -> None:
        for module in modules:
            name = self._names[module]
            if f"{name}.codes" in self._done:
                continue
            started = time.perf_counter()
            hessian = self._hessian(module)
            with torch.no_grad(), align_module_device(module):
                weight = module.weight.detach()
                pressed = press(
                    weight,
                    self._sensitivity(module, name, hessian),
                    bits=self.bits,
                    sensitive=self.sensitive if self.sensitivity == "fisher" else 0.0,
                    outliers=self.outliers + (0.0 if self.sensitivity == "fisher" else self.sensitive),
                    iterations=self.iterations,
                    hessian=hessian,
                )
                update_offload_parameter(module, "weight", pressed.weight.dense(weight.dtype))
            if pressed.fell_back:
                self._fell_back.append(name)
            self._remember(name, pressed.weight)
            self.module_done(name, pressed.relative, time.perf_counter() - started)

    def _hessian(self, module: Any) -> Tensor | None:
        """The mean of the outer products of the module's inputs; None where nothing came by, or no number."""
        if module not in self._hessians:
            return None
        hessian = self._hessians.pop(module)
        hessian /= self._samples.pop(module)
        return hessian if bool(hessian.isfinite().all()) else None

    def _remember(self, name: str, weight: CodebookWeight) -> None:
        parts = {"codes": pack(weight.codes, self.bits), "table": weight.table}
        if weight.kept is not None:
            kept = weight.kept
            parts |= {"kept_starts": kept.starts, "kept_columns": kept.columns, "kept_values": kept.values}
        self._done |= {f"{name}.{part}": tensor.cpu() for part, tensor in parts.items() if tensor is not None}

    def _weight(self, name: str, columns: int) -> CodebookWeight:
        codes, table, *kept = (self._done.get(f"{name}.{part}") for part in _PARTS)
        if codes is None or table is None:
            raise ValueError(f"{name} was not pressed")
        starts, places, values = kept
        return CodebookWeight(
            codes=unpack(codes, self.bits, columns),
            bits=self.bits,
            table=table,
            kept=None if starts is None or places is None or values is None else Kept(starts, places, values),
        )

    def _sensitivity(self, module: Any, name: str, hessian: Tensor | None) -> Tensor | None:
        if self.sensitivity == "fisher":
            found: Tensor = self._file.get_tensor(name)
            return found
        if self.sensitivity == "none":
            return None
        if hessian is not None:
            return hessian.diagonal().clone()
        if module not in self._squares:
            # Nothing of the data came by here, as it does to experts that were never chosen.
            return torch.ones(module.weight.shape[1])
        return self._squares.pop(module) / self._tokens.pop(module)

    def _opened(self) -> Any:
        from safetensors import SafetensorError, safe_open

        path = self._path
        if path is None or not path.is_file():
            raise BitpressError(
                "no-sensitivity",
                "The sensitivities that SqueezeLLM places its values by are not there.",
                "Start the job again: they are measured before the weights are compressed.",
            )
        try:
            file = self._open.enter_context(safe_open(path, framework="pt"))
            missing = [name for name in self._names.values() if name not in set(file.keys())]
        except SafetensorError as error:
            raise BitpressError(
                "no-sensitivity",
                f"The sensitivities in {path} cannot be read: {error}",
                "Remove the caches (`bitpress clean`), and start the job again.",
            ) from error
        if missing:
            raise BitpressError(
                "no-sensitivity",
                f"{path} has no sensitivities of {missing[0]}" + (" and others." if len(missing) > 1 else "."),
                "Remove the caches (`bitpress clean`), and start the job again.",
            )
        return file
