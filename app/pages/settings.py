"""Binds the Settings page: what is changed is kept at once."""

from __future__ import annotations

import asyncio

from app.doctor import checks_of
from app.shell import Shell
from core.settings import Settings
from ui.pages.settings import SettingsPage
from ui.theme import use_theme


class SettingsBinding:
    """Acts for the Settings page."""

    def __init__(self, page: SettingsPage, shell: Shell) -> None:
        self._shell = shell
        page.set_value(shell.engine.settings)
        page.changed.connect(self._changed)
        shell.on_settings.append(page.set_value)
        self._page = page
        page.check_requested.connect(lambda: shell.tasks.replace("doctor", self._check()))

    async def _check(self) -> None:
        self._page.machine.show_checking()
        try:
            checks = await asyncio.to_thread(checks_of, self._shell.engine.home)
        except BaseException:
            self._page.machine.show_checks(())
            raise
        self._page.machine.show_checks(checks)

    def _changed(self, settings: Settings) -> None:
        before = self._shell.engine.settings
        self._shell.change_settings(settings)
        self._shell.engine.queue.keep_awake = settings.keep_awake
        if settings.theme != before.theme:
            use_theme(settings.theme)
        if (settings.watched_folders, settings.hub_cache) != (before.watched_folders, before.hub_cache):
            self._shell.refresh_models()
