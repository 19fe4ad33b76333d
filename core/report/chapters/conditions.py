"""How a figure was measured, as rows."""

from __future__ import annotations

from core.measure.results import Conditions
from core.report.blocks import Cell


def condition_rows(conditions: Conditions) -> list[tuple[str, Cell]]:
    """Engine, device, dtype and the notes that must stand beside the figures."""
    device = conditions.device
    if conditions.threads is not None:
        device = f"{device}, {conditions.threads} threads"
    rows = [
        ("Engine", Cell(text=f"{conditions.engine} {conditions.engine_version}".strip())),
        ("Device", Cell(text=device)),
        ("Computed in", Cell(text=conditions.dtype)),
    ]
    return rows + [("Note", Cell(text=note)) for note in conditions.notes]
