"""Facts about agreeing to a model's own code in the window, and taking that back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from fake_worker import launch_fake
from model_files import LLAMA, make_model
from PySide6.QtWidgets import QApplication, QCheckBox, QListWidget, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.page_factories import PageFactories
from app.window import serve
from core.models.consent import kept
from core.models.own_code import own_code
from core.paths import Home
from core.settings import Settings, save_settings
from ui.constants_alive import keep_constants_alive
from ui.dialogs.own_code import OwnCodeDialog
from ui.main_window import MainWindow
from ui.pages.compress import CompressPage
from ui.pages.models import ModelsPage

keep_constants_alive()


def a_model(folder: Path) -> Path:
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    make_model(folder, {**LLAMA, "model_type": "own", "auto_map": auto_map})
    (folder / "own.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w')\n")
    (folder / "tokenizer.json").write_text("{}")
    return folder


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.05)


def pressed(parent: QWidget, name: str) -> bool:
    """Press the button as soon as it can be pressed."""
    found = parent.findChild(QPushButton, name)
    if found is None or found.isHidden() or not found.isEnabled():
        return False
    found.click()
    return True


def test_that_a_model_can_be_used_from_the_consent_on_until_it_is_withdrawn(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    folder = a_model(tmp_path / "watched" / "Coded")
    save_settings(Settings(watched_folders=(folder.parent,), hub_cache=False), home.settings_file)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("compress")
    window.show_page("models")
    window.show()

    def opened() -> OwnCodeDialog | None:
        return next((one for one in window.findChildren(OwnCodeDialog) if one.isVisible()), None)

    async def scenario() -> None:
        models, compress = window.findChild(ModelsPage), window.findChild(CompressPage)
        assert models is not None
        assert compress is not None

        def chosen_is_consented() -> bool:
            return models.selected is not None and models.selected.consented

        models.select(folder)
        await until(lambda: models.selected is not None)
        assert not chosen_is_consented()
        # Where the job is planned, the finding leads to the same dialog.
        compress.select_model(folder)
        await until(lambda: pressed(compress, "compress.findings.0.act"))
        await until(lambda: opened() is not None)
        dialog = opened()
        assert dialog is not None
        assert pressed(dialog, "own_code.close")
        assert kept(home) == ()
        await until(lambda: opened() is None)
        assert pressed(models, "models.own_code")
        await until(lambda: opened() is not None)
        dialog = opened()
        assert dialog is not None
        listed = dialog.findChild(QListWidget, "own_code.files")
        tick = dialog.findChild(QCheckBox, "own_code.tick")
        assert listed is not None
        assert tick is not None
        for row in range(listed.count()):
            listed.setCurrentRow(row)
        tick.click()
        assert pressed(dialog, "own_code.agree")
        await until(chosen_is_consented)
        code = own_code(folder)
        assert code is not None
        assert [one.fingerprint for one in kept(home)] == [code.fingerprint]
        window.show_page("settings")
        await until(lambda: pressed(window, "settings.consents.list.0.act"))
        await until(lambda: not chosen_is_consented())
        assert kept(home) == ()

    async def played() -> None:
        serving = asyncio.ensure_future(serve(window, factories))
        await asyncio.wait_for(scenario(), 60)
        window.close()
        await asyncio.wait_for(serving, 20)

    with (
        patch("app.engine.default_launch", lambda **_: launch_fake(tmp_path / "scripts", {})),
        asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner,
    ):
        runner.run(played())
    assert not (folder.parent / "ran").exists()
