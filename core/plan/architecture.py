"""A model reduced to what serving it takes: weights under each scheme, and what its KV cache holds."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import BitpressError
from core.methods import schemes
from core.methods.catalogue import find
from core.methods.parameters import default_ignore
from core.methods.resolve_recipe import resolve_recipe
from core.methods.scheme import LINEAR, Rule, Scheme
from core.methods.storage import bits_per_weight
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.sizes import artifact_bytes, shape_of
from core.value import Value

GROUP = 128
"""The usual group of integer weights."""
_SMALLER_GROUPS = (64, 32)
"""What a model takes whose columns 128 does not divide."""

SCHEMES: Mapping[str, Scheme] = {
    "FP8_DYNAMIC": schemes.fp8_dynamic(),
    "FP8": schemes.fp8_static(),
    "FP8_BLOCK": schemes.fp8_block(),
    "W8A8": schemes.int8(),
    "W8A16": schemes.int_weights(8, GROUP),
    "MXFP8": schemes.mxfp(8, activations=True),
    "MXFP8A16": schemes.mxfp(8, activations=False),
    "W4AFP8": schemes.w4afp8(GROUP),
    "W4A16": schemes.int_weights(4, GROUP),
    "NVFP4": schemes.nvfp4(activations=True),
    "NVFP4A16": schemes.nvfp4(activations=False),
    "MXFP4": schemes.mxfp(4, activations=True),
    "MXFP4A16": schemes.mxfp(4, activations=False),
    "W3A16": schemes.int_weights(3, GROUP),
    "W2A16": schemes.int_weights(2, GROUP),
}
"""Schemes whose size follows from the model alone, the widest first."""

KEEPS_WEIGHTS = ("BF16", "KV_FP8", "SPARSE")
"""Schemes that leave all weights in 16 bits."""


THIS_ARTIFACT = "This artifact"
"""Title of the row that is a model as it lies on the disk."""


class Weights(Value):
    """The weights of one row of a plan: bytes in memory, and bits for each parameter that is compressed."""

    scheme: str
    title: str
    bytes: int
    bits: float
    group: int = 1
    """Columns that one scale serves, which a GPU's share of a layer must hold whole; 1 where that does not matter."""


class Architecture(Value):
    """What is known of a model; None what is not. `kept` counts the parameters that no scheme compresses."""

    name: str
    parameters: int
    kept: int = 0
    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    experts: bool = False

    @property
    def kv_values(self) -> int | None:
        """Values that the KV cache keeps for each token: 2 x layers x KV heads x head size; None where not known."""
        if self.layers is None or self.kv_heads is None or self.head_dim is None:
            return None
        return 2 * self.layers * self.kv_heads * self.head_dim


PRESETS: Mapping[str, Architecture] = {
    "llama-4-scout": Architecture(
        name="Llama 4 Scout",
        parameters=109_000_000_000,
        layers=48,
        heads=40,
        kv_heads=8,
        head_dim=128,
        hidden_size=5120,
        experts=True,
    ),
    "llama-4-maverick": Architecture(
        name="Llama 4 Maverick",
        parameters=400_000_000_000,
        layers=48,
        heads=40,
        kv_heads=8,
        head_dim=128,
        hidden_size=5120,
        experts=True,
    ),
}
"""Published sizes; attention as transformers' Llama4TextConfig has it."""


def preset(name: str) -> Architecture:
    """A model of the table. Raises BitpressError `unknown-preset`."""
    found = PRESETS.get(name.lower())
    if found is None:
        raise BitpressError("unknown-preset", f"There is no preset {name!r}.", f"The presets are {', '.join(PRESETS)}.")
    return found


def architecture_of(model: LocalModel, survey: Survey | None) -> Architecture:
    """A local model's figures. Raises BitpressError `no-parameters` where it does not tell how large it is."""
    if model.parameters is None:
        raise BitpressError(
            "no-parameters",
            f"{model.name} does not tell how many parameters it has.",
            "Fetch or import it first, or type its figures.",
        )
    if survey is not None:
        every = (Rule(targets=LINEAR, scheme=SCHEMES["W8A8"]),)
        kept = shape_of(model, survey, tuple(default_ignore(survey)), every).kept
    else:
        kept = (model.vocabulary or 0) * (model.hidden_size or 0) * (1 if model.tied_embeddings else 2)
    head_dim = model.head_dim
    if head_dim is None and model.hidden_size and model.heads:
        head_dim = model.hidden_size // model.heads
    return Architecture(
        name=model.name,
        parameters=model.parameters,
        kept=min(kept, model.parameters),
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=head_dim,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        experts=survey is not None and any("Expert" in module.kind for module in survey.modules),
    )


def weights_of(architecture: Architecture, scheme: str) -> Weights:
    """The weights under a scheme: (parameters - kept) x bits / 8 + kept x 2 bytes.

    Bits include scales, as compressed-tensors stores them. Raises BitpressError `unknown-scheme`.
    """
    if scheme in KEEPS_WEIGHTS:
        return Weights(scheme=scheme, title=scheme, bytes=architecture.parameters * 2, bits=16.0)
    found = _fitted(architecture, scheme)
    bits = bits_per_weight(found)
    compressed = architecture.parameters - architecture.kept
    return Weights(
        scheme=scheme,
        title=scheme,
        bytes=round(compressed * bits / 8 + architecture.kept * 2),
        bits=round(bits, 3),
        group=_group(found),
    )


def method_weights(architecture: Architecture, method: str, model: LocalModel | None, survey: Survey | None) -> Weights:
    """The weights under a method of the catalogue: layer by layer with a survey, else as its one scheme.

    Raises BitpressError `unknown-method`, or `needs-model` where only the layers tell what becomes of them.
    """
    entry = find(method)
    recipe = resolve_recipe(method, {}, None, survey)
    rules = entry.rules(recipe.parameters)
    if model is not None and survey is not None and rules:
        shape = shape_of(model, survey, tuple(recipe.parameters.get("ignore", ())), rules)
        size = artifact_bytes(model, shape)
        bits = (size - shape.kept * 2) * 8 / max(shape.compressed_elements, 1)
        group = max(_group(rule.scheme) for rule in rules)
        return Weights(scheme=entry.scheme, title=entry.title, bytes=size, bits=round(bits, 3), group=group)
    if len(rules) == 1 and entry.scheme in SCHEMES:
        bits = bits_per_weight(rules[0].scheme)
        size = round((architecture.parameters - architecture.kept) * bits / 8 + architecture.kept * 2)
        return Weights(
            scheme=entry.scheme, title=entry.title, bytes=size, bits=round(bits, 3), group=_group(rules[0].scheme)
        )
    if entry.scheme in KEEPS_WEIGHTS:
        return weights_of(architecture, entry.scheme).model_copy(update={"title": entry.title})
    raise BitpressError(
        "needs-model",
        f"What {entry.title} makes of a model follows from its layers.",
        "Name a model instead of figures, or choose a scheme.",
    )


def stored_weights(model: LocalModel, method: str | None) -> Weights:
    """An artifact as it lies on the disk, which is what an engine loads. `method` made it, where that is known."""
    bits = model.bytes * 8 / model.parameters if model.parameters else 16.0
    scheme = find(method).scheme if method is not None else _stored_scheme(model)
    group = _group(SCHEMES[scheme]) if scheme in SCHEMES else 1
    return Weights(scheme=scheme, title=THIS_ARTIFACT, bytes=model.bytes, bits=round(bits, 3), group=group)


def _stored_scheme(model: LocalModel) -> str:
    """By precision and format; what these do not decide counts as mixed, of which no table claims anything."""
    packed = "pack-quantized" in (model.quantization or "")
    return {
        "INT4": "W4A16" if packed else "W4AFP8",
        "INT8": "W8A16" if packed else "W8A8",
        "FP8": "FP8_DYNAMIC",
        "NVFP4": "NVFP4A16",
        "MXFP4": "MXFP4A16",
        "BF16": "BF16",
        "FP16": "BF16",
    }.get(model.precision, "MIXED")


def whole_groups(architecture: Architecture, size: int) -> bool:
    """Whether groups of this size divide the columns of all layers, as far as they are known."""
    known = (architecture.hidden_size, architecture.intermediate_size)
    return all(columns is None or columns % size == 0 for columns in known)


def _fitted(architecture: Architecture, scheme: str) -> Scheme:
    """The scheme with the largest group that divides the model; that of the table where none does."""
    found = SCHEMES.get(scheme)
    if found is None:
        raise _unknown(scheme)
    if found.weights.type != "int" or found.weights.group_size is None:
        return found
    size = next((size for size in (GROUP, *_SMALLER_GROUPS) if whole_groups(architecture, size)), GROUP)
    return found.model_copy(update={"weights": found.weights.model_copy(update={"group_size": size})})


def _group(scheme: Scheme) -> int:
    if scheme.weights.block_structure is not None:
        return scheme.weights.block_structure[1]
    return scheme.weights.group_size or 1


def _unknown(scheme: str) -> BitpressError:
    if scheme in ("PRUNED", "MIXED"):
        return BitpressError(
            "unknown-scheme",
            f"{scheme} has no size of its own: the method's settings decide it.",
            "Give --method and a model.",
        )
    return BitpressError(
        "unknown-scheme",
        f"There is no scheme {scheme!r}.",
        f"The schemes are {', '.join((*KEEPS_WEIGHTS, *SCHEMES))}.",
    )
