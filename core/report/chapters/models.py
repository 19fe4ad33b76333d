"""Chapter 2: both models' facts, read from their folders when the report was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.models.local_model import LocalModel
from core.report.blocks import Block, Callout, Cell, Facts, Heading, Paragraph
from core.report.chapters.columns import DASH, Numbered, numbered, side_tables
from core.report.data import Level, ModelFacts, ReportData
from core.report.wording import counted, parameters, size, whole, yes_no

MOST_NAMES = 24
Reading = Callable[[LocalModel], str]


def blocks(data: ReportData) -> tuple[Block, ...]:
    """One table for all models, then where each lies and what to know about it."""
    made: list[Block] = [
        Paragraph(text="What the headers of the files say; nothing was loaded or run to read it."),
        *side_tables(data, "Fact", lambda runs: _rows(data, runs)),
    ]
    for index, model in [(0, data.original), *((index, run.compressed) for index, run in numbered(data))]:
        made.append(Heading(text=model.name, series=index))
        made.append(Facts(rows=tuple(_where(data, index, model))))
        if model.missing:
            made.append(Callout(level=Level.ATTENTION, title="This folder cannot be read now", lines=(model.missing,)))
        remarks = tuple(remark.message for remark in model.model.remarks) if model.model else ()
        if remarks:
            made.append(Callout(level=Level.NEUTRAL, title="Remarks", lines=remarks))
    return tuple(made)


def _where(data: ReportData, index: int, model: ModelFacts) -> list[tuple[str, Cell]]:
    rows = [("Folder", Cell(text=model.path, mono=True))]
    if index:
        run = data.runs[index - 1]
        rows.append(("Made by", Cell(text=f"run {run.id}, {run.method.title}")))
        if run.expected_modules is not None:
            rows.append(("Compressed modules", Cell(text=whole(run.expected_modules))))
        if run.ignored_modules:
            rows.append(("Left as they were", Cell(text=_listed(run.ignored_modules), mono=True)))
    if model.model:
        for group in model.model.dtypes:
            said = f"{counted(group.tensors, 'tensor')}, {parameters(group.elements)} elements, {size(group.bytes)}"
            rows.append((f"Stored as {group.dtype}", Cell(text=said)))
    return rows


def _listed(names: tuple[str, ...]) -> str:
    """The names, or the first of them where a page could not hold them; the JSON export has all."""
    more = len(names) - MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMES])} and {whole(more)} more"


def _rows(data: ReportData, runs: Sequence[Numbered]) -> list[tuple[Cell, ...]]:
    models = (data.original, *(run.compressed for _, run in runs))
    rows: list[tuple[str, Reading]] = [
        ("Architecture", lambda m: m.architecture or "unknown"),
        ("Parameters", lambda m: _known(m.parameters, parameters)),
        ("Precision", lambda m: m.precision or "unknown"),
        ("Quantization", lambda m: m.quantization or "none"),
        ("Decoder layers", lambda m: _known(m.layers, whole)),
        ("Hidden size", lambda m: _known(m.hidden_size, whole)),
        ("MLP size", lambda m: _known(m.intermediate_size, whole)),
        ("Heads, of them key-value", lambda m: f"{_known(m.heads, whole)}, {_known(m.kv_heads, whole)}"),
        ("Context length", lambda m: _known(m.context_length, whole)),
        ("Vocabulary", lambda m: _known(m.vocabulary, whole)),
        ("Tied embeddings", lambda m: yes_no(m.tied_embeddings)),
        ("Chat template", lambda m: yes_no(m.chat_template)),
        ("Weight format", lambda m: str(m.weights)),
        ("Weight files", lambda m: whole(m.shards) if m.shards else "1"),
        ("Licence", lambda m: m.licence or "not stated"),
    ]
    made = [(Cell(text=title), *(_read(model, reading) for model in models)) for title, reading in rows]
    sizes = (Cell(text="Weights on disk"), *(Cell(text=size(m.bytes) if m.bytes else "unknown") for m in models))
    return [*made[:2], sizes, *made[2:]]


def _read(model: ModelFacts, reading: Reading) -> Cell:
    return Cell(text=reading(model.model)) if model.model else DASH


def _known(value: int | None, said: Callable[[int], str]) -> str:
    return "unknown" if value is None else said(value)
