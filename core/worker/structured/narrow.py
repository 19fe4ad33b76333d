"""The modifier that makes layers narrower: fewer MLP channels, fewer key-value heads with their query heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from llmcompressor.core import Event, State
from pydantic import PrivateAttr

from core.errors import BitpressError
from core.methods.smaller import ATTENTION, FUSED, MLP_LAYOUTS, kept_width
from core.worker.structured.blocks import blocks_of
from core.worker.structured.channels import keep_columns
from core.worker.structured.reported import ReportedModifier
from core.worker.structured.settings import narrowed_settings, take_over


@dataclass(slots=True)
class _Part:
    """Layers of one block that lose channels together: rows of `ins`, columns of `out`, in groups.

    `sizes` are the rows of each of `ins` that belong to one group; `size` the columns of `out` that do. `halves` says
    of a fused layer that its rows are two of these, one after the other. `gram` is X^T X of the inputs of `out`.
    """

    name: str
    ins: tuple[Any, ...]
    sizes: tuple[int, ...]
    out: Any
    size: int
    keep: int
    halves: bool = False
    gram: Any = None


class NarrowModifier(ReportedModifier):
    """Takes the least important channels and heads out of every decoder block, the same number of each.

    A block is narrowed once the calibration data has passed it, and what it gives then is what the next one is
    measured with.

    :param channels: share of the MLP's intermediate channels to take out, 0 to 1
    :param multiple: the channels that are left are the nearest multiple of this
    :param kv_heads: key-value heads to take out of every attention, each with the query heads that read it
    :param importance: `loss` scores by what is lost once the others stand in, `product` by activation times weight
    :param reconstruct: whether the layer that reads the channels is fitted anew to those that are left
    :param dampening: added to the diagonal of X^T X, as a share of its mean
    """

    requires_calibration_data: bool = True
    channels: float = 0.0
    multiple: int = 128
    kv_heads: int = 0
    importance: Literal["loss", "product"] = "loss"
    reconstruct: bool = True
    dampening: float = 0.01

    _parts: dict[Any, list[_Part]] = PrivateAttr(default_factory=dict)
    _widths: dict[str, tuple[int, int]] = PrivateAttr(default_factory=dict)

    def on_initialize(self, state: State, **_kwargs: Any) -> bool:
        """Find the layers, and whether the model can have them narrower. Raises BitpressError `cannot-narrow`."""
        name, blocks = blocks_of(state.model)
        config = state.model.config.get_text_config()
        for number, block in enumerate(blocks):
            parts = []
            if self.channels:
                parts.append(self._mlp(f"{name}.{number}", block))
            if self.kv_heads:
                parts.append(self._attention(f"{name}.{number}", block, config))
            self._parts[block] = parts
        if not self._widths:
            raise _cannot("neither channels nor heads were to go")
        narrowed_settings(state.model, self._widths)
        return True

    def on_calibration_start(self, state: State, event: Event, **_kwargs: Any) -> None:
        """Listen to the inputs of the layers whose columns go."""
        for parts in self._parts.values():
            for part in parts:
                self.register_hook(part.out, self._gathering(part), "forward_pre")

    def on_sequential_epoch_end(self, state: State, event: Event, modules: Sequence[Any], **_kwargs: Any) -> None:
        """Narrow the blocks that the data has passed."""
        for block in [block for block in self._parts if block in modules]:
            for part in self._parts[block]:
                if part.gram is None:
                    raise _cannot(f"no data reached {part.name}")
            for part in self._parts.pop(block):
                self._narrow(part)

    @property
    def measuring(self) -> bool:
        """Whether it holds sums of inputs of layers that are not narrow yet."""
        return any(part.gram is not None for parts in self._parts.values() for part in parts)

    def already_passed(self, modules: Sequence[Any]) -> None:
        """These were narrowed before an interruption, and were put back so."""
        for block in [block for block in self._parts if block in modules]:
            del self._parts[block]

    def on_calibration_end(self, state: State, event: Event, **_kwargs: Any) -> None:
        """Every block is narrower: the configuration says so. Raises BitpressError `cannot-narrow` where one is not."""
        self.remove_hooks()
        if self._parts:
            raise _cannot("some blocks were not reached by the data")
        take_over(state.model, narrowed_settings(state.model, self._widths))

    def _mlp(self, name: str, block: Any) -> _Part:
        found = dict(block.named_modules())
        for ins, out in MLP_LAYOUTS:
            places = [_place(found, layer) for layer in (*ins, out)]
            if all(places):
                layers = [found[place] for place in places if place]
                width = layers[-1].in_features
                keep = kept_width(width, self.channels, self.multiple)
                if keep == width:
                    raise _cannot(f"{self.channels:.0%} of {width:,} channels is less than half of {self.multiple}")
                self._agree("channels", width, keep)
                place = f"{name}.{places[-1]}"
                halves = ins == (FUSED,)
                return _Part(place, tuple(layers[:-1]), (1,) * len(ins), layers[-1], 1, keep, halves)
        raise _cannot(f"{name} has no MLP of a kind that is known")

    def _attention(self, name: str, block: Any, config: Any) -> _Part:
        found = dict(block.named_modules())
        ins, out = ATTENTION
        places = [_place(found, layer) for layer in (*ins, out)]
        if not all(places):
            raise _cannot(f"{name} has no query, key, value and output layers that are apart")
        query, key, value, output = (found[place] for place in places if place)
        count = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        if not 0 < self.kv_heads < count:
            raise _cannot(f"{self.kv_heads} of {count} key-value heads were to go")
        sizes = tuple(layer.out_features // count for layer in (query, key, value))
        self._agree("kv_heads", count, count - self.kv_heads)
        self._agree("heads", int(config.num_attention_heads), config.num_attention_heads // count * self.widths_kv)
        self._agree("head_dim", sizes[1], sizes[1])
        size = output.in_features // count
        return _Part(f"{name}.{places[-1]}", (query, key, value), sizes, output, size, count - self.kv_heads)

    @property
    def widths_kv(self) -> int:
        """Key-value heads that are left of every attention."""
        return self._widths["kv_heads"][1]

    def _agree(self, what: str, before: int, after: int) -> None:
        if self._widths.setdefault(what, (before, after)) != (before, after):
            raise _cannot(f"its blocks have different {what.replace('_', ' ')}, and a configuration has one number")

    def _gathering(self, part: _Part) -> Any:
        def gathered(_module: Any, inputs: tuple[Any, ...]) -> None:
            if part.gram is False:
                return
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).float()
            product = rows.T @ rows
            part.gram = product if part.gram is None else part.gram.add_(product)

        return gathered

    def _narrow(self, part: _Part) -> None:
        weight = part.out.weight.detach()
        kept = keep_columns(
            weight,
            part.gram.to(weight.device),
            part.size,
            part.keep,
            corrected=self.importance == "loss",
            reconstruct=self.reconstruct,
            dampening=self.dampening,
        )
        part.gram = False
        groups = kept.columns[:: part.size] // part.size
        for layer, size in zip(part.ins, part.sizes, strict=True):
            places = torch.arange(size, device=groups.device)
            rows = (groups[:, None] * size + places).reshape(-1)
            if part.halves:
                rows = torch.cat([rows, rows + layer.out_features // 2])
            _keep_rows(layer, rows)
        part.out.weight = torch.nn.Parameter(kept.weight.contiguous(), requires_grad=False)
        part.out.in_features = int(kept.weight.shape[1])
        _prepare_anew(part.out)
        self.measured("narrowing_error", kept.error, part.name, relative=kept.error**0.5)


def _keep_rows(layer: Any, rows: Any) -> None:
    """A Linear with these rows of its own, its bias among them; offloaded ones too, as attributes are assigned."""
    rows = rows.to(layer.weight.device)
    layer.weight = torch.nn.Parameter(layer.weight.detach()[rows].contiguous(), requires_grad=False)
    if layer.bias is not None:
        layer.bias = torch.nn.Parameter(layer.bias.detach()[rows].contiguous(), requires_grad=False)
    layer.out_features = len(rows)
    _prepare_anew(layer)


def _prepare_anew(layer: Any) -> None:
    """A modifier that comes later has made room already for the scales of the wider layer."""
    from compressed_tensors.quantization import initialize_module_for_quantization

    initialize_module_for_quantization(layer)


def _place(found: Mapping[str, Any], last: str) -> str | None:
    """The only Linear of the block with this last name."""
    named = [name for name, module in found.items() if name.rpartition(".")[2] == last]
    return named[0] if len(named) == 1 and type(found[named[0]]).__name__ == "Linear" else None


def _cannot(reason: str) -> BitpressError:
    return BitpressError(
        "cannot-narrow",
        f"The layers of this model cannot be made narrower: {reason}.",
        "Take out decoder blocks instead, or choose a method that rounds weights.",
    )
