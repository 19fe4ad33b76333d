"""The report as data: JSON with everything, CSV with one row for each figure, CSV with one row for each model."""

from __future__ import annotations

import csv
import io
import json
import math

from core.report.data import ReportData
from core.report.figures import Figure, figures
from core.report.wording import one_line
from core.value import Json

COLUMNS = ("run", "model", "figure", "value", "low", "high", "unit", "conditions")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run as a formula by spreadsheets."""


def as_json(data: ReportData) -> str:
    """The data as it is, in ASCII, so that no character of a name can disturb whoever prints the file."""
    return json.dumps(_finite(data.model_dump(mode="json")), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def as_csv(data: ReportData) -> str:
    """One figure a line, after RFC 4180; text that a spreadsheet would run as a formula begins with an apostrophe."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for figure in figures(data):
        row = (figure.run, figure.model, figure.figure, figure.value, figure.low, figure.high, figure.unit)
        rows.append(tuple(_cell(value) for value in (*row, figure.conditions)))
    return _written(rows)


def as_model_csv(data: ReportData) -> str:
    """One model a line, the original first, and a column for every figure, its interval's ends in two more.

    A column says text, batch or task in brackets and its unit last. How each figure was measured stands in the other
    table, which has a line for each.
    """
    models: dict[tuple[int | None, str], dict[str, float | int | str]] = {}
    columns: dict[str, None] = {}
    for figure in figures(data):
        cells = models.setdefault((figure.run, figure.model), {})
        for title, value in _in_columns(figure):
            if value is not None:
                columns.setdefault(title)
                cells[title] = value
    rows: list[tuple[str, ...]] = [("run", "model", *(_cell(title) for title in columns))]
    for (run, name), cells in models.items():
        rows.append((_cell(run), _cell(name), *(_cell(cells.get(title)) for title in columns)))
    return _written(rows)


def _in_columns(figure: Figure) -> tuple[tuple[str, float | int | str | None], ...]:
    title = f"{figure.figure} ({figure.part})" if figure.part else figure.figure
    unit = f", {figure.unit}" if figure.unit else ""
    return (
        (f"{title}{unit}", figure.value),
        (f"{title}, low{unit}", figure.low),
        (f"{title}, high{unit}", figure.high),
    )


def _written(rows: list[tuple[str, ...]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue()


def _finite(value: Json) -> Json:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _cell(value: float | str | None) -> str:
    """Numbers as they are; text made visible, on one line, and harmless to spreadsheets."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    text = one_line(value)
    return f"'{text}" if text.startswith(FORMULA) or value.startswith(FORMULA) else text
