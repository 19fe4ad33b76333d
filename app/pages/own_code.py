"""Shows the code that came with a model, and keeps or takes back the consent to run it."""

from __future__ import annotations

import asyncio

from PySide6.QtWidgets import QWidget

from app.consent import agree
from app.shell import Shell
from core.models.consent import kept_consent, withdraw
from core.models.local_model import LocalModel
from core.models.own_code import OwnCode, code_texts, own_code
from ui.dialogs.own_code import OwnCodeDialog


async def show_code(page: QWidget, shell: Shell, model: LocalModel) -> None:
    """Open the dialog; what is agreed to there is the code that it shows, whatever lies in the folder by then."""
    home = shell.engine.home
    code = await asyncio.to_thread(own_code, model.path)
    if code is None:
        return
    texts = await asyncio.to_thread(code_texts, code)
    consent = await asyncio.to_thread(kept_consent, home, code.fingerprint)
    dialog = OwnCodeDialog(code, texts, consent=consent, parent=page)
    dialog.agreed.connect(lambda: shell.tasks.start("own-code-agreed", _agreed(shell, code)))
    dialog.withdrawn.connect(lambda: shell.tasks.start("own-code-withdrawn", withdrawn(shell, code.fingerprint)))
    dialog.open()


async def _agreed(shell: Shell, code: OwnCode) -> None:
    await asyncio.to_thread(lambda: agree(shell.engine.home, code, lasting=True))
    shell.refresh_models()


async def withdrawn(shell: Shell, fingerprint: str) -> None:
    """Take a consent back; models that stay loaded with that code for comparisons are let go."""
    await asyncio.to_thread(withdraw, shell.engine.home, fingerprint)
    await shell.engine.residents.close()
    shell.refresh_models()
