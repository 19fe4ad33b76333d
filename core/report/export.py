"""Writes a report to a file, in the format that its name asks for, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.durable import write_whole
from core.errors import BitpressError
from core.report.data import ReportData
from core.system_errors import system_problem


def _pdf(data: ReportData) -> bytes:
    from core.report.pdf import pdf

    return pdf(data)


def _html(data: ReportData) -> bytes:
    from core.report.html import html

    return html(data).encode("utf-8")


def _json(data: ReportData) -> bytes:
    from core.report.tables import as_json

    return as_json(data).encode("ascii")


def _csv(data: ReportData) -> bytes:
    from core.report.tables import as_csv

    return as_csv(data).encode("utf-8")


def _model_csv(data: ReportData) -> bytes:
    from core.report.tables import as_model_csv

    return as_model_csv(data).encode("utf-8")


def _card(data: ReportData) -> bytes:
    from core.report.card import card

    return card(data).encode("utf-8")


FORMATS: dict[str, Callable[[ReportData], bytes]] = {
    ".pdf": _pdf,
    ".html": _html,
    ".json": _json,
    ".csv": _csv,
    ".models.csv": _model_csv,
    ".md": _card,
}
"""What writes a file, by what its name ends with; `.csv` has a row for each figure, `.models.csv` for each model."""


def writer(path: Path) -> Callable[[ReportData], bytes]:
    """What writes a file of this name. Raises BitpressError `unknown-format` for a suffix that FORMATS has not."""
    name = path.name.lower()
    endings = [one for one in FORMATS if name.endswith(one) and len(name) > len(one)]
    write = FORMATS[max(endings, key=len)] if endings else None
    if write is None:
        raise BitpressError(
            "unknown-format",
            f"A report cannot be written as {path.suffix or 'a file without a suffix'}.",
            f"End the file's name with one of {', '.join(FORMATS)}.",
        )
    return write


def export(data: ReportData, path: Path) -> None:
    """Write the report, replacing a file of that name only once the new one is whole.

    Raises BitpressError `unknown-format` for another suffix than those of FORMATS, and `disk-full` or `not-writable`
    where the file cannot be written.
    """
    write = writer(path)
    try:
        write_whole(path, write(data))
    except OSError as error:
        if (full := system_problem(error)) is not None and full.code == "disk-full":
            raise BitpressError.of(full) from error
        raise BitpressError(
            "not-writable",
            f"The report could not be written to {path}: {error.strerror or error}.",
            "Choose a folder that you may write to and that has room.",
        ) from error
