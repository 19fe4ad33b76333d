"""Sensitivity as a heat map: how much the model diverges when one part alone is compressed."""

from __future__ import annotations

import math

from core.measure.sensitivity_values import Part, Sensitivity, SensitivityResult
from ui.humanize import bytes_text, duration_text, number_text
from ui.pages.run_words import significant
from ui.widgets.chart_drawing import Axis, Block, Drawing, Figures, Ink, Mark, nothing

NO_SENSITIVITY = (
    "Sensitivity is not measured yet. Measure sensitivity compresses one part at a time and scores each; from that "
    "comes the best mix of schemes."
)
LETTERS = "ABCDEFGHIJ"
_STOPS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""viridis at 0, 1/4, 1/2, 3/4 and 1: rises evenly in lightness, so it reads in grey and without red or green."""


def viridis(share: float) -> Ink:
    """The colour at 0 to 1 of the map, as `#RRGGBB`."""
    share = min(1.0, max(0.0, share)) * (len(_STOPS) - 1)
    index = min(int(share), len(_STOPS) - 2)
    rest = share - index
    red, green, blue = (
        round(low + (high - low) * rest) for low, high in zip(_STOPS[index], _STOPS[index + 1], strict=True)
    )
    return f"#{red:02X}{green:02X}{blue:02X}"


def heat_drawing(result: SensitivityResult | None, scheme: str) -> Drawing:
    """Layers from left to right, kinds of modules from top to bottom, colour by mean KL on a log scale.

    The scale is the scheme's own. Letters name the scheme that the assignment gives to each part.
    """
    title = f"Sensitivity to {scheme}" if scheme else "Sensitivity"
    if result is None or not result.cells:
        return nothing("Sensitivity", NO_SENSITIVITY)
    cells = {cell.part: cell for cell in result.cells if cell.scheme == scheme}
    kinds = tuple(dict.fromkeys(part.kind for part in result.parts))
    layers = tuple(sorted({part.layer for part in result.parts}))
    low, high = (math.log10(end) for end in scale_of(result, scheme))
    marks: list[Mark] = []
    lines = []
    for part in result.parts:
        cell = cells.get(part.key)
        if cell is None:
            continue
        place = (math.log10(cell.kl.value) - low) / ((high - low) or 1.0) if cell.kl.value > 0 else 0.0
        chosen = result.assignment.schemes.get(part.key) if result.assignment is not None else None
        across, down = layers.index(part.layer), kinds.index(part.kind)
        marks.append(
            Block(
                (across - 0.48, across + 0.48),
                (down - 0.47, down + 0.47),
                viridis(place),
                _hint(part, cell, chosen),
                "" if chosen is None else letter_of(result, chosen),
                "middle",
                "#FFFFFF" if place < 0.6 else "#1B1B19",
            )
        )
        interval = f"{significant(cell.kl.low)}–{significant(cell.kl.high)}"
        lines.append((part.key, str(part.layer), part.kind, significant(cell.kl.value), interval, chosen or "–"))
    step = max(1, math.ceil(len(layers) / 16))
    x = Axis(
        "layer",
        -0.5,
        len(layers) - 0.5,
        ticks=tuple(float(index) for index in range(0, len(layers), step)),
        text=lambda place: str(layers[round(place)]) if 0 <= round(place) < len(layers) else "",
    )
    return Drawing(
        title,
        x,
        Axis("", 0, 1, names=kinds),
        tuple(marks),
        figures=Figures(("Part", "Layer", "Kind", "Mean KL", "95 % interval", "Chosen"), tuple(lines)),
        note=_note(result, scheme),
        right_room=4,
    )


def scale_of(result: SensitivityResult, scheme: str) -> tuple[float, float]:
    """Smallest and largest mean KL of a scheme's cells, nats per token."""
    values = [cell.kl.value for cell in result.cells if cell.scheme == scheme and cell.kl.value > 0] or [1e-6]
    return min(values), max(values)


def letter_of(result: SensitivityResult, scheme: str) -> str:
    """The letter that stands for a scheme in the cells."""
    names = list(dict.fromkeys((*result.schemes, *(result.assignment.schemes.values() if result.assignment else ()))))
    return LETTERS[names.index(scheme) % len(LETTERS)] if scheme in names else "?"


def letters_line(result: SensitivityResult) -> str:
    """What the letters mean, and how much of the model each scheme gets."""
    if result.assignment is None:
        return ""
    counts: dict[str, int] = {}
    for scheme in result.assignment.schemes.values():
        counts[scheme] = counts.get(scheme, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: letter_of(result, pair[0]))
    return " · ".join(
        f"{letter_of(result, scheme)} = {scheme} ({number_text(count)} parts)" for scheme, count in ordered
    )


def assignment_line(result: SensitivityResult) -> str:
    """The chosen assignment's size and expected divergence beside the uniform schemes'."""
    assignment = result.assignment
    if assignment is None:
        return "No assignment was made: name a size budget to get the best scheme for every part."
    uniform = ", ".join(f"{scheme} {bytes_text(size)}" for scheme, size in assignment.uniform.items())
    return (
        f"Chosen for at most {bytes_text(assignment.budget_bytes)}: {bytes_text(assignment.bytes)}, expected KL "
        f"{significant(assignment.predicted_kl)} (sum of the parts). Uniform: {uniform}."
    )


def _hint(part: Part, cell: Sensitivity, chosen: str | None) -> str:
    lines = [
        f"layer {part.layer}, {part.kind}",
        f"mean KL {significant(cell.kl.value)} nats per token with only this part in {cell.scheme}",
        f"{significant(cell.kl.low)} to {significant(cell.kl.high)} (95 % interval)",
        *((f"above the rounding noise there, {significant(cell.noise)}",) if cell.noise else ()),
        f"{bytes_text(cell.bytes)} in {cell.scheme}, {number_text(part.parameters)} parameters",
    ]
    return "\n".join((*lines, f"chosen: {chosen}") if chosen else lines)


def _note(result: SensitivityResult, scheme: str) -> str:
    low, high = scale_of(result, scheme)
    above = " above rounding noise" if any(cell.noise for cell in result.cells) else ""
    parts = [
        f"mean KL{above} {significant(low)} (dark) to {significant(high)} (bright), log scale",
        f"{number_text(result.tokens)} tokens",
        f"measured in {duration_text(result.seconds)}",
    ]
    if letters := letters_line(result):
        parts.append(f"chosen: {letters}")
    return " · ".join(parts)
