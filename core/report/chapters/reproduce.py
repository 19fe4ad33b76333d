"""Chapter 10: how to make the same model again, and how to serve it."""

from __future__ import annotations

import shlex

from core.report.blocks import Block, Code, Heading, Paragraph
from core.report.chapters.columns import in_brief, numbered
from core.report.data import ReportData

LONGEST = 88
"""Characters of a command that fit on one line of the page."""


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Command line, Python script and serve command of every run."""
    made: list[Block] = [
        Paragraph(
            text="The command line repeats the run with Bitpress. The script needs only the libraries named under "
            "versions, or says that it needs Bitpress too. With the same versions, data and seed the tensors come out "
            "the same on the same kind of machine."
        )
    ]
    for index, run in numbered(data):
        made.append(Heading(text=run.label, series=index))
        made += [
            Code(text=text, label=label)
            for label, text in (
                ("Command line", _wrapped(run.command_line)),
                ("Serve it", _wrapped(run.serve_command)),
                ("Python", "" if in_brief(data) else run.python_script),
            )
            if text
        ]
    return tuple(made)


def _wrapped(command: str) -> str:
    """A long command with each option on its own line, so that no line breaks inside one; the shell reads the same."""
    if len(command) <= LONGEST or "\n" in command:
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    lines = [""]
    for word in map(shlex.quote, words):
        if word.startswith("--"):
            lines.append(f"  {word}")
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return " \\\n".join(lines)
