"""The one door to Python code that came with a model: opened for code that a person agreed to, byte for byte.

The files are read once; what was hashed is what is compiled, from memory, so nobody can swap a file in between. They
become modules of a package that is named by their fingerprint and finds nothing but them: no other file of the folder,
no compiled code, no `__init__.py` of the folder itself. Then transformers is told of the classes, as if they were its
own: `trust_remote_code` stays False everywhere, and its cache of modules is not used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from core.errors import BitpressError
from core.models.local_files import read_json, shown
from core.models.own_code import OwnCode, TrustedCode, differing, needed_code, read_own_code, tokenizer_class
from core.value import Json

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGE = "bitpress_own_code_"
_NOWHERE = "/bitpress-own-code"
"""The folder in the modules' file names. It does not exist, so that nothing reads their source from a disk."""
_HINT = "Look for a version of this model that transformers knows itself, or ask whoever made it."


class VerifiedModules(MetaPathFinder):
    """Finds the modules of one package among bytes that were verified, and nothing else."""

    def __init__(self, package: str, contents: Mapping[str, bytes]) -> None:
        self.package = package
        self.contents = contents

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.package and not fullname.startswith(f"{self.package}."):
            return None
        inner = fullname.removeprefix(self.package).removeprefix(".").replace(".", "/")
        module = f"{inner}.py" in self.contents
        if not module and inner and not any(name.startswith(f"{inner}/") for name in self.contents):
            return None
        spec = spec_from_loader(fullname, _VerifiedSource(self), is_package=not module)
        if spec is not None and not module:
            # Nowhere else is looked for what is not found here.
            spec.submodule_search_locations = []
        return spec

    def name_of(self, fullname: str) -> str:
        """The file in which a module's code is."""
        inner = fullname.removeprefix(self.package).removeprefix(".").replace(".", "/")
        return f"{inner}.py" if f"{inner}.py" in self.contents else f"{inner}/__init__.py".lstrip("/")


class _VerifiedSource(SourceLoader):
    """Loads what was found. As it has a source to give, inspect and whoever traces a model find it too."""

    def __init__(self, found: VerifiedModules) -> None:
        self._found = found

    @override
    def get_filename(self, fullname: str) -> str:
        return f"{_NOWHERE}/{self._found.package}/{self._found.name_of(fullname)}"

    @override
    def get_data(self, path: str | bytes) -> bytes:
        name = str(path).removeprefix(f"{_NOWHERE}/{self._found.package}/")
        # A folder without code of its own, and the model's folder, whose own `__init__.py` transformers skips as well.
        return b"" if name == "__init__.py" else self._found.contents.get(name, b"")


def open_own_code(folders: Iterable[str], trusted: Sequence[TrustedCode]) -> None:
    """Make the code of these models usable in this process, as far as they need any.

    With nothing trusted nothing is read: transformers refuses then by itself. Else every one of the folders must hold
    trusted code or need none, because transformers' tables hold for the process. Raises BitpressError `code-changed`,
    `code-refused`, `own-code-failed`, and what reading the code raises.
    """
    if not trusted:
        return
    for folder in folders:
        if Path(folder).is_dir() and needed_code(Path(folder)) is not None:
            _open(Path(folder), trusted)


def own_tokenizer_class(folder: Path) -> Any:
    """The class of a tokenizer that is code, out of the opened package; None where the model needs none.

    Raises BitpressError `code-not-agreed` where the package is not open.
    """
    code = needed_code(folder)
    if code is None or "tokenizer" not in code.needed:
        return None
    if package_of(code) not in sys.modules:
        raise BitpressError(
            "code-not-agreed",
            f"The tokenizer in {folder} is Python code that came with the model, and nobody agreed to run it.",
            f"`bitpress inspect {folder} --code` shows it.",
        )
    settings = read_json(folder, "tokenizer_config.json", "bad-config") or {}
    return _class(code, tokenizer_class(settings.get("auto_map")))


def carried_code(original: Path) -> Mapping[str, bytes]:
    """The verified files of a model's opened code, to be laid beside what is made of it; none where it needs none.

    Raises BitpressError `code-changed` where the folder holds other code by now.
    """
    code = needed_code(original)
    if code is None:
        return {}
    package = package_of(code)
    found = next((one for one in sys.meta_path if isinstance(one, VerifiedModules) and one.package == package), None)
    if found is None:
        raise BitpressError(
            "code-changed", f"The code in {original} was changed while the job ran.", "Read it again, and start anew."
        )
    return found.contents


def package_of(code: OwnCode) -> str:
    """Name of the package that the code's modules are in."""
    return f"{PACKAGE}{code.fingerprint}"


def _open(folder: Path, trusted: Sequence[TrustedCode]) -> None:
    found = read_own_code(folder)
    if found is None:
        raise BitpressError("code-refused", f"The settings in {folder} name no class of its code.", _HINT)
    code, contents = found
    if code.refused:
        raise BitpressError("code-refused", f"The code in {folder} cannot be run. {code.refused}", _HINT)
    if all(code.fingerprint != one.fingerprint for one in trusted):
        raise _changed(code, trusted)
    package = package_of(code)
    if package not in sys.modules:
        sys.meta_path.insert(0, VerifiedModules(package, contents))
        importlib.import_module(package)
    if "model" in code.needed:
        _register(code)


def _register(code: OwnCode) -> None:
    """Tell transformers of the config and the model. Its own tables go before the folder's `auto_map`."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    settings = read_json(code.folder, "config.json", "bad-config") or {}
    asked = settings.get("auto_map")
    named: Mapping[str, Json] = asked if isinstance(asked, dict) else {}
    kind = settings.get("model_type")
    config_class = _class(code, named.get("AutoConfig"))
    model_class = _class(code, named.get("AutoModelForCausalLM"))
    known = CONFIG_MAPPING._extra_content.get(kind)
    if known is config_class:
        return
    if known is not None or not isinstance(kind, str):
        raise BitpressError(
            "code-refused",
            f"Two models of this job bring different code for {shown(str(kind))}, and one process can only have one.",
            "Look at them in jobs of their own.",
        )
    try:
        AutoConfig.register(kind, config_class)
        AutoModelForCausalLM.register(config_class, model_class)
    except (ValueError, AttributeError, TypeError) as error:
        raise _failed(code, error) from error


def _class(code: OwnCode, reference: Json) -> Any:
    """The class that `module.Class` names. This runs the module."""
    module, _, name = reference.rpartition(".") if isinstance(reference, str) else ("", "", "")
    if not module or not name.isidentifier() or "--" in module:
        raise BitpressError(
            "code-refused",
            f"The settings in {code.folder} do not say which class of their code is the config, the model or the "
            "tokenizer.",
            _HINT,
        )
    try:
        return getattr(importlib.import_module(f"{package_of(code)}.{module}"), name)
    except (KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise _failed(code, error) from error


def _failed(code: OwnCode, error: BaseException) -> BitpressError:
    said = shown((str(error).strip() or type(error).__name__).splitlines()[0], 300)
    needs = isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith(PACKAGE)
    return BitpressError(
        "own-code-failed",
        f"The code that came with {code.repository} does not run here: {type(error).__name__}: {said}",
        f"It wants the Python package {shown(str(error.name))}, which is not installed."
        if needs and isinstance(error, ModuleNotFoundError)
        else "It may have been written for another version of transformers.",
    )


def _changed(code: OwnCode, trusted: Sequence[TrustedCode]) -> BitpressError:
    """What differs from the code that comes nearest among what was agreed to."""
    nearest = min((differing(one, code) for one in trusted), key=len)
    return BitpressError(
        "code-changed",
        f"The code in {code.folder} is not what was agreed to: {', '.join(nearest[:5])}"
        f"{f' and {len(nearest) - 5} more' if len(nearest) > 5 else ''}. None of it was run.",
        f"Read it again: `bitpress inspect {code.folder} --code`. Then agree to it as it is now, or fetch the model "
        "again.",
    )
