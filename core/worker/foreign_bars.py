"""Stands in for the tqdm bars of llmcompressor, compressed-tensors and lm-evaluation-harness.

Their steps are heard and not drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_FOREIGN = ("llmcompressor", "compressed_tensors", "lm_eval")

Stepped = Callable[[str, int, int | None], None]
"""Hears a bar's description, how many steps are done, and of how many."""


@contextmanager
def bars_heard(stepped: Stepped) -> Iterator[None]:
    """Swap `tqdm` in the foreign modules that imported it; put back at the end."""
    from tqdm import tqdm

    bar = _bar(tqdm, stepped)
    swapped = [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in _FOREIGN and getattr(module, "tqdm", None) is tqdm
    ]
    for module in swapped:
        module.tqdm = bar  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in swapped:
            module.tqdm = tqdm  # type: ignore[attr-defined]


def _bar(tqdm: type[Any], stepped: Stepped) -> type[Any]:
    class Bar(tqdm):
        """A bar that draws nothing and says every step."""

        def __init__(self, iterable: Any = None, *args: Any, **options: Any) -> None:
            options["disable"] = True
            super().__init__(iterable, *args, **options)
            self._name = options.get("desc") or ""
            self._count = 0
            total = options.get("total", len(iterable) if hasattr(iterable, "__len__") else None)
            self._total = None if total is None else int(total)

        def __iter__(self) -> Iterator[Any]:
            for item in self.iterable:
                yield item
                self.update()

        def update(self, n: float | None = 1) -> None:
            self._count += int(n or 0)
            stepped(self._name, self._count, self._total)

    return Bar
