"""One prompt, one model name and one generated text, made to become markup: they stay text wherever they are shown."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from model_files import make_gguf
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from report_runs import NOW, MadeUpStore, compare_run, compress_run, evaluate_run, inspect, sources

from app.cli.output import Output, literal
from core.errors import Problem
from core.jobs.protocol import Accepted, Progress, Stage, StageStarted, Token, Warned
from core.jobs.snapshot import JobSnapshot, apply
from core.models.inspect import inspect as inspect_model
from core.paths import Home
from core.report.collect import collect
from core.report.data import ReportData
from core.report.html import html
from core.report.pdf import pdf
from core.report.tables import as_csv, as_model_csv
from ui.models.model_table import ModelTable
from ui.widgets.answer_text import AnswerText
from ui.widgets.elided import ElidedLabel
from ui.widgets.plain import PlainLabel, harmless

MARKUP = '=HYPERLINK("http://x.example") <b>bold</b><script>alert(1)</script> #panic("x") $x^2$ *star* `raw` @ref'
STEERING = "\x1b[31m\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066\u200b"
HOSTILE = f"{MARKUP} {STEERING}"
DANGEROUS = frozenset("\x1b\x07\x9b\u202e\u2066\u200b")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A report in which prompt, name and answer are hostile."""
    store = MadeUpStore(
        (
            compress_run(1, "gptq-w4a16", name=HOSTILE),
            evaluate_run(2, ["gptq-w4a16"]),
            compare_run(3, ["gptq-w4a16"], prompt=f"prompt {HOSTILE}", said=f"said {HOSTILE}"),
        )
    )

    def named(path: Path) -> object:
        return inspect(path).model_copy(update={"name": HOSTILE})

    home = Home(tmp_path_factory.mktemp("home"))
    return collect([1], store, home, sources=sources(inspect_model=named), now=NOW)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") or (value or "").startswith("javascript") for name, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_that_it_stays_text_in_the_pdf(report: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf(report))
    text = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True).stdout
    assert not DANGEROUS & set(text)
    for piece in ("=HYPERLINK(", "<b>bold</b>", "<script>alert(1)</script>", '#panic("x")', "$x^2$", "*star*", "`raw`"):
        assert squeezed(text).count(squeezed(piece)) >= 3, piece
    assert "[U+202E]gnp.exe" in squeezed(text)


def test_that_it_stays_text_on_the_page(report: ReportData) -> None:
    page = html(report)
    seen = _Seen()
    seen.feed(page)
    assert not DANGEROUS & set(page)
    assert "script" not in seen.tags
    assert squeezed(seen.text).count(squeezed(MARKUP)) >= 3
    assert "[U+202E]gnp.exe" in seen.text


@pytest.mark.parametrize("table", [as_csv, as_model_csv])
def test_that_it_stays_text_in_the_table(report: ReportData, table: object) -> None:
    assert callable(table)
    written = table(report)
    assert not DANGEROUS & set(written)
    cells = [cell for row in csv.reader(io.StringIO(written)) for cell in row]
    named = [cell for cell in cells if "=HYPERLINK(" in cell]
    assert named
    assert all(cell.startswith("'=HYPERLINK(") for cell in named if cell.lstrip("'").startswith("="))
    assert not [cell for cell in cells if cell[:1] in ("=", "@", "\t")]


def test_that_it_stays_text_in_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(as_json=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    stage = Stage(id="one", title=HOSTILE, unit="layer")
    snapshot = JobSnapshot(job="", title=HOSTILE)
    for event in (
        Accepted(stages=(stage,)),
        StageStarted(stage="one"),
        Warned(code="odd", message=HOSTILE),
        Token(index=0, id=1, text=HOSTILE),
    ):
        snapshot = apply(snapshot, event)
        output.event(snapshot, event)
    output.say(HOSTILE)
    output.verbatim(HOSTILE)
    output.problem(Problem(code="unexpected", message=HOSTILE, hint=HOSTILE, details=HOSTILE))
    shown = capsys.readouterr()
    printed = (shown.out + shown.err).replace("\r\x1b[K", "")
    assert not DANGEROUS & set(printed)
    assert printed.count(MARKUP) >= 7
    assert literal(STEERING) in printed


def test_that_a_bar_of_progress_is_steered_by_nobody_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    output = Output(as_json=False)
    accepted = Accepted(stages=(Stage(id="one", title="One", unit=HOSTILE),))
    snapshot = apply(apply(JobSnapshot(job="", title=""), accepted), StageStarted(stage="one"))
    step = Progress(stage="one", done=1, total=2, detail=STEERING)
    output.event(apply(snapshot, step), step)
    output.note(STEERING)
    assert not DANGEROUS & set(capsys.readouterr().err.replace("\r\x1b[K", ""))


def test_that_json_for_a_script_reads_back_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = HOSTILE + "\U000e0041 Grüße 東京"
    Output(as_json=True).line("run", name=text)
    event = Warned(code="odd", message=text)
    Output(as_json=True).event(JobSnapshot(job="", title=""), event)
    first, second = capsys.readouterr().out.splitlines()
    assert not (DANGEROUS | {"\U000e0041"}) & set(first + second)
    assert "Grüße 東京" in first
    assert json.loads(first)["name"] == json.loads(second)["message"] == text


def test_that_it_stays_text_in_the_window(qtbot: QtBot, tmp_path: Path) -> None:
    name = f"{MARKUP} {STEERING}.gguf".replace("/", "∕")
    model = inspect_model(make_gguf(tmp_path / name))
    table = ModelTable()
    table.show_models((model,))
    shown = str(table.data(table.index(0, 0), Qt.ItemDataRole.DisplayRole))
    assert MARKUP.replace("/", "∕") in shown
    assert not DANGEROUS & set(shown)

    label, short, answer = PlainLabel(HOSTILE), ElidedLabel(HOSTILE), AnswerText("answer")
    for widget in (label, short, answer):
        qtbot.addWidget(widget)
    for one in (label, short):
        assert one.textFormat() is Qt.TextFormat.PlainText
        assert one.text() == harmless(HOSTILE)
    short.resize(40, 20)
    short.show()
    QApplication.processEvents()
    short.grab()
    assert "&lt;b&gt;" in short.toolTip()
    assert "<b>" not in short.toolTip()
    assert not DANGEROUS & set(short.toolTip())
    for piece in (HOSTILE[:50], HOSTILE[50:]):
        answer.append(piece)
    assert answer.text() == harmless(HOSTILE)
    assert MARKUP in answer.text()
    assert not DANGEROUS & set(answer.text())
    assert len(answer.text()) == len(HOSTILE)
    answer.show_text(HOSTILE)
    assert answer.text() == harmless(HOSTILE)
    assert short.mapToGlobal(QPoint(0, 0)) is not None


def test_that_what_people_write_is_shown_as_it_is() -> None:
    for text in ("Two lines\n\tand a tab\r\n", "Grüße, עברית, می‌خواهم, \u200fمرحبا", "👩‍👩‍👧 <i>"):
        assert harmless(text) == text
    assert harmless("a\x1bb\x7fc\x9bd\re\U000e0041f") == "a\u241bb\u2421c\ufffdd\u240de\ufffd\ufffdf"
