"""A quantization scheme as a value: what becomes of weights and activations, in compressed-tensors' own terms."""

from __future__ import annotations

from enum import StrEnum

from core.value import Json, Value

IMPORTANCE = "imatrix_mse"
"""llmcompressor's observer that weighs squared errors by how strongly each column is driven by calibration data."""


class Strategy(StrEnum):
    """Which weights or activations share a scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    GROUP = "group"
    BLOCK = "block"
    TENSOR_GROUP = "tensor_group"
    """Groups whose scales have one more scale over the tensor (NVFP4)."""
    TOKEN = "token"  # noqa: S105


class TensorScheme(Value):
    """How one kind of tensor is rounded; the fields are those of compressed_tensors' QuantizationArgs."""

    num_bits: int
    type: str
    """`int` or `float`; `table` or `binary` where each row has values of its own (`bitpress_codebook`)."""
    strategy: Strategy
    symmetric: bool = True
    dynamic: bool | str = False
    """True: found anew for each token. `local`: a static scale for the tensor, dynamic ones inside it."""
    group_size: int | None = None
    block_structure: tuple[int, int] | None = None
    observer: str | None = None
    scale_dtype: str | None = None
    """torch's name of the dtype that scales are stored in; None is the model's own."""
    kept: float | None = None
    """Share of the weights that is stored exactly beside its index, of the types `table` and `binary` only."""

    @property
    def codebook(self) -> bool:
        """Whether it is stored in the format of `bitpress_codebook` and not in compressed-tensors' own."""
        return self.type in ("table", "binary")

    def arguments(self) -> dict[str, Json]:
        """What QuantizationArgs is made from; nothing that is left at its default but `dynamic` and `symmetric`."""
        found = self.model_dump(mode="json", exclude_none=True)
        if self.scale_dtype is not None:
            found["zp_dtype"] = self.scale_dtype
        return found


class Scheme(Value):
    """What becomes of a layer: its weights, and its inputs where they are rounded as well."""

    name: str
    """The key of the hardware table: FP8_DYNAMIC, W4A16 ..."""
    weights: TensorScheme
    activations: TensorScheme | None = None

    @property
    def needs_data(self) -> bool:
        """Whether finding its scales takes data: static activations do, and weights seen through what they multiply."""
        inputs = self.activations
        static = inputs is not None and inputs.dynamic is not True
        return static or self.weights.observer == IMPORTANCE

    @property
    def divisor(self) -> int | None:
        """What the columns of a layer must be a multiple of; None where any number will do.

        Groups of weights are refused by llmcompressor where they do not divide; groups of activations only fail when
        the saved model runs.
        """
        sizes = [part.group_size for part in (self.weights, self.activations) if part is not None and part.group_size]
        return max(sizes, default=None)

    def group(self, targets: tuple[str, ...]) -> dict[str, Json]:
        """One entry of a modifier's `config_groups`."""
        found: dict[str, Json] = {"targets": list(targets), "weights": self.weights.arguments()}
        if self.activations is not None:
            found["input_activations"] = self.activations.arguments()
        return found


class Rule(Value):
    """These layers get this scheme. Targets are module names, class names, or `re:` patterns."""

    targets: tuple[str, ...]
    scheme: Scheme


LINEAR = ("Linear",)
"""The targets of most methods: every Linear that is not ignored."""


def config_groups(rules: tuple[Rule, ...]) -> dict[str, Json]:
    """The rules as a modifier's `config_groups`."""
    return {f"group_{index}": rule.scheme.group(rule.targets) for index, rule in enumerate(rules)}
