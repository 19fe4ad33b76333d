"""A sweep's result as lines of text, and as the values of its charts."""

from __future__ import annotations

from core.measure.evidence import smallest_case
from core.measure.figures import significant
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.value import Json

_HEAD = ("", "Size", "of it", "Mean KL (95 %)", "Ratio", "Top-1", "Tokens/s", "Expected", "Level", "Gate")


def said(result: SweepResult) -> list[str]:
    """Table, verdicts, fronts, and what to take."""
    lines = _aligned([_HEAD, _original(result), *(_cells(row, result) for row in result.rows)])
    lines += _conditions(result)
    lines.append("")
    for row in result.rows:
        lines += [f"{row.label}: {sentence}" for sentence in _sentences(row)]
    fronts = (
        ("size", result.front_size),
        ("memory", result.front_memory),
        ("speed", result.front_speed),
    )
    lines.append("")
    for what, keys in fronts:
        if keys:
            lines.append(f"Best for {what} against divergence: {_names(result, keys)}")
    if result.knee is not None:
        lines.append(f"Knee, after which more bytes buy little: {_names(result, (result.knee,))}")
    for group in result.alike:
        lines.append(f"Too near each other to tell apart: {_names(result, group)}")
    for problem in result.problems:
        lines.append(problem.message)
    if result.recommendation is not None:
        lines += ["", result.recommendation.sentence]
    return lines


def chart_values(result: SweepResult) -> list[dict[str, Json]]:
    """A point a row: what the charts of size, memory and speed against divergence draw."""
    return [
        {
            "key": row.key,
            "label": row.label,
            "kl": row.fidelity.kl_interval.value,
            "kl_low": row.fidelity.kl_interval.low,
            "kl_high": row.fidelity.kl_interval.high,
            "bytes": row.bytes,
            "device_bytes": row.device_bytes,
            "tokens_per_second": row.tokens_per_second.value if row.tokens_per_second else None,
            "expected_speed": row.expected_speed,
            "gate": row.gate,
            "on_front": {
                "size": row.key in result.front_size,
                "memory": row.key in result.front_memory,
                "speed": row.key in result.front_speed,
            },
            "knee": row.key == result.knee,
            "recommended": result.recommendation is not None and row.key == result.recommendation.key,
        }
        for row in result.rows
        if row.fidelity is not None
    ]


def _original(result: SweepResult) -> tuple[str, ...]:
    """The original's own line, beside which the others are read."""
    case = smallest_case(result.original_speed)
    speed = f"{case.tokens_per_second.value:.1f}" if case else "-"
    size = f"{result.original_bytes / 1e6:.1f} MB" if result.original_bytes else "-"
    return (f"{result.original_name} (original)", size, "100 %", "0", "1", "100 %", speed, "-", "-", "-")


def _conditions(result: SweepResult) -> list[str]:
    """How speed was measured, and on what an expectation rests."""
    speeds = [result.original_speed, *(row.speed for row in result.rows)]
    found: dict[str, None] = {}
    for speed in (one for one in speeds if one is not None):
        conditions = speed.conditions
        case = smallest_case(speed)
        batch = f", batch {case.batch}" if case else ""
        found[f"Tokens/s: {conditions.engine} {conditions.engine_version} on {conditions.device}{batch}."] = None
        found.update(dict.fromkeys(conditions.notes))
    found.update(
        (f"Expected for {row.label}: {row.expected_speed_source}", None)
        for row in result.rows
        if row.expected_speed_source
    )
    return list(found)


def _cells(row: SweepRow, result: SweepResult) -> tuple[str, ...]:
    fidelity = row.fidelity
    size = f"{row.bytes / 1e6:.1f} MB" if row.bytes else "-"
    share = f"{row.bytes / result.original_bytes * 100:.0f} %" if row.bytes and result.original_bytes else "-"
    speed = f"{row.tokens_per_second.value:.1f}" if row.tokens_per_second else "-"
    expected = f"x{row.expected_speed:.2f}" if row.expected_speed else "-"
    if fidelity is None:
        return (row.label, size, share, "-", "-", "-", speed, expected, str(row.state), "-")
    kl = fidelity.kl_interval
    return (
        row.label,
        size,
        share,
        f"{significant(kl.value)} ({significant(kl.low)} to {significant(kl.high)})",
        f"{fidelity.perplexity_ratio.value:.4f}",
        f"{fidelity.same_top1.value * 100:.1f} %",
        speed,
        expected,
        row.level,
        row.gate,
    )


def _sentences(row: SweepRow) -> list[str]:
    if row.state is RowState.FAILED and row.problem is not None:
        return [f"failed. {row.problem.message} {row.problem.hint}".strip(), *row.notes]
    return [sentence for sentence in (row.gate_sentence, *row.notes) if sentence]


def _names(result: SweepResult, keys: tuple[str, ...]) -> str:
    labels = {row.key: row.label for row in result.rows}
    return ", ".join(labels[key] for key in keys)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns side by side: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
