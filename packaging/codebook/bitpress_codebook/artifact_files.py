"""Whether an artifact's files hold what its config says. They come from anybody, so every number is
held against the model.

Only headers are read, and the places of kept weights; nothing is allocated by a size that a file names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bitpress_codebook.layout import ModuleLayout

_FLOATS = ("F16", "BF16", "F32")


class ArtifactError(ValueError):
    """The files do not hold the model that the config describes; the message says what is wrong and where."""


def stored_shapes(layout: ModuleLayout, *, bias: bool) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name of each tensor of a module to its dtype, as a safetensors header names it, and its shape.

    `float` stands for the model's own numbers.
    """
    found: dict[str, tuple[str, tuple[int, ...]]] = {"weight": ("I32", (layout.rows, layout.words))}
    if layout.kind == "table":
        found["table"] = ("F16", (layout.rows, 1 << layout.bits))
    else:
        found["coefficients"] = ("F16", (layout.rows, layout.bits))
        found["offset"] = ("F16", (layout.rows, 1))
    if layout.kept:
        found["kept_starts"] = ("I32", (layout.rows + 1,))
        found["kept_columns"] = ("I32", (layout.kept,))
        found["kept_values"] = ("float", (layout.kept,))
    if bias:
        found["bias"] = ("float", (layout.rows,))
    return found


def check_files(paths: Sequence[str], layouts: Mapping[str, ModuleLayout], biased: Sequence[str]) -> None:
    """Hold every module's tensors against its layout. `layouts` are by the names in the files.

    Raises ArtifactError for a tensor that is missing or has another dtype or shape, and for kept weights that lie
    outside the matrix or twice in one place.
    """
    from safetensors import SafetensorError, safe_open

    left = dict(layouts)
    found: dict[str, tuple[str, tuple[int, ...], str]] = {}
    try:
        for path in paths:
            if not path.endswith(".safetensors"):
                raise ArtifactError(f"{Path(path).name} is no safetensors file.")
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    if name.rpartition(".")[0] in left:
                        header = file.get_slice(name)
                        found[name] = (header.get_dtype(), tuple(header.get_shape()), path)
        for name, layout in left.items():
            _check_shapes(name, layout, found, bias=name in biased)
        for name, layout in left.items():
            if layout.kept:
                starts = _read(found[f"{name}.kept_starts"][2], f"{name}.kept_starts")
                columns = _read(found[f"{name}.kept_columns"][2], f"{name}.kept_columns")
                check_kept(name, layout, starts, columns)
    except SafetensorError as error:
        raise ArtifactError(f"A weight file cannot be read: {error}") from error


def check_kept(name: str, layout: ModuleLayout, starts: torch.Tensor, columns: torch.Tensor) -> None:
    """Raise ArtifactError unless rows follow one another and columns lie in the matrix and rise within a row."""
    counts = starts[1:].to(torch.int64) - starts[:-1].to(torch.int64)
    if int(starts[0]) != 0 or int(starts[-1]) != layout.kept or bool((counts < 0).any()):
        raise ArtifactError(f"{name}.kept_starts does not divide {layout.kept} kept weights into {layout.rows} rows.")
    if int(columns.min()) < 0 or int(columns.max()) >= layout.columns:
        raise ArtifactError(f"{name}.kept_columns names a column that a matrix of {layout.columns} columns lacks.")
    rows = torch.repeat_interleave(torch.arange(layout.rows, device=counts.device), counts)
    place = rows * layout.columns + columns.to(torch.int64)
    if bool((place[1:] <= place[:-1]).any()):
        raise ArtifactError(f"{name}.kept_columns does not rise within each row.")


def _check_shapes(
    name: str, layout: ModuleLayout, found: Mapping[str, tuple[str, tuple[int, ...], str]], *, bias: bool
) -> None:
    for part, (dtype, shape) in stored_shapes(layout, bias=bias).items():
        full = f"{name}.{part}"
        if full not in found:
            raise ArtifactError(f"{full} is missing from the files.")
        own_dtype, own_shape, _ = found[full]
        fits = own_dtype in _FLOATS if dtype == "float" else own_dtype == dtype
        if not fits or own_shape != shape:
            raise ArtifactError(f"{full} is {own_dtype} of {own_shape} in the files; {dtype} of {shape} is needed.")


def _read(path: str, name: str) -> Any:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)
