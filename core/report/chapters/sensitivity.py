"""Chapter 11: which parts suffer when they alone are compressed, and the mixed scheme that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.measure.sensitivity_values import Assignment, Part, Sensitivity, SensitivityResult
from core.report.blocks import Block, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.chapters.columns import numbered
from core.report.charts.heat_map import assignment_map, kinds_of, sensitivity_map
from core.report.charts.pareto import Plane, Point, front_of, pareto
from core.report.data import MIXED, Level, ReportData
from core.report.wording import counted, interval, nats, percent, seconds, significant, size, whole
from core.value import Range

MOST_PARTS = 8
HOW_TO_READ = (
    "Each cell is the mean KL divergence from the original when only that part of the model is in that scheme and all "
    "else is as it was, less what a mere change of rounding at that layer makes. What an engine fuses has one scheme: "
    "query, key and value, and gate and up."
)


def blocks(data: ReportData) -> tuple[Block, ...]:
    """The heat map, the most sensitive parts, the assignment, and mixed against uniform; nothing without a map."""
    result = data.sensitivity
    if result is None or not result.cells:
        return ()
    made: list[Block] = [Paragraph(text=HOW_TO_READ), _map(result), _worst(result)]
    if result.assignment:
        made += _assignment(result, result.assignment)
    made += _as_measured(data)
    rows = (
        ("Parts", Cell(text=f"{counted(len(result.parts), 'part')} in {counted(len(result.schemes), 'scheme')}")),
        ("Text", Cell(text=f"{whole(result.tokens)} tokens")),
        ("Time", Cell(text=seconds(result.seconds))),
        ("SHA-256 of the scored token ids", Cell(text=result.sha256, mono=True)),
    )
    return (*made, Heading(text="How sensitivity was measured"), Facts(rows=rows))


def _map(result: SensitivityResult) -> Chart:
    worst = max(result.cells, key=lambda cell: cell.kl.value)
    return Chart(
        svg=sensitivity_map(result),
        alternative=f"Heat map of sensitivity: {len(result.parts)} parts in {', '.join(result.schemes)}. The largest "
        f"is {worst.part} in {worst.scheme} with {nats(worst.kl.value)} nats per token.",
        caption="Sensitivity of every part, a map for each scheme; the brighter, the more it costs.",
    )


def _worst(result: SensitivityResult) -> Table:
    parts = {part.key: part for part in result.parts}
    cells = sorted(result.cells, key=lambda cell: cell.kl.value, reverse=True)[:MOST_PARTS]
    total = {scheme: sum(cell.kl.value for cell in result.cells if cell.scheme == scheme) for scheme in result.schemes}
    return Table(
        columns=(
            Column(title="Most sensitive parts", share=2.2),
            Column(title="Scheme", share=1.0),
            Column(title="Mean KL, nats", figures=True, share=1.2),
            Column(title="Of all parts in that scheme", figures=True, share=1.2),
            Column(title="Parameters", figures=True, share=1.0),
        ),
        rows=tuple(
            (
                Cell(text=cell.part, mono=True),
                Cell(text=cell.scheme),
                Cell(text=nats(cell.kl.value), note=interval(cell.kl, 2)),
                Cell(text=percent(cell.kl.value / total[cell.scheme]) if total.get(cell.scheme) else "–"),
                Cell(text=whole(parts[cell.part].parameters) if cell.part in parts else "–"),
            )
            for cell in cells
        ),
        small=True,
    )


def _assignment(result: SensitivityResult, chosen: Assignment) -> list[Block]:
    given = set(chosen.schemes.values())
    used = [scheme for scheme in dict.fromkeys([*result.schemes, *sorted(given)]) if scheme in given]
    counts = ", ".join(f"{sum(one == scheme for one in chosen.schemes.values())} in {scheme}" for scheme in used)
    told = (
        f"The mixed scheme with the smallest summed sensitivity in {size(chosen.budget_bytes)}: it takes "
        f"{size(chosen.bytes)}. Parts: {counts}."
    )
    return [
        Heading(text="The mixed scheme"),
        Paragraph(text=told),
        Chart(
            svg=assignment_map(result.parts, chosen.schemes, used),
            alternative=f"Scheme of every part: {counts}.",
            caption="The scheme of every part.",
        ),
        _assignment_table(result.parts, chosen.schemes),
        *_against_uniform(result, chosen),
    ]


def _assignment_table(parts: Sequence[Part], schemes: Mapping[str, str]) -> Table:
    """Scheme by layer and kind; following layers with the same schemes share a row."""
    kinds = kinds_of(parts)
    by_layer: dict[int, dict[str, str]] = {}
    for part in parts:
        by_layer.setdefault(part.layer, {})[part.kind] = schemes.get(part.key, "as it was")
    rows: list[tuple[int, int, tuple[str, ...]]] = []
    for layer in sorted(by_layer):
        found = tuple(by_layer[layer].get(kind, "–") for kind in kinds)
        if rows and rows[-1][2] == found and rows[-1][1] == layer - 1:
            rows[-1] = (rows[-1][0], layer, found)
        else:
            rows.append((layer, layer, found))
    return Table(
        columns=(Column(title="Layers", share=0.7), *(Column(title=kind) for kind in kinds)),
        rows=tuple(
            (Cell(text=str(first) if first == last else f"{first} to {last}"), *(Cell(text=one) for one in found))
            for first, last, found in rows
        ),
        small=True,
    )


def _against_uniform(result: SensitivityResult, chosen: Assignment) -> list[Block]:
    summed = {scheme: _sum([cell for cell in result.cells if cell.scheme == scheme]) for scheme in result.schemes}
    known = [(scheme, chosen.uniform[scheme], summed[scheme]) for scheme in result.schemes if scheme in chosen.uniform]
    mixed = _sum([cell for cell in result.cells if chosen.schemes.get(cell.part) == cell.scheme])
    mixed = Range(value=chosen.predicted_kl, low=mixed.low, high=mixed.high)
    rows = [("mixed", chosen.bytes, mixed), *known]
    points = [Point(name, name, index, taken / 1e6, kl) for index, (name, taken, kl) in enumerate(rows, 1)]
    said = ", ".join(f"{name} {size(taken)} at {nats(kl.value)} nats" for name, taken, kl in rows)
    return [
        Heading(text="Mixed against uniform"),
        Table(
            columns=(
                Column(title="Scheme", share=1.6),
                Column(title="Bytes of these parts", figures=True),
                Column(title="Against mixed", figures=True),
                Column(title="Summed sensitivity, nats", figures=True, share=1.3),
                Column(title="Against mixed", figures=True),
            ),
            rows=tuple(
                (
                    Cell(text=name, level=Level.NEUTRAL),
                    Cell(text=size(taken)),
                    Cell(text="–" if not place else f"× {significant(taken / chosen.bytes, 3)}"),
                    Cell(text=nats(kl.value)),
                    Cell(text="–" if not place or not mixed.value else f"× {significant(kl.value / mixed.value, 3)}"),
                )
                for place, (name, taken, kl) in enumerate(rows)
            ),
            caption="Summed sensitivity is a guess that ignores how errors meet. What the mixed model really costs "
            "stands with the other models under quality, once it was made and measured.",
            small=True,
        ),
        Chart(
            svg=pareto(points, Plane("bytes of these parts, MB", front_of(points))),
            alternative=f"Bytes of the parts against summed sensitivity: {said}.",
            caption="Bytes of the parts against summed sensitivity. Dotted: the Pareto front.",
        ),
    ]


def _as_measured(data: ReportData) -> list[Block]:
    """The mixed model beside the others of the report, by what they really cost; nothing before both were measured."""
    measured = [(index, run, run.quality.fidelity.kl_interval) for index, run in numbered(data) if run.quality]
    mixed = next((kl for _, run, kl in measured if run.method.id == MIXED), None)
    if mixed is None or len(measured) < 2:
        return []
    rows = []
    for _, run, kl in sorted(measured, key=lambda one: one[1].bytes or 0):
        apart = "closer" if kl.high < mixed.low else "farther" if kl.low > mixed.high else "not told apart"
        rows.append(
            (
                Cell(text=run.label),
                Cell(text=size(run.bytes) if run.bytes else "unknown"),
                Cell(text=nats(kl.value), note=interval(kl, 2)),
                Cell(text="–" if run.method.id == MIXED else apart),
            )
        )
    return [
        Heading(text="Mixed and uniform as measured"),
        Table(
            columns=(
                Column(title="Model", share=1.6),
                Column(title="On disk", figures=True),
                Column(title="Mean KL, nats per token", figures=True, share=1.3),
                Column(title="Than the mixed one", share=1.0),
            ),
            rows=tuple(rows),
            caption="Closer or farther where the 95 % intervals do not overlap.",
            small=True,
        ),
    ]


def _sum(cells: Sequence[Sensitivity]) -> Range:
    return Range(
        value=sum(cell.kl.value for cell in cells),
        low=sum(cell.kl.low for cell in cells),
        high=sum(cell.kl.high for cell in cells),
    )
