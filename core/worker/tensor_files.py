"""The tensors of a model folder by name, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.models.safetensors_header import weight_files

if TYPE_CHECKING:
    from torch import Tensor


class TensorFiles:
    """A context over a folder's safetensors files; nothing is read before it is asked for.

    Without the decoder blocks `dropped` the others are numbered anew, as in a model that never had those.
    """

    def __init__(self, folder: Path, dropped: Sequence[int] = ()) -> None:
        self._folder = folder
        self._dropped = tuple(dropped)
        self._stored: dict[str, str] = {}
        self._open = ExitStack()
        self._files: dict[str, Any] = {}
        self._locals: dict[str, list[str]] = {}

    def __enter__(self) -> TensorFiles:
        """Raises BitpressError `broken-weights` or `no-weights`."""
        from safetensors import SafetensorError, safe_open

        paths = weight_files(self._folder)
        if not paths:
            raise BitpressError(
                "no-weights", f"{self._folder} holds no safetensors file.", "Choose the folder of a model."
            )
        for path in paths:
            try:
                file = self._open.enter_context(safe_open(path, framework="pt"))
            except SafetensorError as error:
                self._open.close()
                raise BitpressError(
                    "broken-weights", f"{path} cannot be read: {error}", "The file is incomplete or damaged."
                ) from error
            for stored in file.keys():  # noqa: SIM118
                name = _without(stored, self._dropped)
                if name is None:
                    continue
                self._files[name], self._stored[name] = file, stored
                module, _, local = name.rpartition(".")
                self._locals.setdefault(module, []).append(local)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __contains__(self, name: str) -> bool:
        return name in self._files

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors, file by file."""
        return tuple(self._files)

    def locals(self, module: str) -> tuple[str, ...]:
        """Last parts of the names of a module's own tensors: `weight_packed`, `weight_scale`."""
        return tuple(self._locals.get(module, ()))

    def read(self, name: str) -> Tensor:
        return self._files[name].get_tensor(self._stored[name])

    def read_row(self, name: str, index: int) -> Tensor:
        """One entry along the first dimension, without reading the others."""
        return self._files[name].get_slice(self._stored[name])[index]


def _without(name: str, dropped: Sequence[int]) -> str | None:
    """The name where these blocks are gone; None for what was theirs."""
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdecimal() and place), None)
    if not dropped or place is None:
        return name
    number = int(parts[place])
    if number in dropped:
        return None
    parts[place] = str(number - sum(gone < number for gone in dropped))
    return ".".join(parts)
