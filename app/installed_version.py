"""Which Bitpress this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The installed version; empty where the code runs from a folder that was never installed."""
    try:
        return version("bitpress")
    except PackageNotFoundError:
        return ""
