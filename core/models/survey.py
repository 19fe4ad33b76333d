"""What the worker found inside a model once: module names, classes, shapes and ties."""

from __future__ import annotations

from core.value import Value


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


class Survey(Value):
    """A model seen by transformers on the meta device: enough arithmetic for preflight and estimates."""

    fingerprint: str
    """SHA-256 over config.json and the safetensors headers."""
    architecture: str
    modules: tuple[SurveyedModule, ...]
    layers: int
    decoder_layer: str = ""
    """Class name of the repeated decoder block."""

    @property
    def linears(self) -> tuple[SurveyedModule, ...]:
        return tuple(module for module in self.modules if module.kind == "Linear")
