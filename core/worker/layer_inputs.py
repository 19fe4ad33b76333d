"""Forward passes that begin at a later decoder layer, from what went into it when the whole model ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from core.worker.layer_error import decoder_layers


class LayerInputs:
    """What went into each decoder layer, batch by batch: layers x tokens x hidden numbers in the model's dtype.

    A part of layer k changes nothing before it: the layers before it give what is kept instead of computing. All else
    (embedding, masks, positions, norm and head) runs as the model has it.
    """

    def __init__(self, model: Any) -> None:
        self._layers = decoder_layers(model)
        self._kept: list[list[torch.Tensor]] = []
        self._whole = False
        names = {id(module): name for name, module in model.named_modules()}
        self._prefixes = [f"{names[id(layer)]}." for layer in self._layers]

    @property
    def layers(self) -> int:
        """How many decoder layers there are."""
        return len(self._layers)

    def layer_of(self, modules: Sequence[str]) -> int:
        """The first decoder layer that has one of the modules; 0 where one is outside the layers."""
        places = [
            next((place for place, prefix in enumerate(self._prefixes) if name.startswith(prefix)), 0)
            for name in modules
        ]
        return min(places, default=0)

    def forget(self) -> None:
        """Keep nothing: every pass goes through all layers from now on."""
        self._kept, self._whole = [], True

    @contextmanager
    def recording(self) -> Iterator[None]:
        """One whole pass over the next batch, its layers' inputs kept."""
        entered: list[torch.Tensor] = []

        def keep(_layer: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            entered.append((args[0] if args else named["hidden_states"]).detach())

        with ExitStack() as undo:
            for layer in self._layers:
                undo.callback(layer.register_forward_pre_hook(keep, with_kwargs=True).remove)
            yield
        if len(entered) == len(self._layers):
            self._kept.append(entered)
        else:
            self._whole = True

    @contextmanager
    def disturbed(self, layer: int, generator: torch.Generator) -> Iterator[None]:
        """Passes whose input of this layer is moved by what its dtype rounds away, here and there."""

        def move(_layer: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if args:
                return (moved(args[0], generator), *args[1:]), named
            return args, {**named, "hidden_states": moved(named["hidden_states"], generator)}

        with ExitStack() as undo:
            if self._layers:
                undo.callback(self._layers[layer].register_forward_pre_hook(move, with_kwargs=True).remove)
            yield

    @contextmanager
    def beginning_at(self, layer: int, batch: int) -> Iterator[None]:
        """A pass over a batch that was recorded, in which the layers before `layer` compute nothing."""
        if self._whole or layer == 0:
            yield
            return
        with ExitStack() as undo:
            for place, skipped in enumerate(self._layers[:layer]):
                # On the object, so that hooks and the class stay as they are; deleting it gives the method back.
                skipped.forward = _giving(self._kept[batch][place + 1])
                undo.callback(skipped.__dict__.pop, "forward")
            yield


MOVED = 1 / 12
"""Share of numbers that are moved, by a unit in the last place up or down: the variance of rounding to the nearest."""


def moved(hidden: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The numbers, some of them the next larger or smaller one of their dtype."""
    chance = torch.rand(hidden.shape, generator=generator, device=hidden.device)
    step = (chance < MOVED / 2).double() - (chance > 1 - MOVED / 2).double()
    # Three quarters of the spacing at 1 is nearest to one unit in the last place for every mantissa.
    return (hidden.double() * (1 + step * 0.75 * torch.finfo(hidden.dtype).eps)).to(hidden.dtype)


def _giving(hidden: torch.Tensor) -> Callable[..., torch.Tensor]:
    def forward(*_args: Any, **_named: Any) -> torch.Tensor:
        return hidden

    return forward
