"""What a pass of a modifier has left in the model: the modules it touched, their tensors, and how they are put back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from compressed_tensors.offload import disable_onloading, update_offload_parameter
from llmcompressor.observers.base import Observer

from core.value import Json
from core.worker.checkpoint_tensors import DoesNotFitError
from core.worker.checkpoint_values import KeepTensor, TakeTensor, packed, unpacked

KNOWN = frozenset(
    {
        "AWQModifier",
        "AutoRoundModifier",
        "GPTQModifier",
        "GPTQTModifier",
        "NarrowModifier",
        "QuantizationModifier",
        "REAPPruningModifier",
        "SmoothQuantModifier",
        "SparseGPTModifier",
        "SqueezeLLMModifier",
        "WandaPruningModifier",
    }
)
"""The modifiers that change nothing of a layer but tensors of its modules, and that carry on what `carried` keeps.

Those that make layers smaller are among them: see `narrowed` and `without_experts`.
"""

REPEATED = frozenset({"DropBlocksModifier"})
"""Modifiers that look at data before any pass: what they measured is kept by itself, and done again the same way."""

_PENDING = (
    "_hessians",
    "_num_samples",
    "_row_scalars",
    "_smooth_activation_stats",
    "_squares",
    "scales_",
    "_all_module_input",
)
"""What modifiers collect for modules that they have not changed yet."""

_COUNTED = ("_num_compressed_modules", "_rtn_fallback_module_names", "_error_metrics", "_fell_back")
"""What they count for the summary that they log at the end."""

_CARRIED = ("_q_input", "_done")
"""What the next layer needs of the one before, and the codes that GPTQT and SqueezeLLM keep aside until the end."""

_GATHERED = ("_done",)
"""What grows layer by layer and is used when all are done."""


def pending(modifier: Any) -> bool:
    """Whether it holds figures about modules that are yet to be changed: then there is nothing to begin after."""
    if type(modifier).__name__.endswith("NarrowModifier") and modifier.measuring:
        return True
    return any(bool(getattr(modifier, name, None)) for name in _PENDING)


def touched(modifier: Any, modules: Sequence[Any]) -> list[Any]:
    """The modules of a finished subgraph, and those beyond it whose weights were smoothed together with theirs."""
    found = dict.fromkeys(modules)
    mappings = getattr(modifier, "resolved_mappings_", None) or getattr(modifier, "_resolved_mappings", None) or ()
    for mapping in mappings:
        together = (mapping.smooth_layer, *mapping.balance_layers)
        if any(module in found for module in together):
            found |= dict.fromkeys(together)
    return list(found)


def places(model: Any, modules: Iterable[Any]) -> dict[str, tuple[Any, str]]:
    """Where the tensors of these modules are: full name to module and local name, a shared tensor once.

    Observers are left out, as they are done with their module, and so are tables of embeddings that nothing rounds.
    """
    names = {module: name for name, module in model.named_modules()}
    found: dict[str, tuple[Any, str]] = {}
    with disable_onloading():
        seen = {id(tensor) for module in model.modules() if _is_plain_table(module) for _, tensor in _own(module)}
        for module in modules:
            # A module without a name was taken out of the model.
            if module not in names or isinstance(module, Observer) or _is_plain_table(module):
                continue
            for local, tensor in _own(module):
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    found[f"{names[module]}.{local}".lstrip(".")] = (module, local)
    return found


def tensors_at(found: Mapping[str, tuple[Any, str]]) -> dict[str, torch.Tensor]:
    """The tensors at these places, in main memory."""
    return {name: getattr(module, local).detach().cpu() for name, (module, local) in found.items()}


@torch.no_grad()
def put_back(model: Any, modules: Iterable[Any], kept: Mapping[str, torch.Tensor]) -> None:
    """Write kept tensors into these modules. Raises DoesNotFitError where they are not exactly those modules' own."""
    found = places(model, modules)
    if found.keys() != kept.keys():
        raise DoesNotFitError("its layers have other tensors than the model's")
    for name, (module, local) in found.items():
        there, tensor = getattr(module, local), kept[name]
        if there.shape != tensor.shape or there.dtype != tensor.dtype:
            raise DoesNotFitError(f"{name} has another shape than the model's")
        update_offload_parameter(module, local, tensor)


@torch.no_grad()
def narrowed(model: Any, modules: Iterable[Any], kept: Mapping[str, torch.Tensor]) -> None:
    """Give Linear layers the sizes of what is kept of them: what narrowed them is not done again."""
    from compressed_tensors.quantization import initialize_module_for_quantization

    inside = set(modules)
    for name, module in model.named_modules():
        weight = kept.get(f"{name}.weight")
        if module not in inside or not isinstance(module, torch.nn.Linear) or weight is None or weight.dim() != 2:
            continue
        if weight.shape == module.weight.shape:
            continue
        module.out_features, module.in_features = weight.shape
        module.weight = torch.nn.Parameter(weight.to(module.weight.device), requires_grad=False)
        if module.bias is not None and (bias := kept.get(f"{name}.bias")) is not None:
            module.bias = torch.nn.Parameter(bias.to(module.bias.device), requires_grad=False)
        # A modifier that comes later has made room already for the scales of the wider layer.
        initialize_module_for_quantization(module)


def retained_experts(modifier: Any) -> Json:
    """Of one that takes experts out: the numbers of those that stay, by layer. None for any other."""
    found = getattr(modifier, "_retained_experts", None)
    return None if found is None else {name: [int(each) for each in kept] for name, kept in found.items()}


def without_experts(modifier: Any, model: Any, retained: Json) -> None:
    """Take out again the experts that had gone. Raises DoesNotFitError."""
    from llmcompressor.modifiers.pruning.reap.utils import prune_moe_layer

    try:
        for name, kept in retained.items():
            prune_moe_layer(model, name, [int(each) for each in kept], modifier._moe_attrs)
            modifier._retained_experts[name] = [int(each) for each in kept]
            modifier._saliency_trackers.pop(name, None)
            modifier._norm_buffers.pop(name, None)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise DoesNotFitError("it names experts that the model has not") from error


def carried(modifier: Any, passing: KeepTensor, lasting: KeepTensor) -> Json:
    """What a modifier knows beyond the model, as JSON; what it gathers is `lasting`. Raises CannotBeKeptError."""
    keepers = {name: lasting if name in _GATHERED else passing for name in (*_COUNTED, *_CARRIED, *_GATHERED)}
    held = {name: keep for name, keep in keepers.items() if getattr(modifier, name, None) is not None}
    return {name: packed(getattr(modifier, name), keep) for name, keep in held.items()}


def carry_on(modifier: Any, kept: Json, take: TakeTensor) -> None:
    """Give a modifier back what `carried` kept. Raises DoesNotFitError."""
    if not isinstance(kept, dict) or not set(kept) <= {*_COUNTED, *_CARRIED, *_GATHERED}:
        raise DoesNotFitError("it holds other figures than a modifier's")
    for name, value in kept.items():
        setattr(modifier, name, unpacked(value, take))


def layers_finished(layers: Collection[Any], subgraphs: Sequence[Sequence[Any]]) -> list[int]:
    """How many decoder layers are finished after each subgraph; `subgraphs` are lists of their modules."""
    last = []
    for layer in layers:
        inside = set(layer.modules())
        last.append(max((at for at, modules in enumerate(subgraphs) if not inside.isdisjoint(modules)), default=0))
    return [sum(end <= at for end in last) for at in range(len(subgraphs))]


def _own(module: Any) -> list[tuple[str, torch.Tensor]]:
    both = (*module._parameters.items(), *module._buffers.items())
    return [(local, tensor) for local, tensor in both if tensor is not None]


def _is_plain_table(module: Any) -> bool:
    return isinstance(module, torch.nn.Embedding) and getattr(module, "quantization_scheme", None) is None
