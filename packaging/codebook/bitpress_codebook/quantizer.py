"""How transformers opens and saves such models: the config's `quantization_config`, and what is done with it.

config.json says::

    "quantization_config": {
      "quant_method": "bitpress-codebook",
      "version": 1,
      "loader": "…",                      # for a person: how to get this package
      "modules": {
        "model.layers.0.mlp.up_proj": {"bits": 3, "kind": "table", "kept": 1234},
        …
      }
    }

`bits` is 2, 3 or 4, `kind` is `table` or `binary`, `kept` counts the weights that are stored exactly. Sizes are those
of the model's own modules; `layout` says which tensors there are. `"run": "dense"` may be added to make plain matrices
once, at load, instead of for every call: more memory, less time, the same numbers.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from bitpress_codebook.artifact_files import ArtifactError, check_files
from bitpress_codebook.layout import BITS, QUANT_METHOD, VERSION, ModuleLayout
from bitpress_codebook.linear import CodebookLinear
from bitpress_codebook.swap import codebook_modules, linear_of, materialise

LOADER = (
    "Needs the Python package bitpress_codebook: it lies in the folder `loader` of this artifact "
    "(pip install ./loader, then `import bitpress_codebook` before from_pretrained)."
)

Run = Literal["packed", "dense"]


@register_quantization_config(QUANT_METHOD)
class CodebookConfig(QuantizationConfigMixin):
    """What config.json says. Raises ArtifactError for another version and for what is no such config."""

    def __init__(
        self,
        modules: dict[str, dict[str, Any]] | None = None,
        version: int = VERSION,
        run: Run = "packed",
        loader: str = LOADER,
        quant_method: str = QUANT_METHOD,
    ) -> None:
        if version != VERSION:
            raise ArtifactError(
                f"This artifact has version {version!r} of the format {QUANT_METHOD}; this package reads {VERSION}."
            )
        if quant_method != QUANT_METHOD or run not in ("packed", "dense") or not isinstance(modules, dict):
            raise ArtifactError(f"The quantization_config is none of {QUANT_METHOD}.")
        for name, facts in modules.items():
            _check_facts(name, facts)
        self.quant_method = QUANT_METHOD
        self.version = VERSION
        self.modules = modules
        self.run = run
        self.loader = LOADER

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        known = {"modules", "version", "run", "loader", "quant_method"}
        if unknown := sorted(set(config_dict) - known):
            raise ArtifactError(f"The quantization_config has unknown entries: {', '.join(unknown[:5])}.")
        made = cls(**config_dict)
        return (made, kwargs) if return_unused_kwargs else made

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        if found["run"] == "packed":
            del found["run"]
        return dict(found)


def _check_facts(name: str, facts: Any) -> None:
    whole = isinstance(facts, dict) and set(facts) == {"bits", "kind", "kept"}
    if not whole or any(type(facts[key]) is not int for key in ("bits", "kept")):
        raise ArtifactError(f"The quantization_config says nothing usable of {name}.")
    if facts["bits"] not in BITS or facts["kind"] not in ("table", "binary") or facts["kept"] < 0:
        raise ArtifactError(f"{name} has {facts['bits']!r} bits of kind {facts['kind']!r}: unknown.")


@register_quantizer(QUANT_METHOD)
class CodebookQuantizer(HfQuantizer):
    """Puts CodebookLinear modules in place before the weights are read, once the files are known to hold them."""

    requires_calibration = True

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        places: dict[str, tuple[str, nn.Linear, ModuleLayout]] = {}
        for stored, facts in self.quantization_config.modules.items():
            name = _own_name(model, stored)
            try:
                module = linear_of(model, name)
            except ValueError as error:
                raise ArtifactError(f"The quantization_config does not fit the model: {error}.") from error
            rows, columns = module.out_features, module.in_features
            layout = ModuleLayout(rows, columns, facts["bits"], facts["kind"], facts["kept"])
            if layout.kept > rows * columns:
                raise ArtifactError(f"{stored} keeps {layout.kept} weights and has {rows * columns}.")
            places[name] = (stored, module, layout)
        check_files(
            kwargs.get("checkpoint_files") or (),
            {stored: layout for stored, _, layout in places.values()},
            [stored for stored, module, _ in places.values() if module.bias is not None],
        )
        wanted = kwargs.get("dtype") or model.dtype
        for name, (_, module, layout) in places.items():
            made = CodebookLinear(layout, bias=module.bias is not None, dtype=wanted, device="meta")
            model.set_submodule(name, made)
        return model

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        if self.quantization_config.run == "dense":
            materialise(model)
        return model

    def _dequantize(self, model: Any, dtype: Any = None) -> Any:
        materialise(model, dtype)
        return model

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        """Tables, coefficients and offsets are; indices are not."""
        return True


def _own_name(model: Any, stored: str) -> str:
    """The module's name in this model: without the prefix where only the decoder is loaded."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    inside = hasattr(model, prefix[:-1]) if len(prefix) > 1 else True
    return stored.removeprefix(prefix) if not inside else stored


def attach(model: Any) -> CodebookConfig:
    """Let the model say what it is, so that `type(model).save_pretrained(model, folder)` writes an artifact.

    Raises ValueError where the model has no codebook module.
    """
    modules = {
        name: {"bits": module.layout.bits, "kind": module.layout.kind, "kept": module.layout.kept}
        for name, module in codebook_modules(model).items()
    }
    if not modules:
        raise ValueError("no module of this model is stored as a table or binary code")
    config = CodebookConfig(modules=modules)
    model.config.quantization_config = config
    model.hf_quantizer = CodebookQuantizer(config, pre_quantized=True)
    model.is_quantized = True
    model.quantization_method = QUANT_METHOD
    return config
