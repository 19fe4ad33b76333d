"""Sensitivity of every part of a model, as colours, and the scheme that was chosen for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.measure.sensitivity_values import Part, SensitivityResult
from core.report.charts.canvas import LINE, QUIET, SERIES, SMALL, TEXT, WIDTH, decimal, figure_of, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "#FFFFFF"
HATCHES = ("", "////", "....", "xxxx", "----", "++++")
"""Tell schemes apart without colour."""
ROW, GAP, TITLE, FOOT, SCALE, BESIDE = 0.19, 0.16, 0.2, 0.34, 0.42, 0.82
"""Inches: one kind of module, between two maps, a map's title, the layers' axis, the colour scale, kinds' names."""


def kinds_of(parts: Sequence[Part]) -> tuple[str, ...]:
    """Kinds in the order of the model."""
    return tuple(dict.fromkeys(part.kind for part in parts))


def sensitivity_map(result: SensitivityResult) -> str:
    """Layers to the right, kinds of module downwards, a map for each scheme; mean KL on one logarithmic scale."""
    from matplotlib import colormaps

    kinds, layers = kinds_of(result.parts), _layers(result.parts)
    values = {(cell.scheme, cell.part): cell.kl.value for cell in result.cells if cell.kl.value > 0}
    finite = [value for value in values.values() if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (1e-6, 1.0)
    span = math.log(high / low) or 1.0
    shades = colormaps["viridis"]

    def shade(value: float) -> str:
        from matplotlib.colors import to_hex

        return to_hex(shades(math.log(value / low) / span))

    one = TITLE + ROW * len(kinds) + GAP
    height = one * len(result.schemes) + FOOT + SCALE
    with figure_of(height) as (figure, render):
        for place, scheme in enumerate(result.schemes):
            axes = _map_axes(figure, height - one * place - TITLE, height, len(kinds))
            axes.set_title(named(scheme), loc="left", fontsize=SMALL, color=TEXT, pad=3)
            for part in result.parts:
                found = values.get((scheme, part.key))
                _cell(axes, layers[part.layer], kinds.index(part.kind), MISSING if found is None else shade(found))
            _dress(axes, kinds, layers, last=place == len(result.schemes) - 1)
        _scale(figure, height, [shade(low * (high / low) ** (step / 40)) for step in range(41)], low, high)
        return render()


def assignment_map(parts: Sequence[Part], schemes: Mapping[str, str], named_schemes: Sequence[str]) -> str:
    """The scheme of every part, by colour and hatching."""
    from matplotlib.patches import Patch

    kinds, layers = kinds_of(parts), _layers(parts)
    height = 0.26 + ROW * len(kinds) + FOOT
    with figure_of(height) as (figure, render):
        axes = _map_axes(figure, height - 0.26, height, len(kinds))
        for part in parts:
            scheme = schemes.get(part.key)
            if scheme is not None and scheme in named_schemes:
                order = list(named_schemes).index(scheme)
                tint, hatch = SERIES[order % len(SERIES)], HATCHES[order % len(HATCHES)]
                _cell(axes, layers[part.layer], kinds.index(part.kind), tint, hatch)
        _dress(axes, kinds, layers, last=True)
        handles = [
            Patch(
                facecolor=SERIES[order % len(SERIES)],
                hatch=HATCHES[order % len(HATCHES)],
                edgecolor="#FFFFFF",
                linewidth=0,
                label=named(scheme),
            )
            for order, scheme in enumerate(named_schemes)
        ]
        figure.legend(
            handles=handles,
            loc="upper right",
            bbox_to_anchor=(1, 1),
            ncols=len(handles),
            frameon=False,
            fontsize=SMALL,
            labelcolor=TEXT,
            borderaxespad=0,
        )
        return render()


def _layers(parts: Sequence[Part]) -> dict[int, int]:
    """Column of every layer."""
    return {layer: place for place, layer in enumerate(sorted({part.layer for part in parts}))}


def _map_axes(figure: Figure, top: float, height: float, kinds: int) -> Axes:
    return figure.add_axes(
        (BESIDE / WIDTH, (top - ROW * kinds) / height, 1 - (BESIDE + 0.05) / WIDTH, ROW * kinds / height)
    )


def _cell(axes: Axes, column: int, row: int, tint: str, hatch: str = "") -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((column, row), 1, 1, facecolor=tint, edgecolor="#FFFFFF", linewidth=0.4, hatch=hatch or None)
    )


def _dress(axes: Axes, kinds: Sequence[str], layers: Mapping[int, int], *, last: bool) -> None:
    axes.set_xlim(0, len(layers))
    axes.set_ylim(len(kinds), 0)
    every = max(1, math.ceil(len(layers) / 16))
    shown = [(place, layer) for layer, place in layers.items() if place % every == 0]
    axes.set_xticks(
        [place + 0.5 for place, _ in shown], [str(layer) for _, layer in shown] if last else [""] * len(shown)
    )
    axes.set_yticks([place + 0.5 for place in range(len(kinds))], [named(kind, 16) for kind in kinds])
    for spine in axes.spines.values():
        spine.set_color(LINE)
        spine.set_linewidth(0.6)
    axes.tick_params(length=0, labelcolor=QUIET, labelsize=SMALL, pad=2)
    if last:
        axes.set_xlabel("layer", color=QUIET, fontsize=SMALL, labelpad=1)


def _scale(figure: Figure, height: float, shades: Sequence[str], low: float, high: float) -> None:
    """The colours with their values, below the maps."""
    from matplotlib.patches import Rectangle

    axes = figure.add_axes((BESIDE / WIDTH, 0.24 / height, 0.45, 0.09 / height))
    for place, shade in enumerate(shades):
        axes.add_patch(Rectangle((place, 0), 1, 1, facecolor=shade, edgecolor=shade, linewidth=0.2))
    axes.set_xlim(0, len(shades))
    axes.set_ylim(0, 1)
    marks = [0.0, 0.25, 0.5, 0.75, 1.0] if high > low else [0.5]
    axes.set_xticks(
        [mark * len(shades) for mark in marks], [decimal(_rounded(low * (high / low) ** mark)) for mark in marks]
    )
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelcolor=QUIET, labelsize=SMALL, pad=2)
    figure.text(
        BESIDE / WIDTH + 0.47, 0.29 / height, "mean KL, nats per token", color=QUIET, fontsize=SMALL, va="center"
    )


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
