"""The two themes, and how one is put on the application: a palette and one stylesheet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import resources
from string import Template
from typing import Literal

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QColor, QFont, QFontInfo, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from ui.tone import Tone

Mode = Literal["system", "light", "dark"]

_NAME = "bitpress.theme"
_BASE_SIZE = "bitpress.base_font_pixels"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as `#RRGGBB`. Every text colour has a contrast of 4.5 to 1 or more on the grounds it is used on."""

    name: str
    background: str
    surface: str
    raised: str
    line: str
    grid: str
    text: str
    quiet: str
    accent: str
    accent_soft: str
    on_accent: str
    done: str
    done_soft: str
    attention: str
    attention_soft: str
    failed: str
    failed_soft: str
    original: str
    """The series colour of the uncompressed model, in every chart."""
    series: tuple[str, ...]
    """Okabe and Ito's palette, for every other model."""

    def tone(self, tone: Tone) -> str:
        """The text or line colour of a meaning."""
        return {
            Tone.NEUTRAL: self.quiet,
            Tone.ACCENT: self.accent,
            Tone.DONE: self.done,
            Tone.ATTENTION: self.attention,
            Tone.FAILED: self.failed,
        }[tone]

    def soft(self, tone: Tone) -> str:
        """The ground that goes with `tone`."""
        return {
            Tone.NEUTRAL: self.grid,
            Tone.ACCENT: self.accent_soft,
            Tone.DONE: self.done_soft,
            Tone.ATTENTION: self.attention_soft,
            Tone.FAILED: self.failed_soft,
        }[tone]


LIGHT = Theme(
    name="light",
    background="#F6F6F4",
    surface="#FFFFFF",
    raised="#FBFBFA",
    line="#E2E2DE",
    grid="#ECECE8",
    text="#1B1B19",
    quiet="#6A6A64",
    accent="#0072B2",
    accent_soft="#E8F3FA",
    on_accent="#FFFFFF",
    done="#00795A",
    done_soft="#DFF3EC",
    attention="#946300",
    attention_soft="#FBF0D6",
    failed="#B3460A",
    failed_soft="#FBE7DB",
    original="#8A8A83",
    series=("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
)

DARK = Theme(
    name="dark",
    background="#151514",
    surface="#1D1D1B",
    raised="#232321",
    line="#333330",
    grid="#2A2A28",
    text="#ECECE7",
    quiet="#9A9A93",
    accent="#56B4E9",
    accent_soft="#12303F",
    on_accent="#0B1C26",
    done="#35C596",
    done_soft="#12332A",
    attention="#E6B34A",
    attention_soft="#392D12",
    failed="#F0834A",
    failed_soft="#3B2114",
    original="#8F8F88",
    series=("#56B4E9", "#E69F00", "#2FC39A", "#DD9BBE", "#0072B2", "#D55E00"),
)


def theme_of(widget: QWidget) -> Theme:
    """The theme that `widget` is shown in. Ask in `paintEvent`, or again on QEvent.PaletteChange."""
    app = QApplication.instance()
    return DARK if app is not None and app.property(_NAME) == DARK.name else LIGHT


def use_theme(mode: Mode) -> None:
    """Put the theme on the running application."""
    application = QApplication.instance()
    if isinstance(application, QApplication):
        apply_theme(application, mode)


def apply_theme(app: QApplication, mode: Mode) -> Theme:
    """Put a theme on the whole application; with `system` it follows the desktop from then on."""
    wanted = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark, "system": Qt.ColorScheme.Unknown}[mode]
    follower = app.findChild(_Follower) or _Follower(app)
    follower.mode = mode
    app.styleHints().setColorScheme(wanted)  # native title bars and dialogs follow
    dark = mode == "dark" or (mode == "system" and app.styleHints().colorScheme() is Qt.ColorScheme.Dark)
    theme = DARK if dark else LIGHT
    if app.property(_NAME) == theme.name:
        return theme
    app.setStyle("Fusion")
    app.setFont(_font(app))
    app.setProperty(_NAME, theme.name)
    app.setPalette(_palette(theme))
    app.setStyleSheet(_stylesheet(theme, QFontInfo(app.font()).pixelSize()))
    return theme


class _Follower(QObject):
    """Changes the theme when the desktop does, while the mode is `system`."""

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self.mode: Mode = "system"
        self._app = app
        app.styleHints().colorSchemeChanged.connect(self._follow)

    def _follow(self) -> None:
        if self.mode == "system":
            apply_theme(self._app, "system")


def _font(app: QApplication) -> QFont:
    """The platform's font, at least 13 pixels high, with figures of equal width where it has them."""
    font = QFont(app.font())
    kept = app.property(_BASE_SIZE)
    size = int(kept) if kept else min(20, max(13, QFontInfo(font).pixelSize()))
    app.setProperty(_BASE_SIZE, size)
    font.setPixelSize(size)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for which, colour in {
        role.Window: theme.background,
        role.WindowText: theme.text,
        role.Base: theme.surface,
        role.AlternateBase: theme.raised,
        role.Text: theme.text,
        role.PlaceholderText: theme.quiet,
        role.Button: theme.surface,
        role.ButtonText: theme.text,
        role.BrightText: theme.failed,
        role.ToolTipBase: theme.raised,
        role.ToolTipText: theme.text,
        role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent,
        role.Accent: theme.accent,
        role.Link: theme.accent,
        role.LinkVisited: theme.accent,
        role.Light: theme.raised,
        role.Midlight: theme.grid,
        role.Mid: theme.line,
        role.Dark: theme.quiet,
        role.Shadow: theme.line,
    }.items():
        palette.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(theme.quiet))
    return palette


def _stylesheet(theme: Theme, base: int) -> str:
    folder = resources.files("resources") / "theme"
    words = {key: value for key, value in asdict(theme).items() if isinstance(value, str)}
    return Template((folder / "theme.qss").read_text(encoding="utf-8")).substitute(
        words,
        base=f"{base}px",
        small=f"{max(12, round(base * 12.5 / 14))}px",
        tiny=f"{max(11, round(base * 11.5 / 14))}px",
        large=f"{round(base * 16 / 14)}px",
        title=f"{round(base * 20 / 14)}px",
        folder=str(folder).replace("\\", "/"),
    )
