"""Chapter 10: one model by several methods: every figure, the Pareto fronts, and which one to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.measure.evidence import smallest_case
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.report.blocks import Block, Callout, Cell, Chart, Column, Heading, Paragraph, Table
from core.report.charts.pareto import Plane, Point, front_of, pareto
from core.report.data import Level, ReportData
from core.report.summary import GATE_LEVELS
from core.report.wording import (
    counted,
    interval,
    memory,
    nats,
    percent,
    rate,
    seconds,
    share_interval,
    significant,
    size,
)
from core.value import Range

Series = Mapping[str, int]
"""Series number of every row's key: a row that the report has as a run keeps that run's."""
STATES = {RowState.WAITING: "waiting", RowState.COMPRESSED: "not measured yet", RowState.FAILED: "failed"}


def blocks(data: ReportData) -> tuple[Block, ...]:
    """The recommendation, the matrix, the charts, and what failed; nothing without a sweep."""
    sweep = data.sweep
    if sweep is None:
        return ()
    series = _series(data, sweep)
    done = sum(row.state is RowState.MEASURED for row in sweep.rows)
    failed = sum(row.state is RowState.FAILED for row in sweep.rows)
    told = f"{counted(len(sweep.rows), 'method')}: {done} measured, {failed} failed."
    made: list[Block] = []
    if sweep.recommendation:
        level = Level.DONE if sweep.recommendation.key else Level.ATTENTION
        made.append(Callout(level=level, title="Recommendation", lines=(sweep.recommendation.sentence,)))
    made.append(Paragraph(text=f"{told} All were measured on the same text against the same original."))
    labels = {row.key: row.label for row in sweep.rows}
    for group in sweep.alike:
        names = " and ".join(labels.get(key, key) for key in group)
        made.append(Paragraph(text=f"Cannot be told apart by mean KL: {names}.", quiet=True))
    for problem in sweep.problems:
        made.append(
            Callout(level=Level.ATTENTION, title=problem.message, lines=(problem.hint,) if problem.hint else ())
        )
    rows = [row for row in sweep.rows if row.state is not RowState.FAILED]
    if rows:
        made += [_quality(rows, sweep, series), _cost(rows, sweep, series)]
        if any(row.fidelity for row in rows):
            made.append(_tails(rows, series))
    made += [*_charts(sweep, series), *_failures(sweep)]
    return tuple(made)


def _series(data: ReportData, sweep: SweepResult) -> Series:
    runs = {run.id: index for index, run in enumerate(data.runs, 1)}
    found = {row.key: runs[row.run] for row in sweep.rows if row.run in runs}
    following = len(runs)
    for row in sweep.rows:
        if row.key not in found:
            following += 1
            found[row.key] = following
    return found


def _table(
    rows: Sequence[SweepRow], columns: Sequence[tuple[Column, Callable[[SweepRow], Cell]]], caption: str = ""
) -> Table:
    return Table(
        columns=(Column(title="Method", share=1.9), *(column for column, _ in columns)),
        rows=tuple((Cell(text=row.label), *(read(row) for _, read in columns)) for row in rows),
        caption=caption,
        small=True,
    )


def _quality(rows: Sequence[SweepRow], sweep: SweepResult, series: Series) -> Table:
    def fidelity(read: Callable[..., Cell]) -> Callable[[SweepRow], Cell]:
        return lambda row: read(row.fidelity) if row.fidelity else Cell(text=STATES.get(row.state, "–"))

    columns: list[tuple[Column, Callable[[SweepRow], Cell]]] = [
        (Column(title="On disk", figures=True, share=0.9), lambda row: _size(row, sweep)),
        (Column(title="Mean KL, nats per token", figures=True, share=1.3), fidelity(lambda f: _kl(f.kl_interval))),
        (
            Column(title="Perplexity ratio", figures=True, share=1.3),
            fidelity(
                lambda f: Cell(text=significant(f.perplexity_ratio.value, 4), note=interval(f.perplexity_ratio, 4))
            ),
        ),
        (
            Column(title="Same likeliest token", figures=True, share=1.3),
            fidelity(lambda f: Cell(text=percent(f.same_top1.value), note=share_interval(f.same_top1))),
        ),
        (Column(title="Level", share=1.2), lambda row: Cell(text=row.level or "–")),
    ]
    if any(row.tasks for row in rows):
        columns.append((Column(title="Tasks, recovery", figures=True, share=0.9), _tasks))
    if sweep.gate:
        columns.append((Column(title=f"Gate {sweep.gate_title or sweep.gate}", share=1.1), _gate))
    return _table(rows, columns, "Below each figure its 95 % interval.")


def _cost(rows: Sequence[SweepRow], sweep: SweepResult, series: Series) -> Table:
    columns: list[tuple[Column, Callable[[SweepRow], Cell]]] = [
        (Column(title="Time to make it", figures=True), lambda row: _known(row.seconds, seconds)),
        (Column(title="Memory to make it", figures=True), lambda row: _known(row.peak_bytes, memory)),
        (Column(title="Memory to serve it", figures=True), lambda row: _known(row.device_bytes, memory)),
        (Column(title="Expected speed", figures=True), _expected),
        (Column(title="Tokens per second", figures=True), _measured),
        (Column(title="Run", figures=True, share=0.5), lambda row: _known(row.run, str)),
    ]
    sources = list(dict.fromkeys(row.expected_speed_source for row in rows if row.expected_speed_source))
    said = f" Expected speed: times the original's in a serving engine. {' '.join(sources)}" if sources else ""
    return _table(rows, columns, f"Tokens per second as measured, at the smallest batch.{said}")


def _tails(rows: Sequence[SweepRow], series: Series) -> Table:
    def read(of: Callable[..., float | None], said: Callable[[float], str]) -> Callable[[SweepRow], Cell]:
        return lambda row: _known(of(row.fidelity) if row.fidelity else None, said)

    return _table(
        [row for row in rows if row.fidelity],
        [
            (Column(title="KL median", figures=True), read(lambda f: f.kl.median, nats)),
            (Column(title="99 % below", figures=True), read(lambda f: f.kl.p99, nats)),
            (Column(title="99.9 % below", figures=True), read(lambda f: f.kl.p999, nats)),
            (Column(title="Largest", figures=True), read(lambda f: f.kl.max, nats)),
            (
                Column(title="Mean KL, reverse", figures=True),
                read(lambda f: f.kl_reverse.mean if f.kl_reverse else None, nats),
            ),
            (Column(title="Same five tokens", figures=True), read(lambda f: f.top5.value if f.top5 else None, percent)),
            (
                Column(title="Correlation", figures=True),
                read(lambda f: f.perplexity_correlation, lambda value: f"{value:.4f}"),
            ),
        ],
    )


def _size(row: SweepRow, sweep: SweepResult) -> Cell:
    if row.bytes is None:
        return Cell(text="–")
    return Cell(text=size(row.bytes), note=percent(row.bytes / sweep.original_bytes, 0) if sweep.original_bytes else "")


def _kl(quantity: Range) -> Cell:
    return Cell(text=nats(quantity.value), note=interval(quantity, 2))


def _gate(row: SweepRow) -> Cell:
    if not row.gate:
        return Cell(text="–")
    return Cell(text=row.gate, level=GATE_LEVELS.get(row.gate, Level.NEUTRAL))


def _tasks(row: SweepRow) -> Cell:
    """Mean recovery over the tasks that the original can do."""
    found = [task.recovery for task in row.tasks.values() if task.recovery is not None]
    flips = sum(task.lost for task in row.tasks.values()), sum(task.gained for task in row.tasks.values())
    return Cell(text=percent(sum(found) / len(found)), note=f"−{flips[0]}, +{flips[1]}") if found else Cell(text="–")


def _expected(row: SweepRow) -> Cell:
    return Cell(text="–" if row.expected_speed is None else f"× {significant(row.expected_speed, 3)}")


def _measured(row: SweepRow) -> Cell:
    speed = row.tokens_per_second
    return Cell(text="–") if speed is None else Cell(text=rate(speed.value), note=interval(speed))


def _known(value: float | None, said: Callable[..., str]) -> Cell:
    return Cell(text="–" if value is None else said(value))


def _charts(sweep: SweepResult, series: Series) -> list[Block]:
    measured = [row for row in sweep.rows if row.fidelity]
    made: list[Block] = []
    original_speed = smallest_case(sweep.original_speed)
    planes: tuple[tuple[str, str, Callable[[SweepRow], Range | None], tuple[str, ...], float | None, bool], ...] = (
        (
            "Size on disk",
            "size on disk, MB",
            lambda row: _point(row.bytes, 1e6),
            sweep.front_size,
            sweep.original_bytes / 1e6 if sweep.original_bytes else None,
            False,
        ),
        (
            "Memory to serve it",
            "expected memory to serve it, GiB",
            lambda row: _point(row.device_bytes, 2**30),
            sweep.front_memory,
            None,
            False,
        ),
        (
            "Speed",
            f"tokens per second{_engine(sweep)}",
            lambda row: row.tokens_per_second,
            sweep.front_speed,
            original_speed.tokens_per_second.value if original_speed else None,
            True,
        ),
    )
    for words, title, of, front, original, better in planes:
        points = [
            Point(row.key, row.label, series[row.key], cost.value, row.fidelity.kl_interval, (cost.low, cost.high))
            for row in measured
            if row.fidelity and (cost := of(row)) is not None
        ]
        if len(points) < 2:
            continue
        kept = front or front_of(points, more_is_better=better)
        knee = sweep.knee if words == "Size on disk" else None
        name = f"gate {sweep.gate_title or sweep.gate}" if sweep.gate else "gate"
        plane = Plane(title, kept, knee, sweep.gate_kl, name, None, original, better)
        labels = {point.key: point.label for point in points}
        said = ", ".join(f"{point.label} {significant(point.cost, 3)} at {nats(point.kl.value)}" for point in points)
        on_front = ", ".join(labels[key] for key in kept if key in labels)
        drawn = ["Dotted: the Pareto front, where no other entry is better in both."]
        drawn += [f"Ringed: the knee, {labels[knee]}, after which more bytes buy little."] if knee in labels else []
        drawn += ["Dashed: the gate's limit."] if sweep.gate_kl else []
        made.append(
            Chart(
                svg=pareto(points, plane),
                alternative=f"{title} against mean KL divergence in nats per token: {said}. Pareto front: {on_front}.",
                caption=f"{words} against mean KL divergence with its 95 % interval. {' '.join(drawn)}",
            )
        )
    return [Heading(text="Cost against divergence"), *made] if made else []


def _engine(sweep: SweepResult) -> str:
    """The engine that all speeds of the sweep were measured in."""
    named = {row.speed.conditions.engine for row in sweep.rows if row.speed}
    return f", {', '.join(sorted(named))}" if named else ""


def _point(value: float | None, scale: float) -> Range | None:
    if value is None:
        return None
    scaled = value / scale
    return Range(value=scaled, low=scaled, high=scaled)


def _failures(sweep: SweepResult) -> list[Block]:
    failed = [row for row in sweep.rows if row.state is RowState.FAILED]
    if not failed:
        return []
    return [
        Heading(text="What failed, and why"),
        Table(
            columns=(
                Column(title="Method", share=1.2),
                Column(title="What happened", share=1.9),
                Column(title="What to do", share=1.5),
            ),
            rows=tuple(
                (
                    Cell(text=row.label, note=row.problem.code if row.problem else ""),
                    Cell(text=row.problem.message if row.problem else "No reason was kept."),
                    Cell(text=row.problem.hint if row.problem else ""),
                )
                for row in failed
            ),
            small=True,
        ),
    ]
