"""The last step of a model by itself: from the hidden states that go into its output head to its logits.

What a model does after its head differs (Gemma caps its logits, Cohere, Granite and Falcon-H1 scale them), so nothing
is assumed: on a few tokens the model's own logits are made again from its hidden states, by each transformation that
its config names, and only one that gives them to the bit is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import BitpressError
from core.value import Received
from core.worker.decoding import takes_logits_to_keep
from core.worker.scoring import forward
from core.worker.tensor_files import TensorFiles

SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
FACTORS = ("logit_scale", "lm_head_multiplier")
DIVISORS = ("logits_scaling",)
"""Under which names configs hold what happens to logits after the head."""


class AfterHead(Received):
    """One transformation of logits: none, softcap (c tanh(x / c)), times or over; `value` is its constant."""

    kind: str = "none"
    value: float = 1.0

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """In the order of operations of transformers, so that every rounding is the same."""
        if self.kind == "softcap":
            return torch.tanh(logits / self.value) * self.value
        if self.kind == "times":
            return logits * self.value
        if self.kind == "over":
            return logits / self.value
        return logits


class HeadFacts(Received):
    """How logits come from hidden states; kept with them, so that they can be made again without the model."""

    after: AfterHead
    whole: bool
    """The model makes the logits of every position, not only of the last ones."""
    weight: str | None
    """The tensor in the model's files that is the head's weight; None where the head must come from the model."""
    digest: str
    """SHA-256 over the probe's logits: another kernel or another weight makes another one."""


@dataclass(frozen=True, slots=True)
class Head:
    """An output head and what follows it; `module` is the only weight that is needed of the original."""

    module: Any
    facts: HeadFacts

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (..., vocabulary) of hidden states (..., width)."""
        return self.facts.after(self.module(hidden))


def known_transformations(config: Any) -> tuple[AfterHead, ...]:
    """None at all, and whatever the config names."""
    found = [AfterHead()]
    for part in (config, config.get_text_config()):
        for kind, names in (("softcap", SOFT_CAPS), ("times", FACTORS), ("over", DIVISORS)):
            for name in names:
                value = getattr(part, name, None)
                if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                    found.append(AfterHead(kind=kind, value=float(value)))
    return tuple(dict.fromkeys(found))


class Capture:
    """What went into the head last, and how often it was asked; with `empty`, the head is given nothing to do."""

    def __init__(self, *, empty: bool) -> None:
        self.hidden: torch.Tensor | None = None
        self.calls = 0
        self._empty = empty

    def __call__(self, module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """A forward pre-hook."""
        self.calls += 1
        self.hidden = inputs[0] if inputs else None
        if not self._empty or self.hidden is None:
            return None
        return (self.hidden[..., :0, :], *inputs[1:])


@contextmanager
def capturing(model: Any, *, empty: bool) -> Iterator[Capture]:
    """Every pass inside leaves the head's input in the Capture. `empty` spares the head's own work."""
    capture = Capture(empty=empty)
    handle = model.get_output_embeddings().register_forward_pre_hook(capture)
    try:
        yield capture
    finally:
        handle.remove()


@torch.inference_mode()
def probe(model: Any, ids: torch.Tensor) -> tuple[Head, torch.Tensor] | None:
    """The head with what follows it, and the probe's hidden states (1, tokens, width); `ids` is (1, tokens).

    None where the model's logits cannot be made again from them to the bit, whatever the reason: the caller then keeps
    the whole model.
    """
    module = _output_head(model)
    if module is None:
        return None
    keep = ids.shape[1]
    try:
        with capturing(model, empty=False) as whole:
            logits = forward(model, ids, keep)
        with capturing(model, empty=True) as spared:
            forward(model, ids, keep)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        # A model that does something unforeseen with its head; scored whole, it needs none of this.
        return None
    hidden = whole.hidden
    if hidden is None or spared.hidden is None or whole.calls != 1 or spared.calls != 1 or hidden.dim() != 3:
        return None
    if hidden.shape[:2] != logits.shape[:2] or not torch.equal(hidden, spared.hidden):
        return None
    for after in known_transformations(model.config):
        made = after(module(hidden))
        if made.shape == logits.shape and torch.equal(made.float(), logits.float()):
            facts = HeadFacts(after=after, whole=not takes_logits_to_keep(model), weight=None, digest=digest(made))
            return Head(module, facts), hidden.clone()
    return None


def named_weight(path: str, module: Any) -> str | None:
    """The tensor in a model's files that is the head's weight to the bit; None for a head that is not a plain one."""
    if type(module) is not torch.nn.Linear or module.bias is not None:
        return None
    try:
        with TensorFiles(Path(path)) as files:
            # The head's own name first: with tied weights only the embedding is there.
            for name in sorted(files.names, key=lambda name: "head" not in name):
                if not name.endswith("weight") or ("head" not in name and "emb" not in name and "wte" not in name):
                    continue
                tensor = files.read(name)
                if tensor.dtype == module.weight.dtype and torch.equal(tensor, module.weight.detach().cpu()):
                    return name
    except BitpressError:
        return None
    return None


@torch.inference_mode()
def stored_head(path: str, facts: HeadFacts, hidden: torch.Tensor, device: torch.device) -> Head | None:
    """The head read from the model's files alone; None where it does not make the probe's logits to the bit."""
    if facts.weight is None:
        return None
    try:
        with TensorFiles(Path(path)) as files:
            if facts.weight not in files:
                return None
            weight = files.read(facts.weight).to(device)
    except BitpressError:
        return None
    if weight.dim() != 2 or weight.shape[1] != hidden.shape[-1]:
        return None
    module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    head = Head(module, facts)
    return head if reproduces(head, hidden.to(device)) else None


def reproduces(head: Head, hidden: torch.Tensor) -> bool:
    """Whether the head makes the probe's logits to the bit."""
    with torch.inference_mode():
        return digest(head(hidden)) == head.facts.digest


def digest(logits: torch.Tensor) -> str:
    """SHA-256 over the logits as float32."""
    return hashlib.sha256(logits.float().cpu().contiguous().numpy().tobytes()).hexdigest()


def _output_head(model: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    try:
        head: Any = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return head if isinstance(head, torch.nn.Module) else None
