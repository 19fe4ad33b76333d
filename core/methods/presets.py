"""Named recipes: the built-in ones, and a person's own under the home, one YAML file each."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from core.durable import write_whole
from core.errors import BitpressError
from core.methods.nearest import did_you_mean
from core.methods.preset_text import PresetText, preset_text, read_preset_text
from core.methods.recipe_document import RecipeDocument, RecipeFault, document_error
from core.paths import Home
from core.regular_file import read_beginning
from core.value import Value

SUFFIX = ".yaml"
LONGEST_NAME = 60
FILE_LIMIT = 1 << 20
"""Bytes of a file that are read at most; a preset has about two thousand."""

_SIGNS = " -_.,()+&'"
"""What a name may hold beside letters and digits: nothing that a file system gives a meaning to."""


class Preset(Value):
    """A named recipe. One that cannot be used has no document, and `problem` says why."""

    name: str
    description: str = ""
    created: datetime | None = None
    app_version: str = ""
    built_in: bool = False
    document: RecipeDocument | None = None
    problem: str = ""


def presets(home: Home) -> tuple[Preset, ...]:
    """All presets: the built-in ones, then a person's own by name. What cannot be read is listed with the reason."""
    own = (_own(path) for path in _files(home))
    return (*built_in_presets(), *sorted(own, key=lambda preset: preset.name.casefold()))


def built_in_presets() -> tuple[Preset, ...]:
    """The presets that come with the application; they can neither be changed nor removed."""
    entries = [entry for entry in files("resources").joinpath("presets").iterdir() if entry.name.endswith(SUFFIX)]
    texts = [read_preset_text(entry.read_text(encoding="utf-8")) for entry in sorted(entries, key=lambda e: e.name)]
    return tuple(_preset(text, text.name, built_in=True) for text in texts)


def find_preset(home: Home, name: str) -> Preset:
    """The preset of this name, however it is cased. Raises BitpressError `no-such-preset` or `bad-preset`."""
    preset = _listed(home, name)
    if preset.document is None:
        raise BitpressError(
            "bad-preset", f"The preset {preset.name} cannot be used: {preset.problem}", "Mend its file, or remove it."
        )
    return preset


def save_preset(
    home: Home,
    name: str,
    document: RecipeDocument,
    *,
    description: str = "",
    app_version: str = "",
    replace: bool = False,
) -> Preset:
    """Keep a recipe under a name. Raises BitpressError `bad-preset-name`, `preset-built-in` or `preset-exists`."""
    name = checked_name(name)
    _check_free(home, name, replace=replace)
    text = PresetText(
        name=name,
        description=" ".join(description.split()),
        created=datetime.now(UTC).replace(microsecond=0),
        app_version=app_version,
        document=document,
    )
    _write(_file(home, name), preset_text(text))
    _remove_file(home, name, unless=_file(home, name))
    return _preset(text, name)


def rename_preset(home: Home, old: str, new: str) -> Preset:
    """Give a preset another name. Raises what `find_preset` and `save_preset` raise."""
    preset = _changeable(home, old)
    new = checked_name(new)
    if new.casefold() != preset.name.casefold():
        _check_free(home, new, replace=False)
    if preset.document is None:
        raise BitpressError(
            "bad-preset", f"The preset {preset.name} cannot be read, so it stays as it is.", "Remove it."
        )
    text = PresetText(
        name=new,
        description=preset.description,
        created=preset.created,
        app_version=preset.app_version,
        document=preset.document,
    )
    _write(_file(home, new), preset_text(text))
    _remove_file(home, preset.name, unless=_file(home, new))
    return _preset(text, new)


def remove_preset(home: Home, name: str) -> Preset:
    """Delete a preset's file. Raises BitpressError `no-such-preset` or `preset-built-in`."""
    preset = _changeable(home, name)
    _remove_file(home, preset.name)
    return preset


def import_preset(home: Home, file: Path, *, name: str = "", replace: bool = False, beside: bool = False) -> Preset:
    """Keep the preset in a file, or the recipe in it, named as it says, or as `name` or the file is.

    With `beside`, one whose name is taken gets a number.

    Raises BitpressError `bad-recipe` with every fault, `no-such-file` and what `save_preset` raises.
    """
    text = read_preset_text(read_text_file(file))
    if text.document is None:
        raise document_error(text.faults, str(file))
    named = checked_name(name or text.name or file.stem)
    return save_preset(
        home,
        free_preset_name(home, named) if beside else named,
        text.document,
        description=text.description,
        app_version=text.app_version,
        replace=replace,
    )


def export_preset(home: Home, name: str, file: Path, *, replace: bool = False) -> None:
    """Write a preset to a file that `import_preset` reads. Raises BitpressError `output-exists`, `no-such-preset`."""
    preset = find_preset(home, name)
    if file.exists() and not replace:
        raise BitpressError(
            "output-exists", f"{file} exists already.", "Choose another name, or move the old one away."
        )
    _write(
        file,
        preset_text(
            PresetText(
                name=preset.name,
                description=preset.description,
                created=preset.created,
                app_version=preset.app_version,
                document=preset.document,
            )
        ),
    )


def free_preset_name(home: Home, name: str) -> str:
    """The name, or the first of `name 2`, `name 3` ... that no preset has."""
    taken = {preset.name.casefold() for preset in presets(home)}
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{name[: LONGEST_NAME - 4].rstrip()} {number}", number + 1
    return candidate


def name_problem(name: str) -> str:
    """Why a name cannot be taken, or nothing."""
    text = unicodedata.normalize("NFC", name).strip()
    if not text:
        return "A preset needs a name."
    if len(text) > LONGEST_NAME or len(text.encode(errors="replace")) > 200:
        return f"A name has at most {LONGEST_NAME} characters."
    if not text[0].isalnum():
        return "A name begins with a letter or a digit."
    if bad := next((character for character in text if not (character.isalnum() or character in _SIGNS)), ""):
        return f"A name cannot hold {bad if bad.isprintable() else f'U+{ord(bad):04X}'}."
    return "A name cannot end in a dot." if text.endswith(".") else ""


def checked_name(name: str) -> str:
    """The name as it is kept. Raises BitpressError `bad-preset-name`."""
    if problem := name_problem(name):
        raise BitpressError("bad-preset-name", problem, f"Use letters, digits, spaces and {_SIGNS.strip()}")
    return unicodedata.normalize("NFC", name).strip()


def read_text_file(file: Path) -> str:
    """A recipe's or preset's file as text. Raises BitpressError `no-such-file` or `bad-recipe`."""
    try:
        data = read_beginning(file, FILE_LIMIT + 1)
    except FileNotFoundError as error:
        raise BitpressError("no-such-file", f"There is no file {file}.", "Look at how its name is written.") from error
    except IsADirectoryError as error:
        raise BitpressError("no-such-file", f"{file} is a folder.", "Name a YAML file.") from error
    except OSError as error:
        raise BitpressError(
            "no-such-file", f"{file} cannot be read: {error.strerror}.", "Check it and its permissions."
        ) from error
    if len(data) > FILE_LIMIT:
        raise BitpressError(
            "bad-recipe", f"{file} is over {FILE_LIMIT:,} bytes, far too many for a recipe.", "Look at it."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="replace")) + 1
        raise BitpressError(
            "bad-recipe",
            f"{file}:{line}:{column}: the byte 0x{data[error.start]:02x} is not UTF-8.",
            "Save the file as UTF-8.",
        ) from error


def _own(path: Path) -> Preset:
    try:
        text = read_preset_text(read_text_file(path))
    except BitpressError as error:
        return Preset(name=path.stem, problem=error.problem.message)
    except OSError as error:
        return Preset(name=path.stem, problem=error.strerror or str(error))
    # The file's name counts: it is what tells presets apart.
    return _preset(text, path.stem)


def _preset(text: PresetText, name: str, *, built_in: bool = False) -> Preset:
    return Preset(
        name=name,
        description=text.description,
        created=text.created,
        app_version=text.app_version,
        built_in=built_in,
        document=text.document,
        problem=" ".join(_told(fault) for fault in text.faults),
    )


def _told(fault: RecipeFault) -> str:
    return f"Line {fault.line}: {fault.text}"


def _listed(home: Home, name: str) -> Preset:
    wanted = unicodedata.normalize("NFC", name).strip().casefold()
    known = presets(home)
    for preset in known:
        if preset.name.casefold() == wanted:
            return preset
    hint = f"{did_you_mean(name, [preset.name for preset in known])} `bitpress presets` lists them.".strip()
    raise BitpressError("no-such-preset", f"There is no preset {name!r}.", hint)


def _changeable(home: Home, name: str) -> Preset:
    preset = _listed(home, name)
    if preset.built_in:
        raise BitpressError(
            "preset-built-in",
            f"{preset.name} comes with Bitpress and stays as it is.",
            "Save its recipe under another name, and change that.",
        )
    return preset


def _check_free(home: Home, name: str, *, replace: bool) -> None:
    for preset in presets(home):
        if preset.name.casefold() == name.casefold():
            if preset.built_in:
                raise BitpressError("preset-built-in", f"{preset.name} comes with Bitpress.", "Choose another name.")
            if not replace:
                raise BitpressError(
                    "preset-exists", f"There is a preset {preset.name} already.", "Choose another name, or replace it."
                )


def _files(home: Home) -> list[Path]:
    try:
        return sorted(
            path for path in home.presets.iterdir() if path.suffix == SUFFIX and not path.name.startswith(".")
        )
    except OSError:
        return []


def _file(home: Home, name: str) -> Path:
    return home.presets / f"{name}{SUFFIX}"


def _remove_file(home: Home, name: str, *, unless: Path | None = None) -> None:
    """Remove the files that hold a name, however it is cased, but not the one named in `unless`."""
    for path in _files(home):
        # A file system may take two names for one file.
        if path.stem.casefold() == name.casefold() and (unless is None or not path.samefile(unless)):
            path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """Whole or not at all: written beside, brought to the disk, then renamed."""
    write_whole(path, text.encode(errors="surrogatepass"))
