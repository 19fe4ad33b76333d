"""Commands that open models' folders, and the code in them that may run."""

from __future__ import annotations

from core.models.own_code import TrustedCode
from core.value import Value


class Opens(Value):
    """A command that opens models. `code` is what may run of the Python that came with them; usually nothing."""

    code: tuple[TrustedCode, ...] = ()


def opened(command: Opens) -> tuple[str, ...]:
    """The folders of models that a command opens, each once, the original first."""
    one = tuple(getattr(command, name, None) for name in ("original", "model", "artifact"))
    return tuple(dict.fromkeys(str(path) for path in (*one, *getattr(command, "others", ())) if path is not None))
