"""Lays this package beside an artifact, so that a colleague who has only the artifact can open it.

Nothing in an artifact runs by itself: these are files to read and to install by hand.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "loader"

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "bitpress-codebook"
version = "0.1.0"
description = "Opens language models whose weights Bitpress stored as tables or binary codes"
license = "Apache-2.0"
requires-python = ">=3.10"
dependencies = ["safetensors>=0.6", "torch>=2.6", "transformers>=5.17,<6"]

[tool.setuptools]
packages = ["bitpress_codebook"]
"""
"""The package's own pyproject.toml, which an installed copy of it no longer has."""

LOADING = """\
# How to open this model

Its weights are stored as small indices into tables, in a format that transformers does not know by itself. Everything
that is needed lies in the folder `{folder}` beside this file: a package of a few hundred lines that needs torch,
transformers and safetensors, nothing else. Read it, then install it:

    pip install ./{folder}

    import bitpress_codebook  # transformers now knows the format
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained("path/of/this/folder", dtype="auto")

Without the import, transformers stops with a size mismatch. The model computes from its indices, matrix by matrix,
which saves memory and takes time. `bitpress_codebook.materialise(model)` makes plain matrices once: the same numbers,
faster, with the memory of the original. Saved after that, it is an ordinary model that loads anywhere.

vLLM does not know this format.
"""


def lay_loader(artifact: Path) -> None:
    """Write `loader/` and `LOADING.md` into the folder. Raises OSError."""
    folder = artifact / FOLDER
    package = folder / "bitpress_codebook"
    package.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        (package / path.name).write_bytes(path.read_bytes())
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (artifact / "LOADING.md").write_text(LOADING.format(folder=FOLDER), encoding="utf-8")
