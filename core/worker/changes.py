"""What llmcompressor has changed in a model, found by looking at the model itself.

Some of its modifiers change nothing and raise nothing where no module matches, or where they only act during training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import BitpressError
from core.methods.method import ModifierSpec
from core.methods.modifier_modules import PRUNING, STRUCTURED
from core.worker.cut_layers import decoder_list

EXPERT_COUNTS = ("num_experts", "num_local_experts", "moe_num_experts", "n_routed_experts")
"""How configs call the number of experts in a layer."""

_ROWS = 1 << 12


@dataclass(frozen=True, slots=True)
class Before:
    """What is remembered of a model before it is changed: zeros of the modules to be pruned, experts of a layer.

    `blocks` are its decoder blocks, `linears` the elements of all its Linear modules.
    """

    zeros: Mapping[str, int]
    experts: int | None
    blocks: int = 0
    linears: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of modules by what became of them; `experts` counts those of a layer that are gone."""

    quantized: tuple[str, ...] = ()
    """Whose weights carry a scheme, or are stored as tables or binary codes."""
    left: tuple[str, ...] = ()
    """Linear modules whose weights do not."""
    pruned: tuple[str, ...] = ()
    """Which were to be pruned; none where none of them has more zeros than before."""
    cached: tuple[str, ...] = ()
    """Attention modules that round keys and values."""
    experts: int = 0
    blocks: int = 0
    """How many decoder blocks are gone."""
    narrower: bool = False
    """Whether Linear modules have fewer rows or columns in all than before, in as many blocks."""

    def demand(self) -> None:
        """Raise BitpressError `nothing-changed` where a compressed model would be the original again."""
        smaller = self.experts or self.blocks or self.narrower
        if not (self.quantized or self.pruned or self.cached or smaller):
            raise nothing_changed()


def nothing_changed() -> BitpressError:
    """The error for a recipe without effect."""
    return BitpressError(
        "nothing-changed",
        "The recipe compressed nothing in this model: no weights are rounded, none became zero, no expert, block or "
        "channel is gone and the KV cache is as it was.",
        "Look at the recipe's targets and ignored modules: they must name modules that the model has.",
    )


def before(model: Any, modifiers: Sequence[ModifierSpec]) -> Before:
    """What must be known of the model beforehand. Counting zeros takes a pass over the weights that will be pruned."""
    modules = dict(model.named_modules())
    return Before(
        zeros={name: _zeros(modules[name].weight) for name in to_be_pruned(model, modifiers)},
        experts=_experts(model),
        blocks=_blocks(model),
        linears=_linears(model),
    )


def changes(model: Any, modifiers: Sequence[ModifierSpec], known: Before) -> Changes:
    """What is different now. Experts that are modules of their own by now count as without zeros beforehand."""
    from compressed_tensors.quantization import is_cached_attention_module

    from bitpress_codebook.linear import CodebookLinear

    modules = dict(model.named_modules())
    quantized, left, cached = [], [], []
    for name, module in modules.items():
        scheme = getattr(module, "quantization_scheme", None)
        if getattr(scheme, "weights", None) is not None or isinstance(module, CodebookLinear):
            quantized.append(name)
        elif type(module).__name__ == "Linear":
            left.append(name)
        elif scheme is not None and is_cached_attention_module(module):
            cached.append(name)
    pruned = to_be_pruned(model, modifiers)
    emptied = any(_zeros(modules[name].weight) > known.zeros.get(name, 0) for name in pruned)
    return Changes(
        quantized=tuple(quantized),
        left=tuple(left),
        pruned=pruned if emptied else (),
        cached=tuple(cached),
        experts=max(0, (known.experts or 0) - (_experts(model) or 0)),
        blocks=max(0, known.blocks - _blocks(model)),
        narrower=_structured(modifiers) and known.blocks == _blocks(model) and _linears(model) < known.linears,
    )


def to_be_pruned(model: Any, modifiers: Sequence[ModifierSpec]) -> tuple[str, ...]:
    """Linear modules that the recipe's pruning modifiers name, in the model's order.

    A target names a module, or a block of which all Linear modules are meant. What is ignored is compared with
    `target.module`, as these modifiers do it: for a target without modules inside the name ends with a dot.
    """
    from compressed_tensors.utils import match_named_modules
    from compressed_tensors.utils.match import match_targets

    found: set[str] = set()
    for spec in modifiers:
        if spec.name not in PRUNING:
            continue
        targets = spec.arguments.get("targets", ["Linear"])
        ignore = spec.arguments.get("ignore") or []
        for block, target in match_named_modules(model, [targets] if isinstance(targets, str) else targets):
            for inner, module in target.named_modules():
                if type(module).__name__ == "Linear" and not match_targets(f"{block}.{inner}", module, ignore):
                    found.add(f"{block}.{inner}".strip("."))
    return tuple(name for name, _ in model.named_modules() if name in found)


def _zeros(weight: Any) -> int:
    """How many elements are zero, without a mask of the whole tensor in memory."""
    return sum(int(part.numel() - part.count_nonzero()) for part in weight.detach().split(_ROWS))


def _experts(model: Any) -> int | None:
    config = model.config.get_text_config()
    return next((int(count) for name in EXPERT_COUNTS if (count := getattr(config, name, None))), None)


def _structured(modifiers: Sequence[ModifierSpec]) -> bool:
    """Whether the recipe takes parts out; experts that are taken apart change the Linear modules as well."""
    return any(spec.name in STRUCTURED for spec in modifiers)


def _blocks(model: Any) -> int:
    found = decoder_list(model)
    return len(found[1]) if found else 0


def _linears(model: Any) -> int:
    return sum(
        module.in_features * module.out_features
        for module in model.modules()
        if type(module).__name__ == "Linear" and hasattr(module, "in_features")
    )
