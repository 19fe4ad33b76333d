import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from run_values import (
    GIB,
    PROOF,
    START,
    a_failed_run,
    a_run,
    a_sample,
    an_interrupted_run,
    finished_event,
    running_events,
    told,
)

from core.jobs.protocol import FinishReason, Hello, Warned
from core.jobs.run import RunKind
from core.jobs.snapshot import Phase
from ui.pages.runs import RunsPage
from ui.widgets.error_plot import ErrorPlot
from ui.widgets.run_list import Heading, RunList, RunRow
from ui.widgets.stage_list import StageList
from ui.widgets.telemetry_plot import LoadPlot, TelemetryPlot


@pytest.fixture
def page(qtbot: QtBot) -> RunsPage:
    made = RunsPage(clock=lambda: START + 31)
    qtbot.addWidget(made)
    made.resize(1100, 750)
    made.show()
    return made


def words(page: QWidget, name: str) -> str:
    label = page.findChild(QLabel, name)
    assert label is not None
    return label.text()


def press(page: QWidget, name: str) -> None:
    button = page.findChild(QPushButton, name)
    if button is not None:
        assert button.isVisible()
        button.click()
        return
    action = page.findChild(QAction, name)
    assert action is not None
    assert action.isVisible()
    action.trigger()


def rows(page: QWidget) -> list[str | int]:
    found = page.findChild(RunList, "runs.list")
    assert found is not None
    return [row.title if isinstance(row, Heading) else row.run_id for row in found.rows()]


def row(page: QWidget, run_id: int) -> RunRow:
    found = page.findChild(RunList, "runs.list")
    assert found is not None
    return next(row for row in found.rows() if isinstance(row, RunRow) and row.run_id == run_id)


def test_that_an_empty_history_says_what_to_do(page: RunsPage) -> None:
    page.show_runs(())
    empty = page.findChild(QWidget, "runs.empty")
    assert empty is not None
    assert empty.isVisible()


def test_that_runs_stand_under_now_next_and_before(page: RunsPage) -> None:
    page.show_runs((a_run(1), a_run(2), a_run(3, Phase.RUNNING), a_run(4, Phase.QUEUED), a_run(5, Phase.QUEUED)))
    assert rows(page) == ["Now", 3, "Next", 4, 5, "Before", 2, 1]


@pytest.mark.parametrize(
    ("run", "tag"),
    [
        (a_run(1, result={"proof": PROOF}), "proved"),
        (a_run(1, result={"proof": PROOF | {"passed": False}}), "failed proof"),
        (a_run(1, reason=FinishReason.CANCELLED), "cancelled"),
        (a_failed_run(1), "failed"),
        (a_failed_run(1, "proof-failed"), "failed proof"),
        (an_interrupted_run(1), "interrupted"),
        (a_run(1, kind=RunKind.EVALUATE), "measured"),
        (a_run(1, kind=RunKind.IMPORT), "imported"),
    ],
)
def test_that_a_tag_says_how_a_run_ended(page: RunsPage, run: object, tag: str) -> None:
    page.show_runs((run,))  # type: ignore[arg-type]
    assert row(page, 1).tag == tag
    assert words(page, "runs.state") == tag


def test_that_an_interrupted_run_says_what_happened_and_offers_to_start_again(page: RunsPage) -> None:
    page.show_runs((an_interrupted_run(1),))
    again = page.findChild(QPushButton, "runs.again")
    assert again is not None
    assert again.isVisible()
    assert again.text() == "Start again"
    assert "went down" in words(page, "runs.problem.message")


def test_that_a_run_with_a_checkpoint_offers_to_resume_and_to_start_again(page: RunsPage, qtbot: QtBot) -> None:
    page.show_runs((an_interrupted_run(1), a_run(2, Phase.QUEUED)))
    page.select(1)
    resume = page.findChild(QPushButton, "runs.resume")
    assert resume is not None
    assert not resume.isVisible()
    page.show_resumable(1, "from layer 17 of 30")
    assert resume.text() == "Resume from layer 17 of 30"
    with qtbot.waitSignal(page.resume_requested) as asked:
        press(page, "runs.resume")
    assert asked.args == [1]
    again = page.findChild(QPushButton, "runs.again")
    assert again is not None
    assert again.text() == "Start again"
    page.select(2)
    assert not resume.isVisible()


def test_that_queued_runs_stand_in_their_order_and_say_what_they_wait_for(page: RunsPage) -> None:
    first = a_run(1, Phase.QUEUED).model_copy(update={"position": 9, "held": True})
    second = a_run(2, Phase.QUEUED).model_copy(update={"position": 3, "follows": 7})
    page.show_runs((first, second, a_run(7, Phase.RUNNING)))
    assert rows(page) == ["Now", 7, "Next", 2, 1]
    assert (row(page, 1).when, row(page, 2).when) == ("held", "after 7")


def test_that_the_recipe_stands_in_words_under_the_title(page: RunsPage) -> None:
    page.show_runs((a_run(7),))
    assert words(page, "runs.title") == "Method 7"
    assert words(page, "runs.subtitle") == "tiny · group 64, static ordering · 128 samples of self-made chat · run 7"


def test_that_the_first_run_is_selected_and_told_once(page: RunsPage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page.selected) as told_signal:
        page.show_runs((a_run(1), a_run(2)))
    assert told_signal.args == [2]
    with qtbot.assertNotEmitted(page.selected):
        page.show_runs((a_run(1), a_run(2), a_run(3, Phase.QUEUED)))
    assert page.current == 2


def test_that_a_snapshot_shows_stages_time_left_and_percent(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    page.show_snapshot(3, told(*running_events()))
    stages = page.findChild(StageList)
    assert stages is not None
    assert stages.details() == (("Load", "12 s"), ("Calibrate and compress", "layer 19 of 32"), ("Save", ""))
    assert words(page, "stages.time") == "13 s"
    assert row(page, 3).when == "59 %"


def test_that_a_cancelled_stage_says_so(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    end = finished_event().model_copy(update={"reason": FinishReason.CANCELLED})
    page.show_snapshot(3, told(*running_events(), end))
    stages = page.findChild(StageList)
    assert stages is not None
    assert stages.details()[1] == ("Calibrate and compress", "cancelled here")
    assert words(page, "stages.time") == "1 min"


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("runs.copy_command", "copy_command_requested"),
        ("runs.copy_script", "copy_script_requested"),
        ("runs.show_folder", "show_folder_requested"),
        ("runs.retry", "retry_requested"),
        ("runs.rerun", "rerun_requested"),
        ("runs.report", "report_requested"),
        ("runs.compare", "compare_requested"),
        ("runs.measure", "measure_requested"),
        ("runs.log", "log_requested"),
    ],
)
def test_that_a_finished_run_offers_its_next_steps(page: RunsPage, qtbot: QtBot, name: str, signal: str) -> None:
    page.show_runs((a_run(9, result={"bytes": 10, "original_bytes": 20, "proof": PROOF}),))
    with qtbot.waitSignal(getattr(page, signal)) as told_signal:
        press(page, name)
    assert told_signal.args == [9]


def test_that_cancel_is_told_once_and_answers_at_once(page: RunsPage, qtbot: QtBot) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    button = page.findChild(QPushButton, "runs.cancel")
    assert button is not None
    with qtbot.waitSignal(page.cancel_requested) as told_signal:
        button.click()
    assert told_signal.args == [3]
    assert button.text() == "Cancelling…"
    assert not button.isEnabled()


def test_that_a_result_gives_size_and_proof_with_details(page: RunsPage) -> None:
    page.show_runs((a_run(9, result={"bytes": 113_000_000, "original_bytes": 269_000_000, "proof": PROOF}),))
    shown = [label.text() for label in page.findChildren(QLabel) if label.isVisible()]
    assert "113 MB" in shown
    assert "was 269 MB, 58 % smaller" in shown
    assert "1 of 1 checks passed in a fresh process, 4 s" in shown
    assert "210 of 210 are quantized" not in shown
    press(page, "runs.result.unfold")
    shown = [label.text() for label in page.findChildren(QLabel) if label.isVisible()]
    assert "210 of 210 are quantized" in shown


def test_that_a_failure_shows_message_hint_and_folded_details_as_plain_text(page: RunsPage) -> None:
    page.show_runs((a_failed_run(4),))
    assert words(page, "runs.problem.message") == "The worker ended <b>early</b>."
    label = page.findChild(QLabel, "runs.problem.message")
    assert label is not None
    assert label.textFormat().name == "PlainText"
    details = page.findChild(QPlainTextEdit, "runs.problem.details")
    assert details is not None
    assert not details.isVisible()
    press(page, "runs.problem.unfold")
    assert details.isVisible()
    assert details.toPlainText() == "line 1\nline 2"


def test_that_warnings_are_shown_once_each(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    warning = Warned(code="short", message="Two samples are short.")
    page.show_snapshot(3, told(Hello(protocol=1, app="t", pid=1), warning, warning))
    shown = [label.text() for label in page.findChildren(QLabel) if label.isVisible()]
    assert shown.count("Two samples are short.") == 1


def test_that_telemetry_marks_the_stages_and_draws_gpu_memory(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    page.show_snapshot(3, told(*running_events()))
    page.show_samples(3, tuple(a_sample(second) for second in range(0, 30, 2)))
    page.add_sample(3, a_sample(31, ours=9 * GIB))
    memory = page.findChild(TelemetryPlot)
    assert memory is not None
    assert [(mark.seconds, mark.title) for mark in memory.plot.marks()] == [
        (0.0, "Load"),
        (12.0, "Calibrate and compress"),
    ]
    assert memory.plot.series().peak(0) == 9 * GIB
    assert words(page, "runs.memory.note") == "peak 9.0 of 24 GiB"
    assert not page.findChild(QWidget, "runs.gpu_note").isVisible()  # type: ignore[union-attr]
    errors = page.findChild(ErrorPlot)
    assert errors is not None
    assert [line.kind for line in errors.lines()] == ["down_proj"]


def test_that_without_a_gpu_memory_and_processor_are_drawn_and_the_reason_is_said(page: RunsPage) -> None:
    page.show_no_gpu("The NVIDIA driver is not installed.")
    page.show_runs((a_run(3, Phase.RUNNING),))
    page.show_samples(3, (a_sample(0, gpu=False), a_sample(1, gpu=False)))
    assert words(page, "runs.memory.note") == "peak 2.0 of 16 GiB"
    assert words(page, "runs.load.note") == "now 50 % · this job 1.9 cores"
    assert words(page, "runs.gpu_note") == "The NVIDIA driver is not installed."
    load = page.findChild(LoadPlot)
    assert load is not None
    assert load.plot.series().columns()[1][0] == [50.0, 50.0]


def test_that_the_expected_peak_stands_beside_the_measured_one(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    page.show_samples(3, (a_sample(0),))
    page.show_prediction(3, 3 * GIB, 5 * GIB)
    assert words(page, "runs.memory.note") == "peak 4.0 of 24 GiB · predicted 3.0 to 5.0 GiB"


def test_that_a_finished_run_is_summed_up_by_its_mean_load(page: RunsPage) -> None:
    page.show_runs((a_run(3),))
    page.show_samples(3, (a_sample(0, gpu=False), a_sample(1, gpu=False)))
    assert words(page, "runs.load.note") == "mean 50 %"


def test_that_a_reading_the_driver_lacks_is_a_gap(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    page.show_samples(3, (a_sample(0), a_sample(1, ours=None), a_sample(2)))
    memory = page.findChild(TelemetryPlot)
    assert memory is not None
    assert memory.plot.series().columns()[1][0] == [4.0 * GIB, None, 4.0 * GIB]


def test_that_the_axes_stand_still_between_steps(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING),))
    page.show_samples(3, (a_sample(0), a_sample(1)))
    memory = page.findChild(TelemetryPlot)
    assert memory is not None
    box = memory.plot.findChildren(QWidget)[0].getViewBox()  # type: ignore[attr-defined]
    before = box.viewRange()
    for second in range(2, 29):
        page.add_sample(3, a_sample(second))
    assert box.viewRange() == before


def test_that_telemetry_of_another_run_is_not_drawn(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.RUNNING), a_run(2)))
    page.select(2)
    page.add_sample(3, a_sample(0))
    assert page.findChild(TelemetryPlot) is None


def test_that_the_log_follows_its_end_and_shows_markup_literally(page: RunsPage) -> None:
    page.show_runs((a_run(2),))
    press(page, "runs.log")
    log = page.findChild(QPlainTextEdit, "runs.log_text")
    assert log is not None
    text = "".join(f"<b>line</b> {number}\n" for number in range(300))
    page.show_log(2, text)
    page.show_log(2, text + "the end")
    assert log.toPlainText() == text + "the end"
    assert log.verticalScrollBar().value() == log.verticalScrollBar().maximum()
    log.verticalScrollBar().setValue(0)
    page.show_log(2, text + "the end\nafter it")
    assert log.verticalScrollBar().value() == 0


def test_that_a_very_long_log_is_bounded(page: RunsPage) -> None:
    page.show_runs((a_run(2),))
    page.show_log(2, "".join(f"{number}\n" for number in range(20_000)))
    log = page.findChild(QPlainTextEdit, "runs.log_text")
    assert log is not None
    assert log.blockCount() <= 5_000
    assert "19999" in log.toPlainText()


def test_that_a_queued_run_says_that_it_waits(page: RunsPage) -> None:
    page.show_runs((a_run(3, Phase.QUEUED),))
    shown = [label.text() for label in page.findChildren(QLabel) if label.isVisible()]
    assert "It starts in a moment." in shown


def test_that_a_rehearsal_offers_nothing_to_compare_or_measure(page: RunsPage) -> None:
    for number, kind, offered in ((7, RunKind.COMPRESS, True), (8, RunKind.REHEARSE, False)):
        run = a_run(number).model_copy(update={"kind": kind})
        page.show_runs((run,))
        for name in ("runs.compare", "runs.measure"):
            found = page.findChild(QPushButton, name)
            assert found is not None
            assert found.isHidden() is not offered, (kind, name)
