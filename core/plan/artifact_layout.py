"""The exact tensors of an artifact's files, and from them the files' bytes, headers included.

What is not compressed is saved as it was loaded, shared storage once. A compressed Linear becomes what
`core.methods.storage` says. llmcompressor takes fused experts apart whatever the recipe says, and they stay apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, prod

from core.methods.method import Method, Parameters, kv_cache
from core.methods.scheme import Rule
from core.methods.smaller import WHOLE, Smaller, shrunk
from core.methods.storage import stored_linear
from core.methods.targets import assigned
from core.models.experts import expert_linears
from core.models.safetensors_header import DTYPE_BITS
from core.models.survey import Survey, SurveyedModule, SurveyedTensor

SHARD_BYTES = 20_000_000_000
"""llmcompressor's `max_shard_size` (transformers/compression/compressed_tensors_utils.py)."""

_METADATA = len('{"__metadata__":{"format":"pt"}}')
_ENTRY = len(',"":{"dtype":"","shape":[],"data_offsets":[,]}')
_ORDER = (
    *("BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"),
    *("I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"),
)
"""safetensors' own order of dtypes; a file begins with the last, and names are in order within each."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a recipe does to a model's tensors."""

    rules: tuple[Rule, ...] = ()
    ignore: tuple[str, ...] = ()
    kv_cache: bool = False
    untied: bool = False
    """Whether an output layer that shares the embedding's weights gets its own: rotations differ for the two."""
    dropped_experts: float = 0.0
    """Share of every layer's experts that is taken away."""
    smaller: Smaller = WHOLE
    """Blocks, channels and heads that are taken away."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of the files, or `times` tensors alike whose names are equally long."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    times: int = 1

    @property
    def bytes(self) -> int:
        """Of all `times` together."""
        return self.times * (prod(self.shape) * DTYPE_BITS[self.dtype] // 8)


def change_of(method: Method, parameters: Parameters) -> Change:
    """What the method does with these parameters, as far as tensors come, go or change their shape."""
    return Change(
        rules=method.rules(parameters),
        ignore=tuple(parameters.get("ignore", ())),
        kv_cache=kv_cache(parameters) is not None,
        untied=method.unties_head,
        dropped_experts=method.dropped_experts(parameters),
        smaller=method.smaller(parameters),
    )


def artifact_layout(survey: Survey, change: Change, dtype: str = "BF16") -> tuple[Stored, ...]:
    """Every tensor of the artifact. `dtype` is the model's, for surveys that do not tell it tensor by tensor."""
    survey = shrunk(survey, change.smaller) if change.smaller else survey
    modules = taken_apart(survey, change)
    plain = survey.model_copy(update={"modules": tuple(module for module, _ in modules)})
    schemes = {module.name: scheme for module, scheme in assigned(plain, change.rules, change.ignore)}
    found: list[Stored] = []
    for module, times in modules:
        scheme = schemes.get(module.name)
        for tensor in _tensors(module, dtype):
            if tensor.name == "weight" and scheme is not None and len(tensor.shape) == 2:
                rows, columns = tensor.shape
                found += [
                    Stored(f"{module.stem}{kind.name}", kind.dtype, kind.shape, times)
                    for kind in stored_linear("", rows, columns, scheme, tensor.dtype)
                ]
            elif tensor.tied_to is None or (change.untied and module.kind == "Linear"):
                found.append(Stored(f"{module.stem}.{tensor.name}", tensor.dtype, tensor.shape, times))
    if change.kv_cache:
        scales = next((tensor.dtype for module in plain.linears for tensor in _tensors(module, dtype)), dtype)
        found += [Stored(f"{name}.{key}_scale", scales, (1,)) for name in survey.attentions for key in "kv"]
    return tuple(found)


def layout_bytes(stored: Iterable[Stored]) -> int:
    """Bytes of the safetensors files with these tensors: 8 for the length, the padded header, the data.

    Exact below SHARD_BYTES; above, each further file adds its own beginning. Tensors that stand for many lie together
    here and not in the file, which moves offsets by a digit at most.
    """
    ordered = sorted(stored, key=lambda each: (-_ORDER.index(each.dtype), each.name))
    offset, header = 0, _METADATA
    for each in ordered:
        # Where one stands for many, their offsets are taken to be as long as those in their middle.
        start, end = (offset, offset + each.bytes) if each.times == 1 else (offset + each.bytes // 2,) * 2
        shape = ",".join(map(str, each.shape))
        figures = len(shape) + len(str(start)) + len(str(end))
        header += each.times * (_ENTRY + len(each.name) + len(each.dtype) + figures)
        offset += each.bytes
    files = max(ceil(offset / SHARD_BYTES), 1)
    return offset + 8 + _padded(header) + (files - 1) * (8 + _padded(_METADATA))


def loaded_bytes(survey: Survey, dtype: str = "BF16") -> int:
    """Bytes of the original's tensors as transformers loads them, shared storage once."""
    return sum(
        prod(tensor.shape) * DTYPE_BITS[tensor.dtype] // 8
        for module in survey.modules
        for tensor in _tensors(module, dtype)
        if tensor.tied_to is None
    )


def taken_apart(survey: Survey, change: Change) -> tuple[tuple[SurveyedModule, int], ...]:
    """The modules as they are when they are saved: Linears in the place of fused experts, as many as are left."""
    experts = {
        module.name.rpartition(".")[0]: module.tensors[0].shape[0]
        for module in survey.modules
        if expert_linears(module)
    }
    made: list[tuple[SurveyedModule, int]] = []
    for module in survey.modules:
        count = experts.get(module.name.rpartition(".")[0])
        fewer = _fewer(module, count, change.dropped_experts) if count and change.dropped_experts else module
        made += expert_linears(fewer) or ((fewer, 1),)
    return tuple(made)


def _fewer(module: SurveyedModule, count: int, dropped: float) -> SurveyedModule:
    """The experts or their router with the share `dropped` of the experts gone: the first of their `count` sides."""
    left = count - int(count * dropped)
    if any(tensor.shape[:1] != (count,) for tensor in module.tensors):
        return module
    tensors = tuple(tensor.model_copy(update={"shape": (left, *tensor.shape[1:])}) for tensor in module.tensors)
    return module.model_copy(update={"tensors": tensors})


def _padded(header: int) -> int:
    """Bytes of a header: its text is filled with blanks to a multiple of eight."""
    return -(-header // 8) * 8


def _tensors(module: SurveyedModule, dtype: str) -> tuple[SurveyedTensor, ...]:
    """The module's tensors; a weight and what is left over as a bias where the survey does not list them."""
    if module.tensors:
        return module.tensors
    rest = module.elements - prod(module.shape)
    weight = SurveyedTensor(name="weight", dtype=dtype, shape=module.shape, tied_to=module.tied_to)
    return (weight, SurveyedTensor(name="bias", dtype=dtype, shape=(rest,))) if rest > 0 else (weight,)
