"""A model whose Linear weights are trained while they are rounded, and how it becomes a plain model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from compressed_tensors.utils import match_named_modules
from torch import nn

from core.worker.qat.library import shown
from core.worker.recovery.student import Student

WEIGHTS = "weights"


@dataclass(slots=True)
class RoundedStudent(Student):
    """`layers` are torchao's, by name; `plain` the Linear modules whose place they take, weights as they were."""

    layers: dict[str, Any] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)
    learning: dict[str, bool] = field(default_factory=dict)
    """Which of the model's parameters wanted gradients before."""

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The master copies of the weights."""
        return {WEIGHTS: [layer.weight for layer in self.layers.values()]}

    def train(self, mode: bool) -> None:
        """Nothing differs: in training as well, weights are rounded as they will be stored."""

    @torch.no_grad()
    def close(self, *, keep: bool) -> None:
        """Put the plain modules back, with the trained weights where they are to be kept."""
        self.model.gradient_checkpointing_disable()
        self.model.eval()
        for name, plain in self.plain.items():
            layer = self.layers.pop(name)
            if keep:
                plain.weight = nn.Parameter(layer.weight.detach().to(plain.weight.device, plain.weight.dtype))
            plain.to(layer.weight.device)
            self.model.set_submodule(name, plain)
        self.plain.clear()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self.learning.get(name, True))
            parameter.grad = None


def chosen(model: Any, targets: Sequence[str], ignore: Sequence[str]) -> tuple[str, ...]:
    """Names of the Linear modules that are trained: what the recipe rounds, in the model's order.

    Not the output layer, whoever rounds it: it may be the embedding as well, and the teacher speaks through it.
    """
    head = model.get_output_embeddings()
    found = match_named_modules(model, list(targets), list(ignore))
    return tuple(name for name, module in found if type(module) is nn.Linear and module is not head)


def prepare(model: Any, names: Sequence[str], bits: int, group: int | str) -> RoundedStudent:
    """The student of these modules, its masters in float32 where the model lies. Raises BitpressError `no-torchao`."""
    quantizer = shown("core.worker.qat.quantizer")
    learning = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    plain = {name: model.get_submodule(name) for name in names}
    model.requires_grad_(False)
    layers = quantizer.prepared(model, names, bits, group)
    for name, layer in layers.items():
        layer.weight.requires_grad_(True)
        # On a GPU there is no room for what is not at work.
        plain[name].to("cpu")
    return RoundedStudent(model, layers=layers, plain=plain, learning=learning)
