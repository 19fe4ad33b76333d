"""What every chart of the report shares: matplotlib figures written as SVG, without pyplot and without a display.

Colours are Okabe and Ito's, the original always the same grey; a series has a mark and a line of its own as well, so
that it is told from the others in print without colour. Text stays text in the SVG, so that it can be searched and read
aloud; nothing in a name is read as mathematics.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from core.report.wording import one_line, shortened
from core.value import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORIGINAL = "#8A8A83"
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
"""A series' shape; the original's is the first."""
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 2)))
TEXT = "#1B1B19"
QUIET = "#6A6A64"
LINE = "#E2E2DE"
SHADE = "#E9E9E5"
"""What lies under the noise floor."""
BANDS = ("#F1F1EE", "#FFFFFF")
WIDTH = 6.69
"""Inches between the margins of the page, so that the text of a chart is as large as it says."""
LABEL = 30
"""Most characters of a model's name in a chart."""
SMALL = 7.5
"""Points of the text at the axes."""

_LEGEND: dict[str, Any] = {
    "bbox_to_anchor": (1, 1),
    "frameon": False,
    "fontsize": SMALL,
    "labelcolor": TEXT,
    "handlelength": 1.8,
    "columnspacing": 1.2,
}


def colour(series: int) -> str:
    """Colour of a series: 0 is the original, 1 the first run."""
    return ORIGINAL if series == 0 else SERIES[(series - 1) % len(SERIES)]


def mark(series: int) -> str:
    """Shape of a series' points; with more series than colours it keeps those of one colour apart."""
    return MARKS[series % len(MARKS)]


def dash(series: int) -> str | tuple[int, tuple[float, ...]]:
    """Line style of a series."""
    return "-" if series == 0 else DASHES[(series - 1) % len(DASHES)]


def named(label: str, length: int = LABEL) -> str:
    """A model's name as a chart shows it."""
    return shortened(one_line(label), length)


def area(figure: Figure, *, above: float = 0.24, beside: float = 0.62, below: float = 0.4) -> Axes:
    """Axes that leave room for ticks and titles, in inches, whatever the figure's height."""
    height = figure.get_figheight()
    return figure.add_axes((beside / WIDTH, below / height, 1 - (beside + 0.1) / WIDTH, 1 - (below + above) / height))


def panels(figure: Figure, count: int, *, above: float = 0.24, beside: float = 0.56, below: float = 0.4) -> list[Axes]:
    """Axes side by side, each with room for its ticks and title."""
    height = figure.get_figheight()
    width = (WIDTH - 0.06) / count
    return [
        figure.add_axes(
            (
                (place * width + beside) / WIDTH,
                below / height,
                (width - beside - 0.08) / WIDTH,
                1 - (below + above) / height,
            )
        )
        for place in range(count)
    ]


def dress(axes: Axes, below: str, beside: str, grid: Literal["x", "y", "both"]) -> None:
    """Thin lines, no box, small quiet text."""
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(QUIET)
        spine.set_linewidth(0.6)
    axes.grid(visible=True, axis=grid, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=QUIET, labelcolor=QUIET, labelsize=SMALL)
    axes.set_xlabel(below, color=QUIET, fontsize=SMALL)
    axes.set_ylabel(beside, color=QUIET, fontsize=SMALL)


def is_finite(quantity: Range) -> bool:
    """Whether it can be drawn."""
    return all(math.isfinite(value) for value in (quantity.value, quantity.low, quantity.high))


def decimal(value: float, _: object = None) -> str:
    """A tick without an exponent: 0.0001, 10."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def log_limits(values: Iterable[float]) -> tuple[float, float] | None:
    """Ends of a logarithmic axis that holds the values with some room; None where it cannot hold them."""
    found = [value for value in values if math.isfinite(value)]
    if not found or min(found) <= 0:
        return None
    low, high = min(found), max(found)
    room = max((high / low) ** 0.08, 1.25)
    return low / room, high * room


def log_ticks(axis: Axes, which: Literal["x", "y"], limits: tuple[float, float]) -> None:
    """A logarithmic axis with ticks at 1, or at 1, 2 and 5 where fewer than two decades are shown."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = limits
    steps = (1.0,) if high / low > 200 else (1.0, 2.0, 5.0) if high / low > 4 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    (axis.set_xscale if which == "x" else axis.set_yscale)("log")
    (axis.set_xlim if which == "x" else axis.set_ylim)(low, high)
    bound = axis.xaxis if which == "x" else axis.yaxis
    bound.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    bound.set_minor_locator(NullLocator())
    bound.set_major_formatter(decimal)


def legend(axes: Axes, columns: int = 3, *, floor: str = "") -> None:
    """The legend, above the axes on the right; `floor` names the shade of what cannot be measured."""
    from matplotlib.patches import Patch

    handles, labels = axes.get_legend_handles_labels()
    if floor:
        handles.append(Patch(facecolor=SHADE, edgecolor=QUIET, linewidth=0.4))
        labels.append(floor)
    if handles:
        axes.legend(handles, labels, loc="lower right", ncols=columns, borderaxespad=0.2, **_LEGEND)


def legend_height(series: int, columns: int = 3) -> float:
    """Inches that a legend of so many series takes above the axes."""
    return 0.1 + 0.16 * max(1, math.ceil(series / columns))


def shared_legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """One legend for several panels, at the top of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="upper right", ncols=columns, borderaxespad=0.0, **_LEGEND)


@contextmanager
def figure_of(height: float) -> Iterator[tuple[Figure, Callable[[], str]]]:
    """A figure of the page's width and `height` inches, and the function that makes SVG of it."""
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(
        {**_plain(rcParamsDefault), "svg.fonttype": "none", "svg.hashsalt": "bitpress", "text.parse_math": False}
    ):
        figure = Figure(figsize=(WIDTH, height), facecolor="none")
        FigureCanvasSVG(figure)

        def render() -> str:
            written = io.StringIO()
            with warnings.catch_warnings():
                # What lacks a glyph here is drawn by the reader's own fonts: the text stays text.
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(written, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
            return _bare(written.getvalue())

        yield figure, render


def _plain(defaults: Mapping[str, object]) -> dict[str, object]:
    """matplotlib's own defaults, so that a person's matplotlibrc does not reach the page; the backend stays out."""
    return {name: value for name, value in defaults.items() if name != "backend"}


_METADATA = ("Date", "Creator", "Format", "Type")


FAMILIES = "Inter, 'DejaVu Sans', sans-serif"


def _bare(svg: str) -> str:
    """The `<svg>` element alone, so that it can stand inside a page, with the page's fonts.

    Text is anchored by its start, middle or end, so that another font than matplotlib's moves nothing.
    """
    alone = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(<text style="[^"]*?font-family: )[^;"]*', rf"\g<1>{FAMILIES}", alone)
