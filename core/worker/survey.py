"""Builds a model on torch's meta device, where tensors have shapes but no storage, and lists its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.jobs.protocol import Stage, SurveyModel
from core.models.safetensors_header import TensorEntry, merged, read_headers
from core.models.survey import Survey, SurveyedModule
from core.models.survey_store import fingerprint
from core.value import Json
from core.worker.reporter import Reporter
from core.worker.saved_tensors import SavedTensors, loaded_dtype

STAGES = (Stage(id="survey", title="Look inside the model"),)
_COMPARABLE = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8"})
"""Dtypes that store one number an element; packed ones have other shapes."""


def run(command: SurveyModel, report: Reporter) -> Json:
    """The Survey as JSON.

    Raises BitpressError: `no-config`, `unknown-architecture`, `config-mismatch`, and what reading the headers raises.
    """
    report.plan(STAGES)
    with report.stage("survey"):
        return survey(Path(command.model)).model_dump(mode="json")


def survey(folder: Path) -> Survey:
    """Survey a folder with config.json and safetensors. A compressed model is listed as its plain architecture."""
    mark = fingerprint(folder)
    config = plain_config(folder)
    model = on_meta(config, folder)
    tensors = merged(read_headers(folder))
    _compare(model, tensors, folder)
    layers, kind = _layers(model, config)
    saved = SavedTensors(model, loaded_dtype(config, tensors), declared_ties(model))
    return Survey(
        fingerprint=mark,
        architecture=type(model).__name__,
        modules=tuple(_modules(model, saved)),
        layers=layers,
        decoder_layer=kind,
        attentions=tuple(_attentions(model, saved)),
        kv_heads=_kv_heads(config),
    )


def parameter_names(folder: Path) -> frozenset[str]:
    """Every parameter of the model by its full name, shared ones once, under the owner's. Raises as `survey` does."""
    model = on_meta(plain_config(folder), folder)
    ties = declared_ties(model)
    return frozenset(name for name, _ in model.named_parameters() if name not in ties)


def plain_config(folder: Path) -> Any:
    """The folder's config without its quantization. Raises BitpressError `unknown-architecture`."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError, TypeError, ImportError) as error:
        raise _unknown(folder, error) from error
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def on_meta(config: Any, folder: Path) -> Any:
    """The model without storage. Raises BitpressError `unknown-architecture` or `bad-config`."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, ImportError) as error:
        raise _unknown(folder, error) from error
    except (RuntimeError, TypeError, ZeroDivisionError, AttributeError) as error:
        raise BitpressError(
            "bad-config",
            f"No model can be built from config.json of {folder}: {_first_line(error)}",
            "The file was changed or damaged: fetch it again.",
        ) from error


def _modules(model: Any, saved: SavedTensors) -> Iterable[SurveyedModule]:
    owners: dict[int, str] = {}
    tied = declared_ties(model)
    for name, module in model.named_modules():
        own = list(module.named_parameters(recurse=False))
        tensors = saved.of(name, module)
        if not own and not tensors:
            continue
        first = next((parameter.shape for key, parameter in own if key == "weight"), own[0][1].shape if own else ())
        shared = None
        for key, parameter in own:
            full = f"{name}.{key}" if name else key
            owner = tied.get(full) or owners.setdefault(id(parameter), full)
            shared = owner if owner != full else shared
        yield SurveyedModule(
            name=name,
            kind=type(module).__name__,
            shape=tuple(first),
            elements=sum(parameter.numel() for _, parameter in own),
            tied_to=shared,
            tensors=tensors,
            saved_as=saved.stem(name, tensors),
            parts_saved_as=saved.parts(name, tensors),
        )


def _attentions(model: Any, saved: SavedTensors) -> Iterable[str]:
    """Where a quantized cache leaves its scales, by compressed-tensors' own judgement."""
    from compressed_tensors.quantization.lifecycle.initialize import is_cached_attention_module

    for name, module in model.named_modules():
        if is_cached_attention_module(module):
            yield saved.stem(name, ()) or name


def declared_ties(model: Any) -> Mapping[str, str]:
    """Parameter to the parameter that it shares storage with, where the config asks for ties."""
    keys = getattr(model, "_tied_weights_keys", None)
    if not isinstance(keys, dict) or not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return {}
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {tied: owner for tied, owner in keys.items() if tied in names and owner in names}


def _kv_heads(config: Any) -> int | None:
    text = config.get_text_config()
    count = getattr(text, "num_key_value_heads", None) or getattr(text, "num_attention_heads", None)
    return count if isinstance(count, int) and count > 0 else None


def _layers(model: Any, config: Any) -> tuple[int, str]:
    """How many decoder blocks there are, and their class."""
    import torch

    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    lists = [module for module in (decoder or model).modules() if isinstance(module, torch.nn.ModuleList)]
    longest = max(lists, key=len, default=None)
    if longest is None or not len(longest):
        return int(getattr(config.get_text_config(), "num_hidden_layers", 0) or 0), ""
    return len(longest), type(longest[0]).__name__


def _compare(model: Any, tensors: Mapping[str, TensorEntry], folder: Path) -> None:
    """Every parameter against the tensor of its name. Raises BitpressError `config-mismatch`.

    transformers fills what is missing with random numbers and only warns; here it is an error, except for
    architectures whose checkpoints are renamed or merged while loading.
    """
    prefix = f"{model.base_model_prefix}." if getattr(model, "base_model_prefix", "") else ""
    ties = declared_ties(model)
    missing: list[str] = []
    found = 0
    for name, parameter in model.named_parameters():
        stored = next((key for key in (name, name.removeprefix(prefix), prefix + name) if key in tensors), None)
        if stored is None:
            if name not in ties and not _is_packed(name, tensors):
                missing.append(name)
            continue
        found += 1
        entry = tensors[stored]
        if entry.dtype in _COMPARABLE and entry.shape != tuple(parameter.shape):
            raise _mismatch(folder, f"{stored} is {_sizes(entry.shape)} there and {_sizes(parameter.shape)} here")
    ignored = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_missing", None) or ()]
    missing = [name for name in missing if not any(pattern.search(name) for pattern in ignored)]
    if tensors and missing and not renames(model):
        raise _mismatch(folder, f"{len(missing)} weights that the config asks for are not there, {missing[0]} for one")


def _is_packed(name: str, tensors: Mapping[str, TensorEntry]) -> bool:
    stem = name.rpartition(".")[0]
    return any(f"{stem}.{packed}" in tensors for packed in ("weight_packed", "qweight")) or f"{name}_blocks" in tensors


def renames(model: Any) -> bool:
    """Whether transformers rewrites this architecture's tensor names while it loads them."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    try:
        return bool(get_model_conversion_mapping(model, add_legacy=False))
    except (TypeError, ValueError, KeyError, AttributeError):
        return True


def _sizes(shape: Iterable[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _mismatch(folder: Path, reason: str) -> BitpressError:
    return BitpressError(
        "config-mismatch",
        f"config.json of {folder} contradicts the weights: {reason}.",
        "The two belong to different models, or one was changed: fetch the model again.",
    )


def _unknown(folder: Path, error: BaseException) -> BitpressError:
    from core.models.inspect import inspect

    model = inspect(folder)
    name = model.model_type or model.architecture or "one that is not named"
    return BitpressError(
        "unknown-architecture",
        f"transformers cannot build the architecture of {folder}, {name}: {_first_line(error)}",
        "It may be newer than the installed transformers, may need code that came with it, or may not write text.",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
