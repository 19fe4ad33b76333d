"""A copy of an artifact in which some tensors have other values: the same files, the same headers, the same sizes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from core.errors import BitpressError
from core.models.artifact import MANIFEST_FILE
from core.models.safetensors_header import TensorEntry, read_header, weight_files
from core.worker.saved_tensors import DTYPES


def copy_artifact(artifact: Path, output: Path) -> None:
    """Copy every regular file of the folder into the new folder `output`, but for the manifest, which is another's.

    Links are not followed. Raises BitpressError `output-exists`, and OSError with ENOSPC for a full disk.
    """
    try:
        output.mkdir(parents=True)
    except FileExistsError as error:
        raise BitpressError(
            "output-exists", f"{output} exists already.", "Choose another folder, or move the old one away."
        ) from error
    for folder, names, files in os.walk(artifact, followlinks=False):
        here = Path(folder)
        names[:] = [name for name in names if not (here / name).is_symlink()]
        there = output / here.relative_to(artifact)
        there.mkdir(exist_ok=True)
        for name in files:
            source = here / name
            if source.is_symlink() or not source.is_file() or (here == artifact and name == MANIFEST_FILE):
                continue
            shutil.copyfile(source, there / name)


def write_back(output: Path, tensors: Iterable[tuple[str, Tensor]]) -> tuple[str, ...]:
    """Put values in the place of those that `output` holds; gives the names of those that really changed, sorted.

    Only the tensors' own bytes are written. Raises BitpressError `recovery-not-possible` for a tensor that is not
    there in that shape and dtype: nothing may be stored otherwise than it was.
    """
    entries = {entry.name: entry for path in weight_files(output) for entry in read_header(path).tensors.values()}
    changed = []
    for name, value in tensors:
        entry = entries.get(name)
        if entry is None or tuple(value.shape) != entry.shape or DTYPES.get(str(value.dtype)) != entry.dtype:
            raise BitpressError(
                "recovery-not-possible",
                f"{name} is not stored in the shape and dtype in which it was trained.",
                "Nothing was changed. The artifact may be damaged: prove it.",
            )
        if _put(entry, value):
            changed.append(name)
    return tuple(sorted(changed))


def _put(entry: TensorEntry, value: Tensor) -> bool:
    raw = value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    with entry.file.open("r+b") as file:
        file.seek(entry.start)
        if file.read(entry.bytes) == raw:
            return False
        file.seek(entry.start)
        file.write(raw)
    return True
