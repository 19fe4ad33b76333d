"""Chapter 10: how to make the same model again, and how to serve it."""

from __future__ import annotations

from core.report.blocks import Block, Code, Heading, Paragraph
from core.report.chapters.columns import numbered
from core.report.data import ReportData


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Command line, Python script and serve command of every run."""
    made: list[Block] = [
        Paragraph(
            text="The command line repeats the run with Bitpress. The script needs only the libraries named under "
            "versions. With the same versions, data and seed the tensors come out the same on the same kind of machine."
        )
    ]
    for index, run in numbered(data):
        made.append(Heading(text=run.label, series=index))
        made += [
            Code(text=text, label=label)
            for label, text in (
                ("Command line", run.command_line),
                ("Python", run.python_script),
                ("Serve it", run.serve_command),
            )
            if text
        ]
    return tuple(made)
