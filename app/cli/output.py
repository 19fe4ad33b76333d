"""What the command line prints: plain words for people, or one JSON object a line for scripts."""

from __future__ import annotations

import json
import sys
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from core.errors import Problem
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Finished,
    Metric,
    Progress,
    StageFinished,
    StageStarted,
    Token,
    Warned,
)
from core.jobs.snapshot import JobSnapshot

DONE, FAILED, WRONG_USAGE, BLOCKED, CANCELLED = 0, 1, 2, 3, 130
"""Exit statuses."""
FAULTS = frozenset({"unexpected", "worker-died"})
"""Problems whose details are worth printing: nobody foresaw them."""
PLACED = frozenset({"bad-recipe", "bad-gate"})
"""Problems whose message is one `FILE:LINE:COLUMN: ...` a line."""
_HARMLESS = "\n\t\u200c\u200d"
"""Beside line ends the joiners, without which Persian and many emoji fall apart."""


def literal(text: str) -> str:
    """The text with all that steers made visible, so that no model can move the cursor or turn the writing around.

    Escape sequences begin with a control character; bidirectional overrides, isolates and marks are format characters.
    Spaces of every width stay.
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in _HARMLESS or character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain_json(line: str) -> str:
    """The JSON with what steers a terminal written as JSON's own escapes: it reads back as it was."""
    return "".join(
        character
        if character.isprintable() or character in " \u200c\u200d"
        else "".join(f"\\u{unit}" for unit in character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split())
        for character in line
    )


@dataclass(slots=True)
class Output:
    """Prints to stdout; progress for people goes to stderr, so that stdout can be piped."""

    as_json: bool
    _bar: bool = field(default=False)
    _noted: str = field(default="")

    def line(self, kind: str, /, **fields: Any) -> None:
        """One JSON object, only with --json."""
        if self.as_json:
            self._write(_plain_json(json.dumps({"type": kind, **fields}, ensure_ascii=False)))

    def say(self, text: str = "") -> None:
        """A sentence for a person, only without --json."""
        if not self.as_json:
            self.end_bar()
            self._write(literal(text))

    def verbatim(self, text: str) -> None:
        """A document as it is, only without --json; a file or a program gets every character."""
        if not self.as_json:
            self.end_bar()
            sys.stdout.write(literal(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """A step on the way, for a person: on one line of stderr that the next replaces."""
        if self.as_json:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K  {literal(text)}")
            sys.stderr.flush()
            self._bar = True
        elif (step := text.split(" (", maxsplit=1)[0]) != self._noted:
            self._noted = step
            self._to_person(step)

    def result(self, fields: dict[str, Any]) -> None:
        """The last line with --json."""
        self.line("result", **fields)

    def problem(self, problem: Problem) -> None:
        """What a person or script has to know; the last line that is printed."""
        self.end_bar()
        if problem.code in FAULTS and problem.details:
            sys.stderr.write(f"{literal(problem.details)}\n")
            sys.stderr.flush()
        if self.as_json:
            self.line("error", code=problem.code, message=problem.message, hint=problem.hint)
        else:
            # A place in a file begins a line, as editors and terminals expect.
            lead = "\n" if problem.code in PLACED else " "
            sys.stderr.write(f"Error ({problem.code}):{lead}{literal(problem.message)}\n")
            if problem.hint:
                sys.stderr.write(f"What to do: {literal(problem.hint)}\n")
            sys.stderr.flush()

    def event(self, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
        """What a running job tells."""
        if event is None:
            return
        if self.as_json:
            if not isinstance(event, Finished):
                self._write(_plain_json(event.model_dump_json()))
            return
        match event:
            case Accepted() if not event.more:
                self._to_person("Stages: " + ", ".join(stage.title for stage in event.stages))
            case StageStarted():
                state = snapshot.stage(event.stage)
                self._to_person(state.stage.title if state else event.stage)
            case StageFinished():
                self._to_person(f"  done in {event.seconds:.1f} s")
            case Warned():
                self._to_person(f"  note: {event.message}")
            case Progress():
                self._progress(snapshot, event)
            case Metric() | Token():
                pass

    def end_bar(self) -> None:
        """Finish a half-drawn progress line."""
        if self._bar:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._bar = False

    def _progress(self, snapshot: JobSnapshot, event: Progress) -> None:
        if not sys.stderr.isatty():
            return
        state = snapshot.stage(event.stage)
        of = f" of {event.total:g}" if event.total else ""
        left = state.seconds_left if state else None
        time_left = f", {left:.0f} s left" if left is not None else ""
        unit = f"{literal(state.stage.unit)} " if state and state.stage.unit else ""
        sys.stderr.write(f"\r\x1b[K  {unit}{event.done:g}{of}{time_left}  {literal(event.detail)[:60]}")
        sys.stderr.flush()
        self._bar = True

    def _to_person(self, text: str) -> None:
        self.end_bar()
        sys.stderr.write(literal(text) + "\n")
        sys.stderr.flush()

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
