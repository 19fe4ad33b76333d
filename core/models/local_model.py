"""A model on this machine, as far as its headers tell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from core.value import Value


class Weights(StrEnum):
    """How the weights are stored."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    PICKLE = "pickle"
    NONE = "none"


class Origin(StrEnum):
    """Where a model was found."""

    STARTER = "starter"
    FOLDER = "folder"
    HUB_CACHE = "hub_cache"
    ARTIFACT = "artifact"


class Remark(Value):
    """Something a person must know about a model: `level` is "blocks", "warns" or "notes"."""

    code: str
    level: str
    message: str


class TensorGroup(Value):
    """Tensors of one dtype: how many, how many elements and bytes."""

    dtype: str
    tensors: int
    elements: int
    bytes: int


class LocalModel(Value):
    """What is known of a model without loading it. Unknown numbers are None; `bytes` counts the weight files."""

    path: Path
    name: str
    origin: Origin
    weights: Weights
    bytes: int
    architecture: str = ""
    model_type: str = ""
    parameters: int | None = None
    dtypes: tuple[TensorGroup, ...] = ()
    precision: str = ""
    """Short label for the table: BF16, FP16, FP8, INT4, GGUF Q4_1 ..."""
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    """As the config says it; where it says nothing, hidden_size / heads."""
    context_length: int | None = None
    vocabulary: int | None = None
    tied_embeddings: bool | None = None
    chat_template: bool = False
    tokenizer: bool = False
    quantization: str | None = None
    """Scheme or method named by the model's own quantization_config, e.g. "compressed-tensors float-quantized"."""
    licence: str = ""
    remote_code: bool = False
    """Whether it can only be used by running Python code that came with it, which takes a consent."""
    needs_code: tuple[str, ...] = ()
    """What of it is that code: `model`, `tokenizer`."""
    own_code: str = ""
    """Fingerprint of that code, where one can agree to it."""
    consented: bool = False
    """Whether somebody did, on this machine."""
    shards: int = 0
    made_from: str | None = None
    """Path of the model that it was compressed from, where Bitpress made it."""
    made_by_run: int | None = None
    made_by: str = ""
    """Title of the method that made it, where Bitpress did."""
    proved: bool | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def label(self) -> str:
        """What it is called beside its original: by method and run, not by a name that repeats the original's."""
        if not self.made_by or self.made_by_run is None:
            return self.name
        return f"{self.made_by}, run {self.made_by_run}"

    @property
    def usable(self) -> bool:
        """Whether transformers may load it: without pickles, and without code of its own that nobody agreed to."""
        return not any(remark.level == "blocks" for remark in self.remarks)
