import subprocess
import sys

PAGES = ("ui.pages.runs", "ui.pages.compare", "ui.pages.benchmarks", "ui.pages.reports")
HEAVY = ("numpy", "pyqtgraph", "PySide6.QtPdf", "PySide6.QtPdfWidgets", "torch", "transformers", "matplotlib")


def test_that_importing_the_pages_loads_nothing_heavy() -> None:
    program = f"import sys, {', '.join(PAGES)}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
