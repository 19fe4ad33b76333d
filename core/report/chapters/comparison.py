"""Chapter 2 of a report over several runs: all of them in one table, and on one chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.measure.figures import FIGURES
from core.report.blocks import Block, Cell, Chart, Column, Table
from core.report.chapters.columns import DASH, Numbered, cell, numbered
from core.report.chapters.noise import mean_floor
from core.report.charts.pareto import Plane, Point, front_of, knee_of, pareto
from core.report.data import ReportData, RunReport
from core.report.summary import GATE_LEVELS, level_of
from core.report.wording import interval, memory, nats, percent, rate, seconds, share_interval, significant, size
from core.value import Range

Reading = Callable[[RunReport], Cell]


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Quality and verdict of every model, then cost and speed, then the Pareto charts; nothing for a single run."""
    runs = numbered(data)
    if len(runs) < 2:
        return ()
    return (_first(data, runs), _second(runs), *_charts(data, runs))


def _first(data: ReportData, runs: Sequence[Numbered]) -> Table:
    columns = [
        (Column(title="On disk", figures=True, share=0.75), _size),
        (Column(title="Mean KL, nats per token", figures=True, share=1.35), _kl),
        (Column(title="Perplexity ratio", figures=True, share=1.25), _ratio),
        (Column(title="Same likeliest token", figures=True, share=1.2), _same),
    ]
    if any(run.tasks for _, run in runs):
        columns.append((Column(title="Tasks, recovery", figures=True, share=0.85), _tasks))
    if any(run.speed for _, run in runs):
        columns.append((Column(title="Tokens per second", figures=True, share=1.1), _rate))
    columns.append((Column(title="Verdict", share=1.2), _verdict))
    original = [Cell(text="original"), Cell(text=size(data.original.bytes) if data.original.bytes else "unknown")]
    original += [DASH] * (len(columns) - 1)
    if any(run.speed for _, run in runs):
        original[-2] = _original_rate(runs)
    return Table(
        columns=(Column(title="Model", share=1.5), *(column for column, _ in columns)),
        rows=(
            tuple(original),
            *((Cell(text=run.label), *(read(run) for _, read in columns)) for _, run in runs),
        ),
        caption="Below each figure its 95 % interval; below the tasks the answers lost and gained; below the speed its "
        "engine and the smallest batch measured.",
        small=True,
    )


def _second(runs: Sequence[Numbered]) -> Table:
    columns: list[tuple[Column, Reading]] = [
        (Column(title="KL, 99.9 % below", figures=True), lambda run: _fidelity(run, lambda q: nats(q.kl.p999))),
        (Column(title="Time to first token", figures=True), _first_token),
        (Column(title="Peak memory, measured", figures=True), _peak),
        (Column(title="Time to make it", figures=True), lambda run: cell(_said(run.seconds, seconds))),
        (Column(title="Memory to make it", figures=True), lambda run: cell(_said(run.peak_bytes, memory))),
        (Column(title="Proof", share=0.8), _proof),
    ]
    return Table(
        columns=(Column(title="Model", share=1.6), *(column for column, _ in columns)),
        rows=tuple((Cell(text=run.label), *(read(run) for _, read in columns)) for _, run in runs),
        small=True,
    )


def _said(value: float | None, words: Callable[[float], str]) -> str | None:
    return None if value is None else words(value)


def _size(run: RunReport) -> Cell:
    if not run.bytes:
        return cell("unknown")
    share = f"{percent(run.bytes / run.original_bytes, 0)}" if run.original_bytes else ""
    return Cell(text=size(run.bytes), note=share)


def _kl(run: RunReport) -> Cell:
    if run.quality is None:
        return cell(None)
    spread = run.quality.fidelity.kl_interval
    if run.quality.fidelity.measurable is False:
        return Cell(text=nats(spread.value), note="under the floor")
    return Cell(text=nats(spread.value), note=interval(spread, 2))


def _ratio(run: RunReport) -> Cell:
    if run.quality is None:
        return cell(None)
    ratio = run.quality.fidelity.perplexity_ratio
    return Cell(text=significant(ratio.value, 4), note=interval(ratio, 4))


def _same(run: RunReport) -> Cell:
    if run.quality is None:
        return cell(None)
    same = run.quality.fidelity.same_top1
    return Cell(text=percent(same.value), note=share_interval(same))


def _fidelity(run: RunReport, read: Callable[..., str]) -> Cell:
    return cell(read(run.quality.fidelity) if run.quality else None)


def _tasks(run: RunReport) -> Cell:
    """Mean recovery over the tasks that the original can do."""
    found = [task.other.recovery for task in run.tasks if task.other.recovery is not None]
    if not found:
        return cell("not measured" if not run.tasks else "–")
    flips = sum(task.other.lost for task in run.tasks), sum(task.other.gained for task in run.tasks)
    return Cell(text=percent(sum(found) / len(found)), note=f"−{flips[0]}, +{flips[1]}")


def _rate(run: RunReport) -> Cell:
    case = min(run.speed.compressed.cases, key=lambda one: one.batch, default=None) if run.speed else None
    if case is None or run.speed is None:
        return cell(None)
    return Cell(
        text=rate(case.tokens_per_second.value), note=f"{run.speed.compressed.conditions.engine}, batch {case.batch}"
    )


def _original_rate(runs: Sequence[Numbered]) -> Cell:
    found = [run.speed for _, run in runs if run.speed and run.speed.original]
    newest = max(found, key=lambda speed: speed.run).original if found else None
    case = min(newest.cases, key=lambda one: one.batch, default=None) if newest else None
    if newest is None or case is None:
        return cell(None)
    return Cell(text=rate(case.tokens_per_second.value), note=f"{newest.conditions.engine}, batch {case.batch}")


def _first_token(run: RunReport) -> Cell:
    case = min(run.speed.compressed.cases, key=lambda one: one.batch, default=None) if run.speed else None
    return cell(None) if case is None else Cell(text=f"{significant(case.ttft_ms.value, 3)}\N{NO-BREAK SPACE}ms")


def _peak(run: RunReport) -> Cell:
    return cell(memory(run.speed.compressed.peak_bytes) if run.speed and run.speed.compressed.peak_bytes else None)


def _proof(run: RunReport) -> Cell:
    if run.proof is None:
        return Cell(text="not proved")
    return Cell(text="passed" if run.proof.passed else "FAILED")


def _verdict(run: RunReport) -> Cell:
    judged = run.quality.judgement if run.quality else None
    gate = f"{run.gate.name}: {run.gate.verdict}" if run.gate else ""
    if judged is None:
        return Cell(text="not judged", note=gate)
    level = GATE_LEVELS.get(run.gate.verdict, level_of(run)) if run.gate else level_of(run)
    return Cell(text=judged.level, note=gate, level=level)


def _charts(data: ReportData, runs: Sequence[Numbered]) -> list[Block]:
    measured = [(index, run, run.quality) for index, run in runs if run.quality]
    floor = mean_floor([one for _, _, quality in measured for one in quality.noise])
    gate, gate_name = _gate_kl(data)
    made: list[Block] = []
    for title, words, of, original, better in (
        (
            "size on disk, MB",
            "Size on disk",
            lambda run: Range(value=run.bytes / 1e6, low=run.bytes / 1e6, high=run.bytes / 1e6) if run.bytes else None,
            data.original.bytes / 1e6 if data.original.bytes else None,
            False,
        ),
        (f"tokens per second, {_engine(runs)}", "Tokens per second", _speed_of, _original_speed(runs), True),
    ):
        points = [
            Point(str(run.id), run.label, index, cost.value, quality.fidelity.kl_interval, (cost.low, cost.high))
            for index, run, quality in measured
            if (cost := of(run)) is not None
        ]
        if len(points) < 2:
            continue
        front = front_of(points, more_is_better=better)
        knee = None if better else knee_of(points)
        plane = Plane(title, front, knee, gate, gate_name, floor, original, better)
        said = ", ".join(
            f"{point.label} {significant(point.cost, 3)} at {nats(point.kl.value)} nats" for point in points
        )
        drawn = ["The dotted line is the Pareto front: no other model here is better in both."]
        drawn += ["Ringed: its knee, after which more bytes buy little."] if knee else []
        drawn += ["The grey line is the original."] if original else []
        drawn += ["Dashed: the gate's limit."] if gate else []
        drawn += ["Shaded: the noise floor."] if floor else []
        made.append(
            Chart(
                svg=pareto(points, plane),
                alternative=f"{words} against mean KL divergence: {said}.",
                caption=f"{words} against mean KL divergence with its 95 % interval. {' '.join(drawn)}",
            )
        )
    return made


def _gate_kl(data: ReportData) -> tuple[float | None, str]:
    """The limit of mean KL of the gate that was asked for."""
    for run in data.runs:
        for limit in run.gate.limits if run.gate else ():
            if limit.figure == "kl.mean" and run.gate and limit.title == FIGURES["kl.mean"].title:
                return limit.limit, f"gate {run.gate.name}"
    return None, ""


def _engine(runs: Sequence[Numbered]) -> str:
    return ", ".join(sorted({run.speed.compressed.conditions.engine for _, run in runs if run.speed}))


def _speed_of(run: RunReport) -> Range | None:
    case = min(run.speed.compressed.cases, key=lambda one: one.batch, default=None) if run.speed else None
    return case.tokens_per_second if case else None


def _original_speed(runs: Sequence[Numbered]) -> float | None:
    found = [run.speed for _, run in runs if run.speed and run.speed.original]
    newest = max(found, key=lambda speed: speed.run).original if found else None
    case = min(newest.cases, key=lambda one: one.batch, default=None) if newest else None
    return case.tokens_per_second.value if case else None
