"""Chapter 3: what was done, with every parameter."""

from __future__ import annotations

import json

from core.report.blocks import Block, Cell, Chart, Code, Column, Facts, Heading, Paragraph, Table
from core.report.chapters.columns import Numbered, in_brief, numbered
from core.report.chapters.recovery import recovery_blocks, recovery_line, training_blocks, training_line
from core.report.charts.layers import layer_errors
from core.report.data import LayerError, MethodFacts, ReportData, Setting
from core.report.wording import percent, significant, yes_no


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Every run's method in turn."""
    write = _in_brief if in_brief(data) else _one
    return tuple(block for run in numbered(data) for block in write(run))


def _in_brief(pair: Numbered) -> list[Block]:
    """The method with its parameters in one line, where many runs stand beside each other."""
    index, run = pair
    method = run.method
    rows = [row for row in _facts(method) if row[0] not in ("Runs in", "Source")]
    used = [f"{one.title} {_value(one)}" for one in (*method.settings, _seed(method))]
    rows.append(("Parameters", Cell(text="; ".join(used))))
    if run.trained is not None:
        rows.append(("Training", Cell(text=training_line(run.trained))))
    if run.recovered is not None:
        rows.append(("Recovery", Cell(text=recovery_line(run.recovered))))
    if run.layer_errors:
        rows.append(("Largest error", Cell(text=_largest(run.layer_errors))))
    return [Heading(text=run.label, series=index), Facts(rows=tuple(rows))]


def _one(pair: Numbered) -> list[Block]:
    index, run = pair
    method = run.method
    made: list[Block] = [Heading(text=run.label, series=index)]
    if method.explanation:
        made.append(Paragraph(text=method.explanation))
    if not method.known:
        made.append(
            Paragraph(text="This version of Bitpress has no method of that name; its parameters stand as kept.")
        )
    made.append(Facts(rows=tuple(_facts(method))))
    if method.settings:
        made.append(
            Table(
                columns=(
                    Column(title="Parameter", share=3.4),
                    Column(title="Value", figures=True, share=1.2),
                    Column(title="Name for --set", share=1.4),
                ),
                rows=tuple(
                    (Cell(text=one.title, note=one.help), Cell(text=_value(one)), Cell(text=one.name, mono=True))
                    for one in (*method.settings, _seed(method))
                ),
            )
        )
    made += training_blocks(run.trained, index)
    made += recovery_blocks(run.recovered, index)
    if run.layer_errors:
        made.append(_errors(index, run.layer_errors))
    if method.modifiers:
        recipe = {modifier.name: modifier.arguments for modifier in method.modifiers}
        made.append(Code(text=json.dumps(recipe, indent=2, ensure_ascii=False), label="llmcompressor modifiers"))
    return made


def _seed(method: MethodFacts) -> Setting:
    return Setting(name="seed", title="Seed", value=method.seed)


def _facts(method: MethodFacts) -> list[tuple[str, Cell]]:
    rows = [("Method", Cell(text=method.id, mono=True))]
    if method.summary:
        rows.append(("In short", Cell(text=method.summary)))
    if method.scheme:
        rows.append(("Scheme", Cell(text=method.scheme, mono=True)))
    if method.weight_bits is not None:
        activations = "as they were" if method.activation_bits is None else f"{method.activation_bits} bits"
        rows.append(("Weights, activations", Cell(text=f"{method.weight_bits} bits, {activations}")))
    if method.reductions:
        said = f"Memory ran out, so it was tried again with less: {'; '.join(method.reductions)}."
        rows.append(("Made smaller", Cell(text=said)))
    if method.runs_in:
        rows.append(("Runs in", Cell(text=" ".join(method.runs_in))))
    rows += [("Source", Cell(text=source.title, note=source.url)) for source in method.sources]
    return rows


def _value(setting: Setting) -> str:
    value = setting.value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return yes_no(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {one}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value) or "none"
    said = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{said} {setting.unit}".rstrip()


def _errors(series: int, errors: tuple[LayerError, ...]) -> Chart:
    relative = all(error.relative is not None for error in errors)
    largest = _largest(errors)
    return Chart(
        svg=layer_errors(errors, series),
        alternative=f"Quantization error of {len(errors)} modules; the largest: {largest}.",
        caption=f"Quantization error of each module as it was compressed. Largest: {largest}."
        + ("" if relative else " A sum of squares that llmcompressor does not normalise: compare like with like."),
    )


def _largest(errors: tuple[LayerError, ...]) -> str:
    relative = all(error.relative is not None for error in errors)
    worst = max(errors, key=lambda error: error.relative if relative and error.relative is not None else error.error)
    figure = percent(worst.relative) if relative and worst.relative is not None else significant(worst.error, 3)
    return f"{worst.module}, {figure}"
