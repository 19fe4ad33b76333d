"""How much a model's loss minds a change of each weight: the diagonal of the Fisher information, from gradients.

F is the mean of g squared, g being the gradient of the loss on one calibration sample (SqueezeLLM, Kim et al. 2024,
section 4.1, equation 5): to second order a change d of the weights costs the sum of F d squared / 2. The loss of a
sample is summed over its tokens and the squares are divided by all of them, so that each token counts the same whatever
the length of its sample.

What is in memory at once: the weights, one sum in 32 bits for each weight that is asked for, the gradient of one
matrix, the inputs of the decoder layers for one sample and what one layer keeps for its gradient, and the logits of a
few positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from core.errors import BitpressError
from core.worker.cut_layers import decoder_list
from core.worker.reference_head import Head, capturing, probe
from core.worker.scoring import forward

LOGITS = 1 << 20
"""Most logits (positions times vocabulary) in memory at once; each takes about 16 bytes while gradients are made."""

_PROBED = 32
"""Tokens on which it is checked that the head alone makes the model's logits."""


class FisherSums:
    """The sums over the samples so far. Enter it around `add`: inside, only the asked weights have gradients."""

    def __init__(self, model: Any, targets: Mapping[str, Any], *, keep_on: torch.device | None = None) -> None:
        """`targets` are modules by name, each with a matrix `weight`; `keep_on` is where the sums are (the host)."""
        self.tokens = 0
        self.sums = {
            name: torch.zeros(module.weight.shape, dtype=torch.float32, device=keep_on or torch.device("cpu"))
            for name, module in targets.items()
        }
        self._model = model
        self._targets = dict(targets)
        self._open = ExitStack()
        self._head: Head | None = None

    def __enter__(self) -> FisherSums:
        head = self._model.get_output_embeddings()
        self._open.enter_context(_frozen_but(self._model, self._targets.values()))
        self._open.enter_context(_checkpointed(self._model))
        for name, module in self._targets.items():
            # The head gets its gradient piece by piece, and the square of a sum is no sum of squares.
            if module is not head:
                hook = module.weight.register_post_accumulate_grad_hook(partial(self._take, name))
                self._open.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, sample: Sequence[int]) -> float:
        """Take one sample's gradient squared into the sums; gives its mean loss in nats per token.

        Raises BitpressError `not-a-number` where the loss is none, and ValueError for fewer than two tokens.
        """
        if len(sample) < 2:
            raise ValueError("a sample without a next token has no loss")
        device = self._model.get_input_embeddings().weight.device
        ids = torch.tensor([list(sample)], device=device)
        if self._head is None:
            self._head = self._probed(ids)
        with torch.enable_grad():
            with capturing(self._model, empty=True) as capture:
                forward(self._model, ids[:, :-1], ids.shape[1] - 1)
            states = capture.hidden
            if states is None:
                raise _no_head(self._model)
            loss, gradient = self._loss(self._head, states.detach()[0], ids[0, 1:])
            states.backward(gradient[None])
        for name, module in self._targets.items():
            if module.weight.grad is not None:
                self._take(name, module.weight)
        self.tokens += len(sample) - 1
        return loss / (len(sample) - 1)

    def _loss(self, head: Head, states: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """The summed loss, and its gradient by the states (positions, width), the head's work in pieces."""
        gradient = torch.empty_like(states)
        total = 0.0
        for start in range(0, len(labels), self._positions):
            piece: Any = states[start : start + self._positions].clone().requires_grad_()
            logits = head(piece).float()
            loss = torch.nn.functional.cross_entropy(logits, labels[start : start + self._positions], reduction="sum")
            loss.backward()
            gradient[start : start + self._positions] = piece.grad
            total += float(loss.detach())
        if not (math.isfinite(total) and bool(torch.isfinite(gradient).all())):
            raise BitpressError(
                "not-a-number",
                "The loss on calibration data has no finite gradient.",
                "The weights may be damaged; look at the original. Activations as a measure need no gradient.",
            )
        return total, gradient

    def _take(self, name: str, weight: Any) -> None:
        gradient = weight.grad
        weight.grad = None
        # Row by row in pieces: a large matrix in 32 bits would be a copy of its own.
        rows = max(1, (1 << 22) // gradient.shape[1])
        sums = self.sums[name]
        for start in range(0, gradient.shape[0], rows):
            piece = gradient[start : start + rows].to(sums.device, torch.float32)
            sums[start : start + rows].addcmul_(piece, piece)

    def _probed(self, ids: Tensor) -> Head:
        found = probe(self._model, ids[:, :_PROBED])
        if found is None:
            raise _no_head(self._model)
        vocabulary = self._model.config.get_text_config().vocab_size
        self._positions = max(1, LOGITS // int(vocabulary))
        return found[0]


def _no_head(model: Any) -> BitpressError:
    return BitpressError(
        "no-gradients",
        f"{type(model).__name__} makes its logits in a way that gradients cannot be taken through piece by piece.",
        "Measure the sensitivity by activations instead (sensitivity = activation).",
    )


@contextmanager
def _frozen_but(model: Any, modules: Any) -> Iterator[None]:
    """Gradients for these modules' weights and for nothing else."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        for module in modules:
            module.weight.requires_grad_(True)
        yield
    finally:
        for parameter, needed in before:
            parameter.grad = None
            parameter.requires_grad_(needed)


@contextmanager
def _checkpointed(model: Any) -> Iterator[None]:
    """Each decoder layer keeps nothing but its input, and runs again when its gradient is wanted.

    Not transformers' own switch: that works in training mode alone, which would also switch dropout on.
    """
    found = decoder_list(model)
    layers = () if found is None else tuple(found[1])
    try:
        for layer in layers:
            layer.forward = _again(layer.forward)
        yield
    finally:
        for layer in layers:
            del layer.forward


def _again(inner: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return inner(*inputs, **named)
        # Nothing is drawn by chance in evaluation mode, so there is no state of a generator to keep.
        return checkpoint(inner, *inputs, use_reentrant=False, preserve_rng_state=False, **named)

    return run
