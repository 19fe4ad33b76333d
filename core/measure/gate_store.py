"""Where gates are found: the built-in ones, a person's own under the home (one YAML file each), or any file."""

from __future__ import annotations

import os
from pathlib import Path

from core.durable import write_whole
from core.errors import BitpressError
from core.measure.gate_document import gate_text, read_gate
from core.measure.gates import BUILT_IN, Gate
from core.methods.nearest import did_you_mean
from core.methods.presets import checked_name, read_text_file
from core.paths import Home
from core.value import Value

SUFFIX = ".yaml"


class ListedGate(Value):
    """A gate of the list; one that cannot be used has none, and `problem` says why."""

    name: str
    built_in: bool = False
    gate: Gate | None = None
    problem: str = ""


def gates(home: Home) -> tuple[ListedGate, ...]:
    """All gates: the built-in ones, then a person's own by name."""
    own = [_own(path) for path in _files(home)]
    return (
        *(ListedGate(name=gate.name, built_in=True, gate=gate) for gate in BUILT_IN),
        *sorted(own, key=lambda one: one.name.casefold()),
    )


def find_gate(home: Home, name: str) -> Gate:
    """The gate of this name, or in this file: a name with a suffix or a folder is one.

    Raises BitpressError `unknown-gate`, `bad-gate` or `no-such-file`.
    """
    if is_file_name(name):
        path = Path(name).expanduser()
        return read_gate(_text_of(path), name=path.stem, place=str(path))
    known = gates(home)
    found = next((one for one in known if one.name.casefold() == name.casefold()), None)
    if found is None:
        raise BitpressError(
            "unknown-gate",
            f"There is no gate called {name}.",
            f"{did_you_mean(name, [one.name for one in known])} "
            f"Choose one of {', '.join(one.name for one in known)}, or name a YAML file.".strip(),
        )
    if found.gate is None:
        raise BitpressError("bad-gate", found.problem, "Mend its file, or remove it with `bitpress gates remove`.")
    return found.gate


def add_gate(home: Home, file: Path, *, name: str = "", replace: bool = False) -> Gate:
    """Keep the gate in a file under its own name, or another one.

    Raises BitpressError `bad-gate`, `no-such-file`, `bad-preset-name`, `gate-built-in` or `gate-exists`.
    """
    gate = read_gate(_text_of(file), name=file.stem, place=str(file))
    gate = gate.model_copy(update={"name": checked_name(name or gate.name)})
    for known in gates(home):
        if known.name.casefold() == gate.name.casefold():
            if known.built_in:
                raise BitpressError("gate-built-in", f"{known.name} comes with Bitpress.", "Give it another --name.")
            if not replace:
                raise BitpressError(
                    "gate-exists", f"There is a gate {known.name} already.", "Give another --name, or --replace."
                )
            _file(home, known.name).unlink(missing_ok=True)
    write_whole(_file(home, gate.name), gate_text(gate).encode())
    return gate


def remove_gate(home: Home, name: str) -> str:
    """Delete a person's own gate; its name as it was kept. Raises BitpressError `unknown-gate` or `gate-built-in`."""
    found = next((one for one in gates(home) if one.name.casefold() == name.casefold()), None)
    if found is None:
        raise BitpressError("unknown-gate", f"There is no gate called {name}.", "`bitpress gates` lists them.")
    if found.built_in:
        raise BitpressError("gate-built-in", f"{found.name} comes with Bitpress and stays.", "Nothing was removed.")
    _file(home, found.name).unlink(missing_ok=True)
    return found.name


def is_file_name(name: str) -> bool:
    """Whether the word names a file rather than a kept gate."""
    return Path(name).suffix.lower() in (".yaml", ".yml") or os.sep in name


def _own(path: Path) -> ListedGate:
    try:
        gate = read_gate(_text_of(path), name=path.stem, place=path.name)
    except BitpressError as error:
        return ListedGate(name=path.stem, problem=error.problem.message)
    except OSError as error:
        return ListedGate(name=path.stem, problem=error.strerror or str(error))
    # The file's name counts: it is what tells gates apart.
    return ListedGate(name=path.stem, gate=gate.model_copy(update={"name": path.stem}))


def _text_of(path: Path) -> str:
    try:
        return read_text_file(path)
    except BitpressError as error:
        problem = error.problem
        code = "bad-gate" if problem.code == "bad-recipe" else problem.code
        raise BitpressError(code, problem.message.replace("a recipe", "a gate"), problem.hint) from error


def _files(home: Home) -> list[Path]:
    try:
        return sorted(path for path in home.gates.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
    except OSError:
        return []


def _file(home: Home, name: str) -> Path:
    return home.gates / f"{name}{SUFFIX}"
