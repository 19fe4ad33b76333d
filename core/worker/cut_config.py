"""The config of a cut: as many layers as are kept, and everything that is said layer by layer trimmed to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from core.value import Json

_COUNT = "num_hidden_layers"
_NOT_BY_LAYER = ("token", "architectures")
"""Parts of names whose lists may by chance be as long as there are layers."""


def cut_config(raw: Mapping[str, Json], config: Any, layers: int, kept: Sequence[int]) -> dict[str, Json]:
    """config.json for the kept layers, by their old numbers in order; `config` is what transformers made of `raw`.

    The first layers of a model, all in a row, keep every rule that goes by the layer's number. For others the known
    rules are rewritten; whether the outcome is right is for the caller to see by building the model.
    """
    cut = deepcopy(dict(raw))
    text = config.get_text_config()
    section = _section(cut, config, text)
    for name in {_COUNT, getattr(text, "attribute_map", {}).get(_COUNT, _COUNT)} & set(section) or {_COUNT}:
        section[name] = len(kept)
    in_a_row = list(kept) == list(range(len(kept)))
    if not in_a_row:
        _renumber_rules(section, text, kept)
    for name, value in section.items():
        if isinstance(value, list) and not any(part in name for part in _NOT_BY_LAYER):
            if len(value) == layers:
                section[name] = [value[number] for number in kept]
            elif "layers" in name and value and all(type(number) is int and 0 <= number < layers for number in value):
                section[name] = [new for new, old in enumerate(kept) if old in value]
    return cut


def _section(cut: dict[str, Json], config: Any, text: Any) -> dict[str, Json]:
    """The part of the file that speaks of the text model: the whole of it, or one of its objects."""
    for name, value in cut.items():
        if isinstance(value, dict) and text is not config and getattr(config, name, None) is text:
            return value
    return cut


def _renumber_rules(section: dict[str, Json], text: Any, kept: Sequence[int]) -> None:
    """Rules of mixture-of-experts models that say by a number which layers are dense."""
    step = getattr(text, "decoder_sparse_step", None)
    if isinstance(step, int) and step > 0:
        dense = set(getattr(text, "mlp_only_layers", None) or ())
        dense |= {number for number in kept if (number + 1) % step}
        section["decoder_sparse_step"] = 1
        # Old numbers here; they are renumbered with every other list of layers.
        section["mlp_only_layers"] = sorted(dense)
    for name in ("first_k_dense_replace", "max_window_layers"):
        first = getattr(text, name, None)
        if isinstance(first, int):
            section[name] = sum(number < first for number in kept)
