"""How far each compressed module is from the original's, read from the files of both, one module at a time.

Divergence of the whole model hides a single broken module: one linear layer of noise costs 0.2 nats where 4 bits cost
0.15. Here every module is decompressed by compressed-tensors itself and its weights are compared with the original's.
The measure is relative, |W' - W| / |W| (Frobenius), and it is held against what rounding the same weights to the same
grid would cost, so that one rule fits every scheme.

Smoothing changes weights on purpose: columns are multiplied by factors by which a norm, or the rows of the layer
before, are divided. Such a module is compared with the scaled original, and the factors are taken from the other side
of the bargain, so that a scale which nothing undoes is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.measure.results import ProofCheck
from core.worker.codebook_parts import PARTS, CodebookSchemes, codebook_facts
from core.worker.reporter import Reporter
from core.worker.tensor_files import TensorFiles

if TYPE_CHECKING:
    from torch import Tensor

NAME = "module errors"

FACTOR = 4.0
"""Error allowed, in multiples of rounding's own. GPTQ goes up to three times as far, in directions that data lacks."""

FLOOR = 0.02
"""The bound is never below this: scales are stored in 16 bits."""

GAIN = (0.5, 1.5)
"""Where <W', W> / <W, W> may lie. Rounding stays near 1 at any width; zeros, noise and shuffled weights are near 0, and
a wrong scale is anywhere. At 2 bits, where rounding itself is off by half, this tells what the error does not."""

_SHOWN = 3
_CHUNK = 1 << 23
"""Elements worked on at a time in float32."""

_QUANTIZED = ("weight_packed", "weight")
_VALUES = ("weight_scale", "table", "offset")
"""What each compressed module has one of, beside its weights."""

_LAYER = re.compile(r"^(?:.*?\.)?\d+\.")
_EXPERT = re.compile(r"^(?P<stem>.*\.experts)\.(?P<index>\d+)\.(?P<part>gate|up|down)_proj$")
_ROW_MULTIPLE = 512
_SAMPLE = 128
"""Rows from which the error of rounding is known well enough: a hundred thousand weights and more."""


@dataclass(frozen=True, slots=True)
class ModuleError:
    """One compressed module: |W' - W| / |W|, the same for rounding to the nearest, and <W', W> / <W, W>.

    `smoothed_by` names the norm, or the layer, by which the scaling of its columns is undone.
    """

    name: str
    relative: float
    rounding: float
    gain: float
    smoothed_by: str = ""

    @property
    def limit(self) -> float:
        """The largest error that passes."""
        return max(FLOOR, FACTOR * self.rounding)

    @property
    def passed(self) -> bool:
        # Written so that a figure which is no number fails.
        return bool(self.relative <= self.limit and GAIN[0] <= self.gain <= GAIN[1])


def check_module_errors(
    original: Path, artifact: Path, report: Reporter, stage: str, dropped: Sequence[int] = ()
) -> ProofCheck:
    """Whether every compressed module holds the original's weights, as far as its bits allow.

    `dropped` are decoder blocks of the original that the artifact has not; modules of another size are left out.

    For methods that leave weights where they were, up to smoothing: not after pruning or rotation.
    Raises BitpressError `broken-weights` for files that cannot be opened.
    """
    total = len(compressed_modules(artifact))
    found: list[ModuleError] = []
    for error in module_errors(original, artifact, dropped):
        found.append(error)
        report.progress(stage, len(found), total, error.name)
    bad = sorted((error for error in found if not error.passed), key=lambda error: -error.relative)
    if bad:
        said = ", ".join(f"{error.name} is off by {error.relative:.0%}" for error in bad[:_SHOWN])
        more = " …" if len(bad) > _SHOWN else ""
        detail = f"{len(bad)} of {len(found)} modules do not hold the original's weights: {said}{more}."
        return ProofCheck(name=NAME, passed=False, detail=detail)
    if not found:
        return ProofCheck(name=NAME, passed=True, detail="No module's weights could be compared with the original's.")
    worst = max(found, key=lambda error: error.relative)
    left = f"; {total - len(found)} have no counterpart in the original's files" if total > len(found) else ""
    detail = f"{len(found)} modules are off by {worst.relative:.1%} at most, {worst.name}{left}."
    return ProofCheck(name=NAME, passed=True, detail=detail)


def compressed_modules(artifact: Path) -> tuple[str, ...]:
    """Stored names of the modules that have a weight scale, a table or an offset, in order.

    Raises BitpressError `broken-weights`.
    """
    with TensorFiles(artifact) as files:
        return _compressed(files)


def module_errors(original: Path, artifact: Path, dropped: Sequence[int] = ()) -> Iterator[ModuleError]:
    """The error of every module whose original is found, layer by layer; in memory are one module and its original.

    Raises BitpressError `broken-weights`, `no-weights`, or `no-config` where the artifact names no quantization.
    """
    with TensorFiles(original, dropped) as before, TensorFiles(artifact) as after:
        schemes = _schemes_of(artifact)
        layers: dict[str, list[str]] = {}
        for name in _compressed(after):
            found = _LAYER.match(name)
            layers.setdefault(found[0] if found else name, []).append(name)
        for layer, names in layers.items():
            yield from _Layer(before, after, schemes, layer).errors(names)


class _Layer:
    """The modules of one decoder layer with the norms that were changed in it."""

    def __init__(
        self, before: TensorFiles, after: TensorFiles, schemes: Schemes | CodebookSchemes, prefix: str
    ) -> None:
        self._before = before
        self._after = after
        self._schemes = schemes
        self._norms = dict(_changed_norms(before, after, prefix))

    def errors(self, names: Sequence[str]) -> Iterator[ModuleError]:
        """First what passes as it is or behind a norm; then, for the rest, layers that scale one another."""
        found: dict[str, ModuleError] = {}
        for name in names:
            best = self._compare(name, None, "")
            if best is None:
                continue
            for norm, factors in self._norms.items():
                if best.passed:
                    break
                tried = self._compare(name, factors, norm)
                best = tried if tried is not None and tried.relative < best.relative else best
            found[name] = best
        yield from (self._scaled(found) if any(not error.passed for error in found.values()) else found).values()

    def _scaled(self, found: Mapping[str, ModuleError]) -> Mapping[str, ModuleError]:
        """Layers whose rows were divided by what the columns of the next were multiplied with (v to o, up to down).

        Rows count as scaled only where another layer beside them comes closer by the inverse of their factors.
        """
        settled = dict(found)
        blocks = {_parent(name) for name, error in found.items() if not error.passed}
        for block in sorted(blocks):
            beside = [name for name in found if _parent(name) == block]
            rows = {name: fitted for name in beside if (fitted := self._fit_rows(name)) is not None}
            for name in beside:
                for producer, (scaled, factors) in rows.items():
                    if producer == name:
                        continue
                    tried = self._compare(name, 1 / factors, producer)
                    if tried is None or not tried.passed or tried.relative >= found[name].relative:
                        continue
                    for error in (tried, scaled):
                        if not found[error.name].passed:
                            settled[error.name] = error
        return settled

    def _compare(self, name: str, columns: Tensor | None, by: str) -> ModuleError | None:
        """The error against the original with its columns multiplied; None where the two cannot be compared."""
        import torch

        old, new = self._pair(name)
        if old is None or new is None or old.shape != new.shape:
            return None
        if columns is not None:
            columns = columns[-old.shape[1] :]
            if columns.numel() != old.shape[1]:
                return None
        rounding = self._schemes.rounding(name, old, columns)
        wrong = size = shared = 0.0
        for start, stop in _chunks(old):
            part = old[start:stop].float()
            part = part if columns is None else part * columns
            now = new[start:stop].float()
            wrong += float(torch.nn.functional.mse_loss(now, part, reduction="sum"))
            shared += _dot(now, part)
            size += _dot(part, part)
        if not size:
            return ModuleError(name, 0.0 if wrong == 0 else float("inf"), 0.0, 1.0, by)
        return ModuleError(name, (wrong / size) ** 0.5, rounding, shared / size, by)

    def _fit_rows(self, name: str) -> tuple[ModuleError, Tensor] | None:
        """The module with the row factors that explain it best, behind any of the norms; None where nothing does."""
        best: tuple[ModuleError, Any] | None = None
        for norm, columns in [("", None), *self._norms.items()]:
            old, new = self._pair(name)
            if old is None or new is None or old.shape != new.shape:
                continue
            if columns is not None and columns.numel() != old.shape[1]:
                continue
            old = old.float() if columns is None else old.float() * columns
            new = new.float()
            rows = (new * old).sum(1) / (old * old).sum(1).clamp_min(1e-30)
            off = float(((new - old * rows[:, None]) ** 2).sum() / (new**2).sum().clamp_min(1e-30)) ** 0.5
            rounding = self._schemes.rounding(name, old * rows[:, None])
            error = ModuleError(name, off, rounding, 1.0, " and ".join(filter(None, (norm, "the next layer"))))
            if error.passed and (best is None or off < best[0].relative):
                best = error, rows
        return best

    def _original(self, name: str) -> Tensor | None:
        """The original's weight, also out of a tensor that holds all experts of a layer; two-dimensional."""
        for stored in (f"{name}.weight", f"model.{name}.weight", f"{name.partition('.')[2]}.weight"):
            if stored in self._before:
                return self._before.read(stored)
        match = _EXPERT.match(name)
        if match is None:
            return None
        fused = f"{match['stem']}.{'down_proj' if match['part'] == 'down' else 'gate_up_proj'}"
        if fused not in self._before:
            return None
        expert = self._before.read_row(fused, int(match["index"]))
        if match["part"] == "down":
            return expert
        half = expert.shape[0] // 2
        return expert[:half] if match["part"] == "gate" else expert[half:]

    def _pair(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """The module's weights in the original and, decompressed, in the artifact."""
        old = self._original(name)
        if old is None:
            return None, None
        parts = {
            local: self._after.read(f"{name}.{local}")
            for local in self._after.locals(name)
            if local.startswith("weight") or local in PARTS
        }
        return old, self._schemes.decompressed(name, parts, old.shape[1])


class Schemes:
    """The quantization schemes that an artifact's config names."""

    def __init__(self, artifact: Path) -> None:
        from compressed_tensors.quantization import QuantizationConfig

        config = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
        named = config.get("quantization_config") or (config.get("text_config") or {}).get("quantization_config")
        if not isinstance(named, dict):
            raise BitpressError(
                "no-config", f"config.json of {artifact} names no quantization.", "Choose a compressed model."
            )
        self._groups = tuple(QuantizationConfig.model_validate(named).config_groups.values())

    def of(self, name: str) -> Any:
        """The scheme of a module by its name, as compressed-tensors finds it: exact names, patterns, then classes."""
        from compressed_tensors.utils.match import match_name

        if len(self._groups) > 1:
            for group in self._groups:
                if any(match_name(name, target) for target in group.targets):
                    return group
            for group in self._groups:
                if "Linear" in group.targets:
                    return group
        return self._groups[0]

    def decompressed(self, name: str, parts: Mapping[str, Tensor], _columns: int) -> Tensor:
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.compressors.format import infer_module_format
        from torch.nn import Linear

        scheme = self.of(name)
        kind = scheme.format or infer_module_format(Linear, scheme)
        compressor = BaseCompressor.get_value_from_registry(getattr(kind, "value", kind))
        weight: Tensor = compressor.decompress(dict(parts), scheme)["weight"]
        return weight.detach()

    def rounding(self, name: str, weight: Tensor, columns: Tensor | None = None) -> float:
        """Relative error of rounding these weights, their columns multiplied, to the module's grid; from some rows."""
        args = self.of(name).weights
        whole = _range(weight, columns) if args.strategy in ("tensor", "tensor_group") else None
        rows = weight[:_SAMPLE].float()
        rows = rows if columns is None else rows * columns
        return float((_rounded(rows, args, whole) - rows).norm() / rows.norm().clamp_min(1e-15))


def _schemes_of(artifact: Path) -> Schemes | CodebookSchemes:
    modules = codebook_facts(artifact)
    return CodebookSchemes(modules) if modules is not None else Schemes(artifact)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _compressed(files: TensorFiles) -> tuple[str, ...]:
    valued = (name.rpartition(".")[0] for name in files.names if name.rpartition(".")[2] in _VALUES)
    return tuple(name for name in valued if any(f"{name}.{local}" in files for local in _QUANTIZED))


def _changed_norms(before: TensorFiles, after: TensorFiles, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Norms of the layer that smoothing divided, with the factors; those that compute with 1 + weight as well."""
    for name in after.names:
        if not name.startswith(prefix) or not name.endswith("norm.weight") or name not in before:
            continue
        old, new = before.read(name).float(), after.read(name).float()
        if old.shape != new.shape or bool((old == new).all()):
            continue
        for offset, word in ((0.0, name), (1.0, f"1 + {name}")):
            factors = (old + offset) / (new + offset)
            if bool(factors.isfinite().all()) and bool((factors > 0).all()):
                yield word, factors


def _dot(one: Tensor, other: Tensor) -> float:
    import torch

    return float(torch.dot(one.flatten(), other.flatten()))


def _chunks(weight: Tensor) -> Iterator[tuple[int, int]]:
    """Runs of rows, whole blocks of any size in use, few enough for float32."""
    rows = max(_ROW_MULTIPLE, _CHUNK // max(weight.shape[1], 1) // _ROW_MULTIPLE * _ROW_MULTIPLE)
    for start in range(0, weight.shape[0], rows):
        yield start, min(start + rows, weight.shape[0])


def _range(weight: Tensor, columns: Tensor | None) -> tuple[Tensor, Tensor]:
    import torch

    lows, highs = [], []
    for start, stop in _chunks(weight):
        part = weight[start:stop].float()
        low, high = torch.aminmax(part if columns is None else part * columns)
        lows.append(low)
        highs.append(high)
    return torch.stack(lows).amin(), torch.stack(highs).amax()


def _rounded(weight: Tensor, args: Any, whole: tuple[Tensor, Tensor] | None) -> Tensor:
    """The weights rounded to the nearest point of the grid that the smallest and largest of each group span."""
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    if args.strategy == "block":
        return _rounded_blocks(weight, args)
    scale_of_all = generate_gparam(*whole) if whole is not None and args.strategy == "tensor_group" else None
    if args.strategy in ("group", "tensor_group"):
        groups = weight.unflatten(-1, (-1, args.group_size))
        low, high = groups.amin(-1), groups.amax(-1)
    elif whole is not None:
        low, high = whole
    else:
        low, high = weight.amin(-1, keepdim=True), weight.amax(-1, keepdim=True)
    scale, zero = calculate_qparams(low, high, args, global_scale=scale_of_all)
    rounded: Tensor = fake_quantize(weight, scale.float(), zero.float(), args, global_scale=scale_of_all)
    return rounded


def _rounded_blocks(weight: Tensor, args: Any) -> Tensor:
    import torch
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    height, width = args.block_structure
    rows, columns = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -columns % width, 0, -rows % height))
    blocks = padded.unflatten(1, (-1, width)).unflatten(0, (-1, height))
    scale, zero = calculate_qparams(blocks.amin((1, 3)), blocks.amax((1, 3)), args)
    return fake_quantize(padded, scale.float(), zero.float(), args)[:rows, :columns]
