"""The one family of errors that reaches a person: what happened, why, and what to do."""

from __future__ import annotations

from core.value import Received


class Problem(Received):
    """An error as a value, as it crosses processes and is kept with a run.

    `code` is stable, short and in kebab-case; `message` says what happened and why in one or two sentences; `hint`
    says what to do; `details` holds the traceback or the last log lines.
    """

    code: str
    message: str
    hint: str = ""
    details: str = ""

    @property
    def text(self) -> str:
        """All of it as plain text, to be handed to somebody who can help."""
        parts = (self.message, self.hint, f"({self.code})", self.details)
        return "\n\n".join(part for part in parts if part)


class BitpressError(Exception):
    """Raised wherever a person has to know; carries a `Problem`."""

    def __init__(self, code: str, message: str, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        # Names of files may hold bytes that are no UTF-8, and JSON halves of characters: no file could keep them.
        message, hint, details = (
            text.encode("utf-8", "backslashreplace").decode("utf-8") for text in (message, hint, details)
        )
        self.problem = Problem(code=code, message=message, hint=hint, details=details)

    @classmethod
    def of(cls, problem: Problem) -> BitpressError:
        """The exception that carries an existing problem."""
        return cls(problem.code, problem.message, problem.hint, problem.details)
