"""The configuration of a smaller model: found in the one that it had, tried out, and written when it is saved.

llmcompressor 0.14 puts the original's config.json in the place of the one that transformers writes, with the number of
experts alone set right (transformers/compression/compressed_tensors_utils.py, resave_config). What else has changed is
remembered with the model, and written into that file again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.value import Json

_CHANNELS = ("intermediate_size", "ffn_dim", "n_inner")
_HEADS = {"heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "head_dim": "head_dim"}


_REMEMBERED = "settings_of_smaller"


def take_over(model: Any, settings: Mapping[str, Json]) -> None:
    """Set these of the text model's configuration, and remember that they were not the original's."""
    text = model.config.get_text_config()
    for name, value in settings.items():
        setattr(text, name, value)
    setattr(model, _REMEMBERED, {**getattr(model, _REMEMBERED, {}), **settings})


def write_settings(model: Any, output: Path) -> None:
    """Put what was taken over into the config.json of a folder into which the model was saved; nothing where nothing
    was.
    """
    settings: Mapping[str, Json] = getattr(model, _REMEMBERED, {})
    if not settings:
        return
    path = output / "config.json"
    config: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    text = model.config.get_text_config()
    sections = (name for name, value in config.items() if isinstance(value, dict))
    section = next((name for name in sections if getattr(model.config, name, None) is text), None)
    place = config if text is model.config or section is None else config[section]
    aliases = getattr(text, "attribute_map", {})
    for name, value in settings.items():
        # A configuration may call it otherwise: what is there is replaced, not contradicted.
        place[aliases.get(name, name) if aliases.get(name) in place else name] = value
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def narrowed_settings(model: Any, widths: Mapping[str, tuple[int, int]]) -> dict[str, Json]:
    """Settings of the text model's configuration for these widths; (before, after) by channels, heads and so on.

    A model is built from them on torch's meta device. Its Linear layers must differ from those of the model that the
    old ones build in these widths alone. Raises BitpressError `cannot-narrow`.
    """
    text = model.config.get_text_config()
    found: dict[str, Json] = {}
    for what, (before, after) in widths.items():
        if what == "channels":
            names = [name for name in _CHANNELS if getattr(text, name, None) == before]
            if not names:
                raise _cannot(f"its configuration names no {before:,} channels")
            found |= dict.fromkeys(names, after)
        else:
            found[_HEADS[what]] = after
    _compare(model, found, widths)
    return found


def _compare(model: Any, settings: Mapping[str, Json], widths: Mapping[str, tuple[int, int]]) -> None:
    before, after = _shapes(model, {}), _shapes(model, settings)
    if set(before) != set(after):
        raise _cannot("it would have other layers")
    factors = {after / before for before, after in widths.values() if before != after}
    for name, shape in before.items():
        other = after[name]
        if len(shape) != len(other):
            raise _cannot(f"{name} would be of another kind")
        changed = [(old, new) for old, new in zip(shape, other, strict=True) if old != new]
        if changed and not any(abs(new / old - factor) < 1e-9 for old, new in changed for factor in factors):
            raise _cannot(f"{name} would have another size as well")
        if changed and "norm" in name.lower():
            raise _cannot(f"{name} depends on the number of heads")
        if len(changed) > 1:
            raise _cannot(f"{name} would be another layer")
    for what, (old, new) in widths.items():
        if old != new and before == after:
            raise _cannot(f"its {what.replace('_', ' ')} do not follow the configuration")


def _shapes(model: Any, settings: Mapping[str, Json]) -> dict[str, tuple[int, ...]]:
    import torch
    from transformers import AutoModelForCausalLM

    config = deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    for key, value in settings.items():
        setattr(config.get_text_config(), key, value)
    try:
        with torch.device("meta"):
            built = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _cannot(f"no model can be built with these widths: {reason}") from error
    return {name: tuple(parameter.shape) for name, parameter in built.named_parameters()}


def _cannot(reason: str) -> BitpressError:
    return BitpressError(
        "cannot-narrow",
        f"The layers of this model cannot be made narrower: {reason}.",
        "Take out decoder blocks instead, or choose a method that rounds weights.",
    )
