"""What "Copy details" hands over: everything that somebody who helps would ask for. Nothing leaves the machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from core.errors import Problem

LIBRARIES = ("torch", "transformers", "llmcompressor", "compressed-tensors", "PySide6_Essentials")
LOG_BYTES = 20_000
"""Of the end of a log: what fits into a report of a fault, and shows what came before the end."""


def details_text(problem: Problem, *, versions: Mapping[str, str] | None = None, log: str = "") -> str:
    """Message, hint, code, details, versions and the end of the log as plain text.

    `versions` are those that a run was made with; without them what is installed is told.
    """
    libraries = versions or installed_versions()
    machine = f"Bitpress {_found('bitpress') or '(not installed)'}, Python {platform.python_version()}"
    lines = (f"{machine}, {platform.platform()}", *(f"{name} {number}" for name, number in libraries.items()))
    parts = [problem.text, "Versions:\n" + "\n".join(lines)]
    if end := log.strip():
        parts.append(f"End of the log:\n{end}")
    return "\n\n".join(parts) + "\n"


def installed_versions() -> dict[str, str]:
    """The libraries that matter most, as they are installed for this interpreter."""
    return {name: found for name in LIBRARIES if (found := _found(name))}


def _found(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
