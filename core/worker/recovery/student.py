"""A loaded artifact made ready for training: what may change is a parameter, everything else stands still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitpress_codebook.linear import CodebookLinear
from core.errors import BitpressError
from core.methods.recovery import RecoverySpec
from core.worker.recovery.weights import Adapted, ScaledWeight, TabledWeight, Trained, TrainedNorm
from core.worker.tensor_files import TensorFiles

NORMS = "norms"
ADAPTERS = "adapters"

_ZEROS = 0.05
"""Share of zeros from which on a weight counts as pruned, and its zeros stay."""

_CLOSE = 2.0**-7
"""Largest relative difference between a weight that is made of its codes and the one that transformers opened: one
rounding of bfloat16."""


@dataclass(slots=True)
class Student:
    """The model, and what is trained in it. `adapted` are the Linear layers with adapters."""

    model: Any
    trained: list[Trained] = field(default_factory=list)
    adapted: list[Adapted] = field(default_factory=list)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What the optimizer changes, by kind."""
        found: dict[str, list[nn.Parameter]] = {}
        for one in self.trained:
            found.setdefault(one.kind, []).append(one.step)
        if self.adapted:
            found[ADAPTERS] = [part for one in self.adapted for part in (one.down, one.up)]
        return found

    def counts(self) -> dict[str, int]:
        """Number of trained parameters, by kind."""
        return {kind: sum(each.numel() for each in given) for kind, given in self.groups().items()}

    def train(self, mode: bool) -> None:
        """Values as they are trained, or rounded as they are stored. The model itself stays in evaluation mode: in the
        other one some drop activations by chance, which the original did not.
        """
        for one in self.trained:
            one.train(mode)

    def save_memory(self) -> bool:
        """Let activations be made again where gradients need them; False for a model that cannot."""
        if not getattr(self.model, "supports_gradient_checkpointing", False):
            return False
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        for module in self.model.modules():
            if getattr(module, "gradient_checkpointing", False):
                # Only of the module itself: what is inside of it stays in evaluation mode.
                module.training = True
        return True

    def stored(self, *, merged: bool) -> Iterator[tuple[str, Tensor]]:
        """The tensors to be written, one after the other: names in the file and values in their stored dtype."""
        for one in self.trained:
            yield one.tensor, one.stored()
        if merged:
            for layer in self.adapted:
                yield f"{layer.name}.weight", layer.merged()


def prepare(model: Any, artifact: Path, spec: RecoverySpec) -> Student:
    """Take the model apart into codes and trained values; `model` has computed once, so that it is decompressed.

    Raises BitpressError `recovery-not-possible` where the artifact holds nothing that can be trained exactly.
    """
    model.requires_grad_(False)
    student = Student(model)
    with TensorFiles(artifact) as files:
        quantized = _take_apart(student, files)
        if not quantized and spec.adapters != "none":
            _adapt(student, files, spec)
        if spec.norms:
            _train_norms(student, files)
    if not student.trained and not student.adapted:
        raise BitpressError(
            "recovery-not-possible",
            "Nothing in this artifact can be trained: it has no scales, tables or norms that stand in its files.",
            "Recovery takes models with packed integer weights (W4A16 and the like), tables, or 16-bit weights.",
        )
    return student


def _take_apart(student: Student, files: TensorFiles) -> int:
    """Put modules with trained values in the place of quantized ones; how many there are."""
    model, count = student.model, 0
    _refuse_what_is_not_weights_alone(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, CodebookLinear):
            made: nn.Module = TabledWeight(module, name, model.dtype)
            student.trained += [part for part in made.children() if isinstance(part, Trained)]
        elif f"{name}.weight_packed" in files:
            made = _scaled(name, module, files)
            student.trained.append(made.scale)
        else:
            continue
        model.set_submodule(name, made)
        count += 1
    return count


def _refuse_what_is_not_weights_alone(model: Any) -> None:
    """Refuses, by the artifact's config, what this way of computing would not be true of."""
    config = getattr(model.config, "quantization_config", None)
    if config is None or "compressed" not in str(_value(config, "quant_method")).lower():
        return
    held = getattr(config, "quantization_config", config)
    for group in (_value(held, "config_groups") or {}).values():
        if _value(group, "input_activations") is not None or _value(group, "output_activations") is not None:
            raise _impossible("Its activations are quantized as well, and a gradient does not go through that.")
        if "int" not in str(_value(_value(group, "weights"), "type")).lower():
            raise _impossible("Its weights are not integers with scales.")
    if _value(held, "kv_cache_scheme") is not None:
        raise _impossible("Keys and values are rounded, and a gradient does not go through that.")
    if _value(held, "transform_config") is not None and _value(_value(held, "transform_config"), "config_groups"):
        raise _impossible("Its weights were turned into another basis.")


def _scaled(name: str, module: Any, files: TensorFiles) -> ScaledWeight:
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    device, dtype = module.weight.device, module.weight.dtype
    shape = torch.Size(files.read(f"{name}.weight_shape").tolist())
    packed = files.read(f"{name}.weight_packed")
    # Packed without gaps, a row rounded up to whole words.
    bits = packed.shape[1] * 32 // shape[1]
    codes = unpack_from_int32(packed, bits, shape)
    scale = files.read(f"{name}.weight_scale")
    count = scale.shape[1]
    order = files.read(f"{name}.weight_g_idx").long() if f"{name}.weight_g_idx" in files else None
    if order is None and shape[1] % count:
        raise _impossible("Its groups do not divide a row.")
    if f"{name}.weight_zero_point" in files:
        zero = files.read(f"{name}.weight_zero_point")
        if zero.dtype == torch.int32:
            zero = unpack_from_int32(zero, bits, torch.Size((shape[0], count)), packed_dim=0)
        spread = zero[:, order] if order is not None else zero.repeat_interleave(shape[1] // count, dim=1)
        codes = codes.to(torch.int16) - spread.to(torch.int16)
    trained = Trained("scales", f"{name}.weight_scale", scale.to(device), scale.to(device))
    made = ScaledWeight(
        codes.to(device),
        trained,
        groups=None if order is None else order.to(device),
        bias=module.bias,
        dtype=dtype,
    )
    _demand_same(name, made.eval().dense(), module.weight)
    return made


def _adapt(student: Student, files: TensorFiles, spec: RecoverySpec) -> None:
    """Adapters beside every Linear of the decoder layers; the output layer stays."""
    generator = torch.Generator().manual_seed(spec.seed)
    head = student.model.get_output_embeddings()
    for name, module in list(student.model.named_modules()):
        if type(module) is not nn.Linear or module is head or f"{name}.weight" not in files:
            continue
        masked = float((module.weight == 0).float().mean()) >= _ZEROS
        if masked and spec.adapters == "kept":
            raise _impossible("Weights were set to zero, and an adapter that is kept apart would fill them again.")
        made = Adapted(name, module, spec.rank, masked=masked, generator=generator)
        student.model.set_submodule(name, made)
        student.adapted.append(made)


def _train_norms(student: Student, files: TensorFiles) -> None:
    for name, module in list(student.model.named_modules()):
        weight = getattr(module, "weight", None)
        if not type(module).__name__.endswith(("RMSNorm", "LayerNorm")) or not isinstance(weight, nn.Parameter):
            continue
        tensor = f"{name}.weight"
        if weight.dim() != 1 or tensor not in files:
            continue
        stored = files.read(tensor).to(weight.device)
        if not torch.equal(stored.to(weight.dtype), weight.detach()):
            continue  # What is computed with is not what is stored, so it could not be written back.
        size = stored.float().pow(2).mean().sqrt().clamp_min(1e-6)
        trained = Trained(NORMS, tensor, stored, size)
        parametrize.register_parametrization(module, "weight", TrainedNorm(trained))
        student.trained.append(trained)


@torch.no_grad()
def _demand_same(name: str, made: Tensor, opened: Tensor) -> None:
    if made.shape == opened.shape:
        apart = (made.float() - opened.float()).abs().max()
        if float(apart) <= _CLOSE * float(opened.float().abs().max()):
            return
    raise _impossible(f"{name} does not come out of its codes and scales as transformers opens it.")


def _value(given: Any, name: str) -> Any:
    return given.get(name) if isinstance(given, dict) else getattr(given, name, None)


def _impossible(why: str) -> BitpressError:
    return BitpressError(
        "recovery-not-possible",
        f"This artifact cannot be recovered. {why}",
        "Recovery takes models with packed integer weights (W4A16 and the like), tables, or 16-bit weights.",
    )
