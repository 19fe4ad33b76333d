"""Takes whole decoder blocks out of a loaded model, so that it is saved and loads again as a shallower one.

A block is known by its number in four places: its place in the list of blocks, the attributes by which its attention
finds its part of the KV cache, the configuration's count, and the configuration's lists that speak of block after
block. All four are set right, and a model that is built from the new configuration must have the blocks that are left.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.errors import BitpressError
from core.value import Json
from core.worker.cut_config import cut_config
from core.worker.cut_layers import decoder_list, structures
from core.worker.structured.settings import take_over

_NUMBERED = re.compile(r"(layer|block)_(idx|id|index|number)")
"""Attributes by which a module of a block knows the block's number."""

_SHARING = ("num_kv_shared_layers", "cross_layer_attention", "hybrid_layer_ids", "use_mem_blocks")
"""Settings of architectures whose blocks use what other blocks have computed: none of these can go alone."""


def remove_blocks(model: Any, indices: Collection[int]) -> tuple[str, ...]:
    """Take the decoder blocks with these numbers out of the model, in place; gives the names that they had.

    The model computes, caches, generates, saves and loads as one that never had them; its blocks are numbered anew.
    Raises BitpressError `cannot-drop-blocks`, and leaves the model as it was, for numbers that it has not, for all of
    its blocks, and for an architecture that the fewer blocks would not be the same in.
    """
    name, layers = blocks_of(model)
    gone = sorted(set(indices))
    if any(not 0 <= number < len(layers) for number in gone):
        raise _cannot(f"it has blocks 0 to {len(layers) - 1}, and was to lose {', '.join(map(str, gone))}")
    if len(gone) == len(layers):
        raise _cannot("no block would be left")
    if not gone:
        return ()
    kept = [number for number in range(len(layers)) if number not in gone]
    settings = shallower(model, kept)
    for number in reversed(gone):
        del layers[number]
    for new, old in enumerate(kept):
        _renumber(layers[new], old, new)
    take_over(model, settings)
    return tuple(f"{name}.{number}" for number in gone)


def blocks_of(model: Any) -> tuple[str, Any]:
    """Name and ModuleList of the decoder blocks. Raises BitpressError `cannot-drop-blocks` where there is none."""
    found = decoder_list(model)
    if found is None:
        raise _cannot("it has no list of decoder blocks")
    return found


def shallower(model: Any, kept: Sequence[int]) -> Mapping[str, Json]:
    """What changes in the text model's configuration when only the blocks `kept` are left, by name of the setting.

    A model is built from it on torch's meta device and must have those very blocks, and everything else as it is.
    Raises BitpressError `cannot-drop-blocks`.
    """
    _, layers = blocks_of(model)
    text = model.config.get_text_config()
    for name in _SHARING:
        if getattr(text, name, None):
            raise _cannot(f"its blocks use what others have computed ({name})")
    owners = {id(parameter) for parameter in layers[0].parameters()}
    if any(id(parameter) in owners for layer in list(layers)[1:] for parameter in layer.parameters()):
        raise _cannot("its blocks share their weights")
    config = type(text).from_dict(cut_config(text.to_dict(), text, len(layers), kept))
    after = config.to_dict()
    changed = {key: value for key, value in after.items() if value != text.to_dict().get(key)}
    if set(changed) - set(text.to_dict()):
        raise _cannot("its configuration would say other things")
    _compare(model, changed, kept)
    return changed


def _compare(model: Any, changed: Mapping[str, Json], kept: Sequence[int]) -> None:
    """Build the model of the changed configuration, without storage, and hold it against the blocks that are left."""
    from copy import deepcopy

    import torch
    from transformers import AutoModelForCausalLM

    _, layers = blocks_of(model)

    def built(settings: Mapping[str, Json]) -> Any:
        config = deepcopy(model.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        for key, value in settings.items():
            setattr(config.get_text_config(), key, value)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)

    try:
        before, after = built({}), built(changed)
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _cannot(f"no model can be built with fewer blocks: {reason}") from error
    # Both are fresh, as the model at hand may have been changed by a modifier already.
    old, new = decoder_list(before), decoder_list(after)
    if old is None or new is None or len(old[1]) != len(layers):
        raise _cannot("its blocks cannot be told from its other parts")
    wanted = structures(old[1])
    if structures(new[1]) != [wanted[number] for number in kept]:
        raise _cannot("the blocks that are left would be built in another way")
    if _others(before, old[0]) != _others(after, new[0]):
        raise _cannot("parts of it outside the blocks depend on how many there are")


def _others(model: Any, blocks: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters that belong to no block."""
    return {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not name.startswith(f"{blocks}.")
    }


def _renumber(layer: Any, old: int, new: int) -> None:
    """Everything in the block that knows its number; the KV cache is looked up by it."""
    for module in layer.modules():
        for name, value in list(vars(module).items()):
            if _NUMBERED.search(name) and type(value) is int and value == old:
                setattr(module, name, new)


def _cannot(reason: str) -> BitpressError:
    return BitpressError(
        "cannot-drop-blocks",
        f"No decoder block can be taken out of this model: {reason}.",
        "Narrow its MLP instead, or choose a method that rounds weights.",
    )
