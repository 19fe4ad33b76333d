import re
import subprocess
from pathlib import Path

import pytest
from report_runs import (
    NOW,
    TITLES,
    MadeUpStore,
    benchmark_run,
    compare_run,
    compress_run,
    evaluate_run,
    inspect,
    old_runs,
    one_run,
    six_runs,
    sources,
)

from core.paths import Home
from core.report.collect import collect
from core.report.data import CHAPTER_TITLES, ReportData
from core.report.pdf import pdf

HOSTILE = (
    '#panic("x") $x^2$ *bold* _it_ `raw` <label> @ref //comment /*c*/ <script>alert(1)</script> \\u{41} '
    "\x1b[31mred \u202egnp.exe = Heading"
)
SHOWN = HOSTILE.replace("\x1b", "[U+001B]").replace("\u202e", "[U+202E]")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def written(content: bytes, folder: Path) -> Path:
    path = folder / "report.pdf"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PDF of a report on one run."""
    folder = tmp_path_factory.mktemp("one")
    return written(pdf(one_run(Home(folder / "home"))), folder)


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PDF of a report on six runs with a sweep and a map of sensitivity."""
    folder = tmp_path_factory.mktemp("six")
    return written(pdf(six_runs(Home(folder / "home"))), folder)


def told(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def hostile_report(home: Home) -> ReportData:
    def hostile_inspect(path: Path) -> object:
        return inspect(path).model_copy(update={"name": HOSTILE, "architecture": HOSTILE, "licence": HOSTILE})

    store = MadeUpStore(
        (
            compress_run(1, "gptq-w4a16", name=HOSTILE),
            evaluate_run(2, ["gptq-w4a16"]),
            compare_run(3, ["gptq-w4a16"], prompt=HOSTILE, said=HOSTILE),
        )
    )
    return collect([1], store, home, sources=sources(inspect_model=hostile_inspect), now=NOW)


def test_that_a_report_on_one_run_has_pages_a_title_tags_and_the_accessible_standard(one: Path) -> None:
    path = one
    about = told("pdfinfo", path)
    assert int(re.findall(r"Pages:\s+(\d+)", about)[0]) >= 4
    assert re.search(r"Tagged:\s+yes", about)
    assert re.search(r"Title:\s+Testling-135M-Instruct, 58.% smaller", about)
    assert "A4" in about
    assert b"<pdfuaid:part>1</pdfuaid:part>" in path.read_bytes()
    text = told("pdftotext", "-layout", path, "-")
    assert "Testling-135M-Instruct, 58" in text
    assert "this is not serving speed" in " ".join(text.split())


def test_that_every_chapter_stands_in_the_outline_and_on_the_contents_page(six: Path) -> None:
    path = six
    outline = told("pdftohtml", "-xml", "-i", "-stdout", path).split("<outline>", 1)[1]
    contents = told("pdftotext", "-f", "2", "-l", "3", "-layout", path, "-")
    for title in CHAPTER_TITLES.values():
        assert title in outline
        assert title in contents


def test_that_charts_are_vectors_with_text_that_can_be_searched(six: Path) -> None:
    assert len(told("pdfimages", "-list", six).splitlines()) <= 2
    text = told("pdftotext", "-layout", six, "-")
    for words in ("% of tokens at or below", "noise floor", "gate near-lossless", "gate_up", "inter-token latency, ms"):
        assert words in text


def test_that_a_report_on_many_runs_is_accessible_and_stays_short(six: Path) -> None:
    about = told("pdfinfo", six)
    assert b"<pdfuaid:part>1</pdfuaid:part>" in six.read_bytes()
    assert re.search(r"Tagged:\s+yes", about)
    assert int(re.findall(r"Pages:\s+(\d+)", about)[0]) <= 36


def test_that_no_text_of_many_runs_leaves_the_page_and_none_is_smaller_than_print_can_hold(six: Path) -> None:
    found = told("pdftotext", "-bbox", six, "-")
    edges = [float(edge) for edge in re.findall(r'xMax="([\d.]+)"', found)]
    margin = 20 / 25.4 * 72
    assert max(edges) <= 595.3 - margin + 3
    fonts = told("pdftohtml", "-xml", "-i", "-stdout", six)
    # That program counts in pixels of a page drawn half as large again.
    assert min(float(size) for size in re.findall(r'<fontspec [^>]*size="(\d+)"', fonts)) / 1.5 > 6.6


def test_that_the_first_versions_results_make_a_report(home: Home, tmp_path: Path) -> None:
    path = written(pdf(old_runs(home)), tmp_path)
    assert b"<pdfuaid:part>1</pdfuaid:part>" in path.read_bytes()
    assert "All models compared" in told("pdftotext", path, "-")


def test_that_pages_are_numbered(one: Path) -> None:
    path = one
    count = int(re.findall(r"Pages:\s+(\d+)", told("pdfinfo", path))[0])
    assert f"{count} / {count}" in told("pdftotext", "-f", str(count), "-layout", path, "-")


def test_that_the_report_says_what_was_expected_and_what_it_was(one: Path, six: Path) -> None:
    text = told("pdftotext", "-layout", one, "-")
    assert "Expected and actual" in told("pdftotext", "-layout", six, "-")
    assert "Expected and actual" in text
    row = next(line for line in text.splitlines() if "Main memory" in line)
    assert {"1.21", "1.70", "1.41", "no"} <= set(row.split())
    assert "from 3 earlier runs of GPTQ W4A16 with this model on this machine." in " ".join(text.split())


def test_that_hostile_names_and_texts_appear_literally(home: Home, tmp_path: Path) -> None:
    path = written(pdf(hostile_report(home)), tmp_path)
    text = squeezed(told("pdftotext", path, "-"))
    assert text.count(squeezed(SHOWN)) >= 4
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_that_a_name_of_one_endless_word_stays_on_the_page(home: Home, tmp_path: Path) -> None:
    endless = "W" * 300

    def endless_inspect(path: Path) -> object:
        return inspect(path).model_copy(
            update={"name": endless, "architecture": endless, "quantization": endless, "path": Path("/") / endless}
        )

    methods = list(TITLES)
    store = MadeUpStore(
        (
            *(compress_run(i, one, name=endless, output=f"/{endless}") for i, one in enumerate(methods, 1)),
            evaluate_run(4, methods),
            benchmark_run(5, methods),
            compare_run(6, methods, prompt=endless, said=endless),
        )
    )
    report = collect([1, 2, 3], store, home, sources=sources(inspect_model=endless_inspect), now=NOW)
    path = written(pdf(report), tmp_path)
    edges = [float(found) for found in re.findall(r'xMax="([\d.]+)"', told("pdftotext", "-bbox", path, "-"))]
    margin = 20 / 25.4 * 72
    assert max(edges) <= 595.3 - margin + 2


def test_that_nothing_measured_is_said_in_words(home: Home, tmp_path: Path) -> None:
    report = collect([1], MadeUpStore((compress_run(1, "fp8-dynamic"),)), home, sources=sources(gpu=False), now=NOW)
    text = " ".join(told("pdftotext", "-layout", written(pdf(report), tmp_path), "-").split())
    assert "Not measured: FP8 dynamic" in text
    assert "No prompt was compared" in text
    assert "needs no calibration data" in text
    assert "No NVIDIA GPU was read" in text


def test_that_other_scripts_need_no_font_of_the_system(home: Home, tmp_path: Path) -> None:
    name = "模型-Модель-نموذج-🙂"

    def foreign(path: Path) -> object:
        return inspect(path).model_copy(update={"name": name})

    store = MadeUpStore((compress_run(1, "fp8-dynamic", name=name),))
    report = collect([1], store, home, sources=sources(inspect_model=foreign), now=NOW)
    path = written(pdf(report, system_fonts=False), tmp_path)
    assert re.search(r"Tagged:\s+yes", told("pdfinfo", path))
    assert "Модель" in told("pdftotext", path, "-")


def test_that_only_the_chosen_chapters_are_printed(home: Home, tmp_path: Path) -> None:
    store = MadeUpStore((compress_run(1, "fp8-dynamic"),))
    report = collect([1], store, home, ["reproduce"], sources=sources(), now=NOW)
    text = told("pdftotext", written(pdf(report), tmp_path), "-")
    assert "How to reproduce and serve" in text
    assert "The models" not in text


def test_that_the_same_data_gives_the_same_bytes(home: Home) -> None:
    report = one_run(home)
    assert pdf(report) == pdf(report)
