"""Binds the Settings page: what is changed is kept at once."""

from __future__ import annotations

import asyncio

from app.doctor import checks_of
from app.pages.own_code import withdrawn
from app.shell import Shell
from core.models.consent import kept
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
        page.consents.withdraw_requested.connect(
            lambda fingerprint: shell.tasks.start("own-code-withdrawn", withdrawn(shell, fingerprint))
        )
        # A consent that is given or taken back has the models read again.
        shell.on_models.append(lambda _models: shell.tasks.replace("consents", self._show_consents()))
        shell.tasks.replace("consents", self._show_consents())
        page.check_requested.connect(lambda: shell.tasks.replace("doctor", self._check()))

    async def _show_consents(self) -> None:
        self._page.consents.show_consents(await asyncio.to_thread(kept, self._shell.engine.home))

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
