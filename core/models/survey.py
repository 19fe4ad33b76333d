"""What the worker found inside a model once: module names, classes, shapes and ties."""

from __future__ import annotations

from core.value import Value

FORM = 4
"""Of a kept survey; raised when a field is added that plans rest on, so that older ones are made anew."""


class SurveyedTensor(Value):
    """A parameter or a buffer that a module saves: the last part of its name, its dtype as safetensors names it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    tied_to: str | None = None
    """Full name of the parameter that owns the storage: this one is not saved."""


class SurveyedModule(Value):
    """One module that owns parameters. `shape` is its weight's: (rows, columns) for a Linear."""

    name: str
    kind: str
    """Class name: Linear, Embedding, LlamaRMSNorm ..."""
    shape: tuple[int, ...]
    elements: int
    """All parameters of the module itself, biases included, without children."""
    tied_to: str | None = None
    """Name of the parameter that owns the storage, where this one only shares it."""
    tensors: tuple[SurveyedTensor, ...] = ()
    """What it saves, in dtypes as transformers loads them; empty in surveys that were written by hand."""
    saved_as: str = ""
    """Its name in the file, where transformers renames it while saving."""
    parts_saved_as: tuple[tuple[str, str], ...] = ()
    """Of fused experts: an expert's layers, gate_proj and so on, with their names in the file where these differ."""

    @property
    def stem(self) -> str:
        """What its tensors' names begin with in the file."""
        return self.saved_as or self.name


class Survey(Value):
    """A model seen by transformers on the meta device: enough arithmetic for preflight and estimates."""

    fingerprint: str
    """SHA-256 over config.json and the safetensors headers."""
    architecture: str
    modules: tuple[SurveyedModule, ...]
    layers: int
    decoder_layer: str = ""
    """Class name of the repeated decoder block."""
    attentions: tuple[str, ...] = ()
    """Names in the file of the attention modules whose keys and values compressed-tensors can quantize."""
    kv_heads: int | None = None
    """Key-value heads of every attention; None where the configuration has no one number."""

    @property
    def linears(self) -> tuple[SurveyedModule, ...]:
        return tuple(module for module in self.modules if module.kind == "Linear")
