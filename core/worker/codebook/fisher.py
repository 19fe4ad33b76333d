"""How much a model's loss minds a change of each weight: the diagonal of the Fisher information, from gradients.

To second order a change d of the weights costs the sum of F d squared / 2, F being the mean square of the gradient g of
the loss (SqueezeLLM, Kim et al. 2024, section 4.1, equation 5). A weight's gradient at one token is that of its row's
output times its column's input, so the squares of a matrix at all tokens of a sample are one product: (squared
gradients of the outputs)ᵀ (squared inputs). The paper's code squares the gradient of a whole sample instead, the sum
over its tokens; then a hundred samples are a hundred draws, here they are as many as there are tokens. Both have the
same mean where what tokens give is independent.

The loss is that of tokens drawn from the model's own predictions, which makes F the curvature of the divergence from
the original, KL(p || p'), and that is what compression is measured by. With the tokens of the data, as in the paper's
code, it is the empirical Fisher information, which is that only for a model that has learned the data by heart. On a
model of ours (3.7 million parameters, 3 bits, tables alone, 1,792 held-out tokens) the mean divergence was 0.0068 with
drawn tokens and 0.0070 with the data's, token by token, and 0.0075 and 0.0076 sample by sample.

What is in memory at once: the weights, one sum in 32 bits for each weight that is asked for, the inputs of the decoder
layers for one sample and what one layer keeps for its gradient, and the logits of a few positions.
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

_SEED = 0

_PROBED = 32
"""Tokens on which it is checked that the head alone makes the model's logits."""


class FisherSums:
    """The sums over the samples so far. Enter it around `add`: inside, only the asked weights have gradients."""

    def __init__(
        self, model: Any, targets: Mapping[str, Any], *, keep_on: torch.device | None = None, drawn: bool = True
    ) -> None:
        """`targets` are modules by name, each with a matrix `weight`; `keep_on` is where the sums are (the host).

        With `drawn` the loss is that of tokens that are drawn from the predictions, the same ones each time; else of
        those that follow in the sample.
        """
        self.tokens = 0
        self._drawn = drawn
        self._chance: torch.Generator | None = None
        self.sums = {
            name: torch.zeros(module.weight.shape, dtype=torch.float32, device=keep_on or torch.device("cpu"))
            for name, module in targets.items()
        }
        self._model = model
        self._targets = dict(targets)
        self._open = ExitStack()
        self._head: Head | None = None

    def __enter__(self) -> FisherSums:
        self._open.enter_context(_frozen(self._model))
        self._open.enter_context(_checkpointed(self._model))
        # Nothing that is trained is left, so gradients begin at what goes into the first layer.
        begun = self._model.get_input_embeddings().register_forward_hook(_beginning)
        self._open.callback(begun.remove)
        for name, module in self._targets.items():
            hook = module.register_forward_hook(partial(self._heard, name))
            self._open.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, sample: Sequence[int]) -> float:
        """Take the squared gradients of one sample's tokens into the sums; gives the mean loss in nats per token.

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
        self.tokens += len(sample) - 1
        return loss / (len(sample) - 1)

    def _loss(self, head: Head, states: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """The summed loss, and its gradient by the states (positions, width), the head's work in pieces."""
        gradient = torch.empty_like(states)
        total = 0.0
        for start in range(0, len(labels), self._positions):
            piece: Any = states[start : start + self._positions].clone().requires_grad_()
            logits = head(piece).float()
            wanted = self._draw(logits.detach()) if self._drawn else labels[start : start + self._positions]
            loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
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

    def _draw(self, logits: Tensor) -> Tensor:
        """A token for each position from what the model expects there."""
        if self._chance is None:
            self._chance = torch.Generator(logits.device).manual_seed(_SEED)
        # What is no number draws nothing; the loss of any token then says so.
        likely = logits.softmax(-1).nan_to_num(1.0, 1.0, 1.0)
        return torch.multinomial(likely, 1, generator=self._chance)[:, 0]

    def _heard(self, name: str, _module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
        if not torch.is_grad_enabled() or not output.requires_grad:
            return output
        return _Squares.apply(output, inputs[0].detach(), self.sums[name])

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


class _Squares(torch.autograd.Function):
    """Passes a layer's output on; when its gradient comes, the squares go into the sums.

    The input is kept as autograd keeps it, so that a layer that runs again for its gradient gives it once more.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, entered: Tensor, sums: Tensor) -> Tensor:
        ctx.save_for_backward(entered)
        ctx.sums = sums
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient, sums = gradients[0], ctx.sums
        (entered,) = ctx.saved_tensors
        left = gradient.reshape(-1, gradient.shape[-1]).float().square().T
        right = entered.reshape(-1, entered.shape[-1]).float().square()
        if sums.device == gradient.device:
            sums.addmm_(left, right)
        else:
            # Row by row in pieces: the whole product would be a copy of the matrix in 32 bits.
            rows = max(1, (1 << 22) // right.shape[1])
            for start in range(0, len(sums), rows):
                sums[start : start + rows] += (left[start : start + rows] @ right).to(sums.device)
        return gradient, None, None


def _beginning(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
    return output.requires_grad_(True) if torch.is_grad_enabled() and output.is_leaf else output


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """No parameter has a gradient inside."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, needed in before:
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
