"""One prompt, one model name and one generated text, made to become markup: they stay text wherever they are shown."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from model_files import make_gguf
from PySide6.QtCore import QAbstractItemModel, QPoint, Qt
from PySide6.QtWidgets import QApplication, QPlainTextEdit
from pytestqt.qtbot import QtBot
from report_runs import NOW, MadeUpStore, compare_run, compress_run, evaluate_run, inspect, six_runs, sources

from app.cli.output import Output, literal
from core.calibration.inspection import ShownSample
from core.errors import Problem
from core.jobs.client import last_lines
from core.jobs.protocol import Accepted, Progress, Stage, StageStarted, Token, Warned
from core.jobs.snapshot import JobSnapshot, apply
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.models.inspect import inspect as inspect_model
from core.paths import Home
from core.report.collect import collect
from core.report.data import ReportData
from core.report.html import html
from core.report.pdf import pdf
from core.report.tables import as_csv, as_model_csv
from ui.dialogs.problem import ProblemDialog
from ui.models.model_table import ModelTable
from ui.models.sweep_table import SweepTable
from ui.widgets.answer_text import AnswerText
from ui.widgets.chart_drawing import Figures
from ui.widgets.chart_table import FigureTable
from ui.widgets.elided import ElidedLabel
from ui.widgets.log_view import LogView
from ui.widgets.plain import PlainLabel, harmless
from ui.widgets.sample_view import SampleView

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


# Whatever else is named by a model, a file or a person -------------------------------------------------------------

FOREIGN = frozenset(
    (
        "name",
        "model_name",
        "title",
        "label",
        "source",
        "text",
        "message",
        "note",
        "detail",
        "prompt",
        "licence",
    )
)
"""Fields of a report that hold words which came with a model, a calibration file, a task or a failed run."""


def spoiled(value: Any, key: str = "") -> Any:
    """A report's data with something hostile at the end of every foreign word."""
    if isinstance(value, dict):
        return {name: spoiled(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [spoiled(item, key) for item in value]
    return f"{value} {HOSTILE}" if isinstance(value, str) and key in FOREIGN and value else value


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A report on six runs, a sweep, tasks and a map of sensitivity, all of whose names are hostile."""
    data = six_runs(Home(tmp_path_factory.mktemp("home")))
    found = ReportData.model_validate(spoiled(data.model_dump(mode="json")))
    assert found.model_dump_json().count("gnp.exe") > 50
    return found


def test_that_hostile_names_of_sweeps_tasks_and_files_stay_text_on_the_page(everything: ReportData) -> None:
    page = html(everything)
    seen = _Seen()
    seen.feed(page)
    assert not DANGEROUS & set(page)
    assert not {"script", "b", "img"} & seen.tags
    assert seen.text.count("[U+202E]gnp.exe") > 20


@pytest.mark.parametrize("table", [as_csv, as_model_csv])
def test_that_hostile_names_of_sweeps_tasks_and_files_stay_text_in_the_table(
    everything: ReportData, table: Callable[[ReportData], str]
) -> None:
    written = table(everything)
    assert not DANGEROUS & set(written)
    assert not [cell for row in csv.reader(io.StringIO(written)) for cell in row if cell[:1] in ("=", "@", "\t")]


def test_that_hostile_names_of_sweeps_tasks_and_files_stay_text_in_the_pdf(
    everything: ReportData, tmp_path: Path
) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf(everything))
    text = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True).stdout
    assert not DANGEROUS & set(text)
    assert squeezed(text).count("<script>alert(1)</script>") > 20


def texts_of(model: QAbstractItemModel) -> str:
    """All that a table shows, and says to who cannot see it."""
    roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole)
    cells = [
        str(model.data(model.index(row, column), role) or "")
        for row in range(model.rowCount())
        for column in range(model.columnCount())
        for role in roles
    ]
    return "".join(cells)


def test_that_tables_logs_and_problems_of_the_window_show_it_as_text(qtbot: QtBot) -> None:
    sweep = SweepTable()
    rows = [
        SweepRow(key=key, label=HOSTILE, method=key, parameters={}, state=RowState.FAILED, problem=fault)
        for key, fault in (("a", None), ("b", Problem(code="unexpected", message=HOSTILE, hint=HOSTILE)))
    ]
    sweep.show_sweep(SweepResult(id="1", original="/m", original_bytes=1, rows=tuple(rows)))
    figures = FigureTable()
    figures.show_figures(Figures(columns=("Task", HOSTILE), rows=((HOSTILE, "1"),)))
    log = LogView("log")
    for text in (HOSTILE, f"{HOSTILE}\n{HOSTILE}"):
        log.show_log(text)
    problem = Problem(code="unexpected", message=HOSTILE, hint=HOSTILE, details=HOSTILE)
    dialog = ProblemDialog(problem)
    for widget in (figures, log, dialog):
        qtbot.addWidget(widget)
    header = figures.horizontalHeaderItem(1)
    assert header is not None
    shown = (
        texts_of(sweep),
        texts_of(figures.model()),
        header.text(),
        log.toPlainText(),
        *(found.toPlainText() for found in dialog.findChildren(QPlainTextEdit)),
        *(found.text() for found in dialog.findChildren(PlainLabel)),
    )
    for one in shown:
        assert not DANGEROUS & set(one)
        assert "gnp.exe" in one


def test_that_a_calibration_sample_is_shown_as_text(qtbot: QtBot) -> None:
    view = SampleView((ShownSample(text=HOSTILE, origin=f"{HOSTILE}.jsonl:3", note=HOSTILE),))
    qtbot.addWidget(view)
    shown = [edit.toPlainText() for edit in view.findChildren(QPlainTextEdit)]
    shown += [label.text() for label in view.findChildren(PlainLabel)]
    assert [one for one in shown if "gnp.exe" in one]
    assert not DANGEROUS & set("".join(shown))


def test_that_the_end_of_a_worker_s_log_steers_no_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text(HOSTILE)
    details = last_lines(log)
    Output(as_json=False).problem(Problem(code="worker-died", message="It died.", hint="Look.", details=details))
    printed = capsys.readouterr().err
    assert not DANGEROUS & set(printed)
    assert MARKUP in printed
    assert literal(STEERING.replace("\x85", "")) in printed
