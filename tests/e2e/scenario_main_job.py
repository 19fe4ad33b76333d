"""The main job as a person does it: choose, press, watch, compare, measure, print. Usage: PICTURES_FOLDER PDF_PATH."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from unittest.mock import patch

from driver import Driver, drive
from PySide6.QtWidgets import QFileDialog, QPlainTextEdit, QTableView

from core.measure.results import BenchmarkSuite, EvaluationSuite, Sampling
from ui.pages.benchmarks import BenchmarksPage
from ui.pages.compare import ComparePage

PICTURES, PDF = Path(sys.argv[1]), Path(sys.argv[2])
PROMPT = "What is the capital of France? Answer in one sentence."


async def scenario(driver: Driver) -> None:
    """Every step waits for what the window shows, as a person would."""
    await driver.until(lambda: driver.find("models.compress").isEnabled(), "the starter model can be compressed")
    driver.picture("1-models")
    await driver.click("models.compress")
    await driver.until(lambda: driver.find("compress.run").isEnabled(), "a job can be started")
    await driver.click("method.fp8-dynamic")
    await driver.until(lambda: driver.find("compress.run").isEnabled(), "the FP8 job can be started")
    driver.picture("2-compress")
    await driver.click("compress.run")
    await driver.until(lambda: driver.window.current_page == "runs", "the Runs page shows the job")
    await driver.until(lambda: driver.find("runs.cancel").isVisible(), "the job runs")
    driver.picture("3-runs-live")
    await driver.until(lambda: _text(driver, "runs.state") == "proved", "the run is proved", 300)
    driver.picture("4-runs-proved")

    await driver.click("runs.compare")
    page = driver.window.page("compare")
    assert isinstance(page, ComparePage)
    page.set_sampling(Sampling(max_tokens=24))
    await driver.until(lambda: len(page.paths()) == 2, "original and compressed stand side by side")
    await driver.type_into("compare.prompt", PROMPT)
    await driver.click("compare.run")
    await driver.until(lambda: page.running, "the models answer")
    await driver.until(lambda: not page.running, "both have answered", 240)
    for column in (0, 1):
        assert "Paris" in driver.find(f"compare.column{column}.text", QPlainTextEdit).toPlainText()
    driver.picture("5-compare")

    driver.window.show_page("runs")
    await driver.click("runs.measure")
    await driver.until(lambda: driver.window.current_page == "benchmarks", "the Benchmarks page is there")
    benchmarks = driver.window.page("benchmarks")
    assert isinstance(benchmarks, BenchmarksPage)
    benchmarks.set_suites(
        EvaluationSuite(tokens=512, chat_prompts=2, chat_tokens=16),
        BenchmarkSuite(batches=(1, 2), prompt_tokens=32, output_tokens=6, repeats=2),
    )
    await driver.click("benchmarks.measure")
    await driver.click("benchmarks.measure.start")
    await driver.until(lambda: driver.find("benchmarks.busy").isVisible(), "the measuring began")
    await driver.until(lambda: not driver.find("benchmarks.busy").isVisible(), "everything is measured", 480)
    table = driver.find("benchmarks.table", QTableView).model()
    assert table.rowCount() == 2
    shown = {str(table.index(1, column).data()) for column in range(table.columnCount())}
    assert "163 MB" in shown, shown
    driver.picture("6-benchmarks")

    driver.window.show_page("runs")
    await driver.click("runs.report")
    await driver.until(lambda: driver.find("reports.export_pdf").isEnabled(), "the report can be exported", 120)
    with patch.object(QFileDialog, "getSaveFileName", return_value=(str(PDF), "")):
        await driver.click("reports.export_pdf")
        await driver.until(PDF.exists, "the PDF is written", 120)
    await driver.until(lambda: driver.find("reports.pages").isVisible(), "the preview is there", 60)
    await asyncio.sleep(1.5)  # QtPdf draws its pages a moment later, and says nothing when it has.
    driver.picture("7-reports")


def _text(driver: Driver, name: str) -> str:
    return str(driver.find(name).property("text") or driver.find(name).accessibleName())


if __name__ == "__main__":
    drive(scenario, PICTURES)
