"""Puts the chapters together: the document that PDF and HTML lay out."""

from __future__ import annotations

from collections.abc import Callable

from core.report.blocks import Block, Document, Section
from core.report.chapters import (
    calibration,
    comparison,
    environment,
    gate,
    method,
    models,
    quality,
    reproduce,
    sensitivity,
    side_by_side,
    speed,
    summary,
    sweep,
    tasks,
    telemetry,
)
from core.report.data import CHAPTER_TITLES, Chapter, ReportData
from core.report.wording import day

WRITERS: dict[Chapter, Callable[[ReportData], tuple[Block, ...]]] = {
    Chapter.SUMMARY: summary.blocks,
    Chapter.COMPARISON: comparison.blocks,
    Chapter.GATE: gate.blocks,
    Chapter.MODELS: models.blocks,
    Chapter.METHOD: method.blocks,
    Chapter.CALIBRATION: calibration.blocks,
    Chapter.QUALITY: quality.blocks,
    Chapter.TASKS: tasks.blocks,
    Chapter.SPEED: speed.blocks,
    Chapter.SWEEP: sweep.blocks,
    Chapter.SENSITIVITY: sensitivity.blocks,
    Chapter.SIDE_BY_SIDE: side_by_side.blocks,
    Chapter.TELEMETRY: telemetry.blocks,
    Chapter.ENVIRONMENT: environment.blocks,
    Chapter.REPRODUCE: reproduce.blocks,
}

WORDS = (
    (
        "KL divergence",
        "How far one model's expectation of the next token is from the other's, in nats. 0 means the same expectation.",
    ),
    (
        "Same most likely token",
        "Share of the places in a text at which both models hold the same token for the likeliest.",
    ),
    ("Perplexity", "How surprised a model is by a text: the lower, the better it expects it."),
    ("Time to first token", "From sending the prompt to the first token of the answer."),
    ("Inter-token latency", "Mean time between two tokens of the answer after the first."),
    (
        "Noise floor",
        "What the original shows against itself under changes that mean nothing. Under it nothing can be measured.",
    ),
    ("Pareto front", "Those of which none other is better both in cost and in closeness to the original."),
    ("Interval", "Where the true figure lies in 95 of 100 repetitions with other texts of the same kind."),
    ("Calibration", "Text that a method runs through the model to see which weights matter."),
    ("Proof", "The saved files opened again in a fresh process, checked, and made to generate."),
)


def document(data: ReportData) -> Document:
    """The report as chapters of blocks; a chapter that has nothing to say is left out."""
    written = [(chapter, WRITERS[chapter](data)) for chapter in data.chapters]
    return Document(
        title=data.title,
        kicker=f"Compression report · {day(data.created)}",
        author=f"Bitpress {data.bitpress_version}".strip(),
        words=WORDS,
        sections=tuple(
            Section(id=chapter.value, title=CHAPTER_TITLES[chapter], blocks=blocks)
            for chapter, blocks in written
            if blocks
        ),
    )
