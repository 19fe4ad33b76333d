"""Whether an artifact can be written where it is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from core.models.local_model import LocalModel
from core.plan.finding import Finding, Severity
from core.plan.read_machine import existing_parent

NAME_BYTES = 220
"""Longest name of an output folder; disks take 255, and a suffix comes on top while it is written."""


def output_findings(model: LocalModel, output: Path | None) -> Iterator[Finding]:
    """Findings about the output folder, which must not exist yet; none where no folder is named."""
    if output is None:
        return
    output = output.expanduser().absolute()
    if output.resolve() == model.path.resolve():
        beside = free_name(output)
        yield Finding(
            code="output-is-model",
            severity=Severity.BLOCKS,
            message=f"{output} is the original model itself, and it stays as it is. {beside.name} beside it is free.",
            fix={"output": str(beside)},
        )
        return
    if os.path.lexists(output):
        free = free_name(output)
        yield Finding(
            code="output-exists",
            severity=Severity.BLOCKS,
            message=f"{output} exists already, and nothing is ever overwritten. Choose another name; {free.name} is "
            "free.",
            fix={"output": str(free)},
        )
        return
    if len(os.fsencode(output.name)) > NAME_BYTES:
        shorter = os.fsencode(output.name)[:NAME_BYTES].decode("utf-8", "ignore")
        yield Finding(
            code="output-name-too-long",
            severity=Severity.BLOCKS,
            message=f"The name of the output folder has {len(os.fsencode(output.name))} bytes and may have "
            f"{NAME_BYTES}. Choose a shorter one.",
            fix={"output": str(free_name(output.with_name(shorter)))},
        )
        return
    if model.path.is_dir() and output.is_relative_to(model.path.absolute()):
        beside = free_name(model.path.absolute().parent / output.name)
        yield Finding(
            code="output-inside-model",
            severity=Severity.BLOCKS,
            message=f"{output} lies inside the original model's folder. Put the artifact beside it.",
            fix={"output": str(beside)},
        )
        return
    parent = existing_parent(output.parent)
    if not parent.is_dir():
        yield Finding(
            code="output-not-writable",
            severity=Severity.BLOCKS,
            message=f"{parent} is a file, so no folder can be made under it. Choose a folder beside it.",
            fix={"output": str(free_name(parent.with_name(output.name)))},
        )
    elif not os.access(parent, os.W_OK | os.X_OK):
        yield Finding(
            code="output-not-writable",
            severity=Severity.BLOCKS,
            message=f"{parent} may not be written to. Choose another output folder, for example the one where all "
            "artifacts are, or change its permissions.",
            fix={"output": None},
        )


def free_name(wanted: Path) -> Path:
    """The path itself where nothing has it, else the first of `name-2`, `name-3` ... that is free."""
    number = 1
    path = wanted
    while os.path.lexists(path):
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path
