"""Bytes from shapes: what an artifact weighs, and what running it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from core.methods.scheme import Rule, Scheme
from core.methods.storage import stored_linear
from core.methods.targets import assigned
from core.models.local_model import LocalModel, Weights
from core.models.survey import Survey, SurveyedModule
from core.plan.artifact_layout import Change, loaded_bytes, taken_apart

RUN_TOKENS = 8192
"""Tokens of KV cache that `run_bytes` allows for."""

_HEADER_BYTES = 115
"""Bytes that a tensor's entry takes in a safetensors header: name, dtype, shape, offsets; counted in saved files."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A model reduced to what sizes and times depend on; elements count shared storage once."""

    compressed: tuple[tuple[int, int], ...]
    """(rows, columns) of every Linear that is compressed."""
    schemes: tuple[Scheme, ...]
    """What each of them becomes."""
    kept: int
    """Elements that keep their precision."""
    elements: int
    """Elements of the original."""
    weights: int
    """Bytes of the original's weights in memory."""
    kv_values: int
    """Values that the KV cache keeps for each token, over all layers."""
    layers: int
    hidden: int
    vocabulary: int
    tensors: int
    exact: bool
    """False where there was no survey and the shapes were guessed from the configuration."""

    linears: tuple[tuple[int, int], ...] = ()
    """(rows, columns) of every Linear inside the layers, compressed or not: what a pass over data computes."""

    @property
    def compressed_elements(self) -> int:
        return sum(rows * columns for rows, columns in self.compressed)

    @property
    def linear_elements(self) -> int:
        return sum(rows * columns for rows, columns in self.linears)

    @property
    def pruned(self) -> Shape:
        """The same with every Linear of the layers worked on, as pruning does before anything is rounded."""
        return replace(self, compressed=self.linears, schemes=())


def shape_of(
    model: LocalModel, survey: Survey | None, ignore: tuple[str, ...] = (), rules: tuple[Rule, ...] = ()
) -> Shape:
    """The model's shape under these rules; guessed from the configuration where there is no survey."""
    return _guessed(model, rules) if survey is None else _surveyed(model, survey, ignore, rules)


def element_bytes(model: LocalModel) -> float:
    """Bytes of one element as transformers loads it: the dtype that most elements have; GGUF is imported as bf16."""
    if model.weights is Weights.GGUF or not model.dtypes:
        return 2.0
    most = max(model.dtypes, key=lambda group: group.elements)
    return most.bytes / most.elements if most.elements else 2.0


def artifact_bytes(model: LocalModel, shape: Shape) -> int:
    """Bytes of the artifact's weight files from its shape alone; `core.plan.artifact_layout` counts them exactly."""
    element = element_bytes(model)
    dtype = element_dtype(model)
    pairs = zip(shape.compressed, shape.schemes, strict=True)
    stored = [stored_linear("", rows, columns, scheme, dtype) for (rows, columns), scheme in pairs]
    compressed = sum(tensor.bytes for tensors in stored for tensor in tensors)
    tensors = shape.tensors + sum(len(tensors) - 1 for tensors in stored)
    return ceil(compressed + shape.kept * element + tensors * _HEADER_BYTES)


def element_dtype(model: LocalModel) -> str:
    """That dtype by its safetensors name."""
    return "F32" if element_bytes(model) > 2 else "BF16"


def run_bytes(artifact: int, shape: Shape) -> int:
    """Bytes to run the artifact in an engine with kernels for it: weights and a 16-bit KV cache of 8,192 tokens.

    Per token 2 x layers x kv_heads x head_dim values of 2 bytes; activations and the engine's own memory come on top.
    """
    return artifact + shape.kv_values * 2 * RUN_TOKENS


def _surveyed(model: LocalModel, survey: Survey, ignore: tuple[str, ...], rules: tuple[Rule, ...]) -> Shape:
    modules = taken_apart(survey, Change(rules=rules, ignore=ignore))
    plain = survey.model_copy(update={"modules": tuple(module for module, _ in modules)})
    chosen = {module.name: scheme for module, scheme in assigned(plain, rules, ignore)}
    compressed: list[tuple[int, int]] = []
    schemes: list[Scheme] = []
    kept = 0
    for module, times in modules:
        scheme = chosen.get(module.name)
        if scheme is not None:
            rows, columns = module.shape
            compressed += times * [(rows, columns)]
            schemes += times * [scheme]
            kept += times * (module.elements - rows * columns)
        elif module.tied_to is None:
            kept += times * module.elements
    keys = sum(module.shape[0] for module in survey.linears if module.name.rpartition(".")[2] in ("k_proj", "v_proj"))
    return Shape(
        compressed=tuple(compressed),
        schemes=tuple(schemes),
        kept=kept,
        elements=sum(module.elements for module in survey.modules if module.tied_to is None),
        weights=loaded_bytes(survey, element_dtype(model)),
        kv_values=keys or _kv_values(model),
        layers=survey.layers,
        hidden=_hidden(model, survey),
        vocabulary=model.vocabulary or _vocabulary(survey),
        tensors=sum(times for _, times in modules),
        exact=True,
        linears=tuple(shape for module, times in modules if _in_layers(module) for shape in times * [_sides(module)]),
    )


def _guessed(model: LocalModel, rules: tuple[Rule, ...]) -> Shape:
    """A Llama of the configured sizes; what the parameters add up to beyond that keeps its precision."""
    elements = model.parameters or model.bytes // 2
    layers, hidden, inner = model.layers, model.hidden_size, model.intermediate_size
    vocabulary = model.vocabulary or 32_000
    compressed: list[tuple[int, int]] = []
    if layers and hidden and inner:
        head = hidden // (model.heads or 1)
        key = (model.kv_heads or model.heads or 1) * head
        block = [(hidden, hidden), (key, hidden), (key, hidden), (hidden, hidden)]
        block += [(inner, hidden), (inner, hidden), (hidden, inner)]
        compressed = block * layers
    if not compressed or sum(rows * columns for rows, columns in compressed) > elements:
        hidden = hidden or 4096
        embedding = min(vocabulary * hidden * (1 if model.tied_embeddings else 2), elements // 2)
        compressed = [(max((elements - embedding) // hidden, 1), hidden)]
    linears = compressed
    if not rules:
        compressed = []
    inside = sum(rows * columns for rows, columns in compressed)
    return Shape(
        compressed=tuple(compressed),
        schemes=tuple(rules[0].scheme for _ in compressed),
        kept=max(elements - inside, 0),
        elements=elements,
        weights=ceil(elements * element_bytes(model)),
        kv_values=_kv_values(model),
        layers=layers or 1,
        hidden=hidden or 4096,
        vocabulary=vocabulary,
        tensors=len(compressed) + 2 * (layers or 1) + 3,
        exact=False,
        linears=tuple(linears),
    )


def _in_layers(module: SurveyedModule) -> bool:
    """Whether it is a Linear of a decoder layer: their names have the layer's number in them."""
    return module.kind == "Linear" and any(part.isdecimal() for part in module.name.split("."))


def _sides(module: SurveyedModule) -> tuple[int, int]:
    return module.shape[0], module.shape[1]


def _kv_values(model: LocalModel) -> int:
    layers, hidden, heads = model.layers or 0, model.hidden_size or 0, model.heads or 1
    return 2 * layers * (model.kv_heads or heads) * (hidden // heads)


def _hidden(model: LocalModel, survey: Survey) -> int:
    return model.hidden_size or min((module.shape[1] for module in survey.linears), default=1)


def _vocabulary(survey: Survey) -> int:
    return max((module.shape[0] for module in survey.modules if module.kind == "Embedding"), default=32_000)
