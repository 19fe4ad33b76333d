"""Makes each page when it is first shown, and binds it as soon as the engine is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QWidget

from ui.main_window import ENTRIES, MainWindow

if TYPE_CHECKING:
    from app.shell import Shell


class PageFactories:
    """Functions that make pages; keeps the bindings alive as long as the window."""

    def __init__(self) -> None:
        self._bindings: dict[str, object] = {}

    def all(self) -> dict[str, Callable[[], QWidget]]:
        """Page id to the function that makes it."""
        return {entry.page: lambda page=entry.page: _made(page) for entry in ENTRIES}  # type: ignore[misc]

    def bind(self, window: MainWindow, shell: Shell) -> None:
        """Bind the pages that are there, and every later one when it is made."""
        window.page_made.connect(lambda page: self._bind(page, window, shell))
        for entry in ENTRIES:
            if window.is_made(entry.page):
                self._bind(entry.page, window, shell)

    def _bind(self, page: str, window: MainWindow, shell: Shell) -> None:
        self._bindings[page] = _bound(page, window.page(page), shell)


def _made(page: str) -> QWidget:
    match page:
        case "models":
            from ui.pages.models import ModelsPage

            return ModelsPage()
        case "compress":
            from ui.pages.compress import CompressPage

            return CompressPage()
        case "runs":
            from ui.pages.runs import RunsPage

            return RunsPage()
        case "compare":
            from ui.pages.compare import ComparePage

            return ComparePage()
        case "benchmarks":
            from ui.pages.benchmarks import BenchmarksPage

            return BenchmarksPage()
        case "reports":
            from ui.pages.reports import ReportsPage

            return ReportsPage()
        case _:
            from ui.pages.settings import SettingsPage

            return SettingsPage()


def _bound(page: str, widget: Any, shell: Shell) -> object:
    match page:
        case "models":
            from app.pages.models import ModelsBinding

            return ModelsBinding(widget, shell)
        case "compress":
            from app.pages.compress import CompressBinding

            return CompressBinding(widget, shell)
        case "runs":
            from app.pages.runs import RunsBinding

            return RunsBinding(widget, shell)
        case "compare":
            from app.pages.compare import CompareBinding

            return CompareBinding(widget, shell)
        case "benchmarks":
            from app.pages.benchmarks import BenchmarksBinding

            return BenchmarksBinding(widget, shell)
        case "reports":
            from app.pages.reports import ReportsBinding

            return ReportsBinding(widget, shell)
        case _:
            from app.pages.settings import SettingsBinding

            return SettingsBinding(widget, shell)
