import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from report_runs import NOW, MadeUpStore, compare_run, compress_run, inspect, one_run, six_runs, sources

from core.errors import BitpressError
from core.jobs.run import OWN_CODE
from core.paths import Home
from core.report.card import card
from core.report.collect import collect
from core.report.data import ReportData
from core.report.export import FORMATS, export
from core.report.html import html
from core.report.reproduce import python_script, serve_command
from core.report.tables import as_csv, as_json, as_model_csv

HOSTILE = (
    '=HYPERLINK("http://evil.example")<img src=x onerror=alert(1)> ](javascript:x) | `a` \x1b[2J\u202e\u200b\ud800'
)
VOID = {"meta", "br", "col"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def hostile_report(home: Home) -> ReportData:
    def hostile_inspect(path: Path) -> object:
        return inspect(path).model_copy(update={"name": HOSTILE, "licence": "x: [\n- y"})

    store = MadeUpStore(
        (compress_run(1, "gptq-w4a16", name=HOSTILE), compare_run(2, ["gptq-w4a16"], prompt=HOSTILE, said=HOSTILE))
    )
    return collect([1], store, home, sources=sources(inspect_model=hostile_inspect), now=NOW)


class Seen(HTMLParser):
    """Tags, attributes and text of a page; unclosed tags are an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_that_the_page_is_whole_alone_and_may_load_and_run_nothing(home: Home) -> None:
    page = html(six_runs(home))
    seen = Seen(page)
    assert seen.open == []
    assert "default-src 'none'" in dict(seen.attributes)["content"] or "Content-Security-Policy" in page
    assert {"script", "img", "iframe", "link", "object"}.isdisjoint(seen.tags)
    assert not [value for name, value in seen.attributes if name in ("src", "href") and not str(value).startswith("#")]
    assert seen.tags.count("svg") >= 6


def test_that_ids_in_the_page_are_its_own(home: Home) -> None:
    seen = Seen(html(one_run(home)))
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_that_hostile_text_stays_text_on_the_page(home: Home) -> None:
    page = html(hostile_report(home))
    seen = Seen(page)
    assert "img" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert '=HYPERLINK("http://evil.example")<img src=x onerror=alert(1)>' in seen.text
    assert "[U+001B][2J[U+202E][U+200B]" in seen.text
    assert not set(page) & {"\x1b", "\u202e", "\u200b"}
    page.encode("utf-8")


def test_that_json_parses_back_to_the_same_data(home: Home) -> None:
    report = six_runs(home)
    written = as_json(report)
    assert json.loads(written)["schema_version"] == 1
    assert ReportData.model_validate_json(written) == report


def test_that_json_is_ascii_whatever_the_names_hold(home: Home) -> None:
    written = as_json(hostile_report(home))
    assert written.isascii()
    assert "\x1b" not in written
    assert json.loads(written)["original"]["name"] == HOSTILE


def test_that_csv_has_one_figure_a_row_with_its_interval_and_conditions(home: Home) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(one_run(home)))))
    kl = next(row for row in rows if row["figure"] == "KL divergence, mean" and row["conditions"].startswith("8192"))
    assert (kl["run"], float(kl["value"]), kl["unit"]) == ("3", 0.211, "nats per token")
    assert float(kl["low"]) < float(kl["value"]) < float(kl["high"])
    rates = [row for row in rows if row["figure"] == "tokens per second"]
    assert [row["run"] for row in rates] == ["", "", "3", "3"]
    assert all("transformers 5.17.2, cpu, 2 threads, bfloat16" in row["conditions"] for row in rates)


def test_that_csv_holds_every_new_figure_with_its_unit(home: Home) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(six_runs(home)))))
    found = {(row["run"], row["figure"]) for row in rows}
    assert {
        ("", "accuracy"),
        ("3", "reverse KL divergence, mean"),
        ("3", "change of the true token's probability, RMS"),
        ("3", "same five likeliest tokens"),
        ("3", "correlation of log-likelihoods"),
        ("3", "McNemar p, Holm"),
        ("3", "recovery above chance"),
        ("3", "inter-token latency, 99 %"),
        ("3", "energy per token"),
        ("3", "gate"),
        ("4", "measurable difference"),
    } <= found


def test_that_a_table_of_models_has_a_row_for_each_and_a_column_for_every_figure(home: Home) -> None:
    rows = list(csv.DictReader(io.StringIO(as_model_csv(six_runs(home)))))
    assert [row["run"] for row in rows] == ["", "1", "2", "3", "4", "5", "6"]
    assert [row["size on disk, bytes"] for row in rows][:2] == ["269060552", "163000000"]
    assert float(rows[3]["KL divergence, mean, nats per token"]) == 0.211
    assert rows[3]["KL divergence, mean, low, nats per token"] != ""
    assert float(rows[3]["KL divergence, mean (chat), nats per token"]) < 0.211
    assert rows[3]["accuracy (bitpress_facts), share"] != rows[0]["accuracy (bitpress_facts), share"]
    assert rows[0]["tokens per second (vllm, batch 64, 512 in, 256 out), tokens/s"] != ""


def test_that_no_text_cell_of_the_table_of_models_can_become_a_formula(home: Home) -> None:
    rows = list(csv.reader(io.StringIO(as_model_csv(hostile_report(home)))))
    assert len({len(row) for row in rows}) == 1
    risky = [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell) for cell in risky)
    assert any(cell.startswith("'=HYPERLINK(") for row in rows for cell in row)


def test_that_no_text_cell_can_become_a_formula(home: Home) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(hostile_report(home)))))
    assert {len(row) for row in rows} == {8}
    risky = [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell) for cell in risky)
    assert any(cell.startswith("'=HYPERLINK(") for row in rows for cell in row)


def test_that_the_card_has_a_front_matter_and_the_figures(home: Home) -> None:
    text = card(one_run(home))
    front = yaml.safe_load(text.split("---\n")[1])
    assert front == {
        "library_name": "transformers",
        "license": "apache-2.0",
        "tags": ["llmcompressor", "compressed-tensors", "gptq-w4a16"],
    }
    assert "| Mean KL divergence, nats per token | – | 0.211 (0.194 to 0.228) |" in text
    evaluation = text.split("### Evaluation", 1)[1].split("###", 1)[0]
    assert "| Reverse KL divergence, 99.9 % | 7.22 | – |" in evaluation
    assert "| Same five likeliest tokens | 80.9" in evaluation
    assert "| Noise floor, mean KL: Rounding of the activations | 0.000323 |" in evaluation
    assert "| Facts, four choices | 220 |" in evaluation
    assert "this is not serving speed" in text
    assert "```sh\nvllm serve" in text


def test_that_the_card_and_the_report_say_which_own_code_was_run(home: Home) -> None:
    told = [{"model": "some<b>/body", "fingerprint": "ab" * 32}]
    run = compress_run(3, "fp8-dynamic")
    run = run.model_copy(update={"settings": {**run.settings, OWN_CODE: told}})
    report = collect([3], MadeUpStore((run,)), home, sources=sources())
    (sentence,) = report.runs[0].own_code
    assert "ab" * 32 in sentence
    assert sentence in report.runs[0].warnings
    assert "Python code that came with some" in card(report)
    assert "<b>" not in card(report)
    assert serve_command(run).endswith("--trust-remote-code")
    assert python_script(run) == ""


def test_that_hostile_text_cannot_become_markup_in_the_card(home: Home) -> None:
    text = card(hostile_report(home))
    prose = text.split("---\n", 2)[2].split("```")[0]
    assert "<img" not in prose
    assert "](javascript" not in prose
    assert "http://evil" not in prose
    assert set(yaml.safe_load(text.split("---\n")[1])) == {"library_name", "tags"}
    assert not set(text) & {"\x1b", "\u202e", "\u200b"}


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_that_each_suffix_writes_its_own_file_and_leaves_nothing_beside_it(
    home: Home, tmp_path: Path, suffix: str
) -> None:
    folder = tmp_path / "out" / "deeper"
    export(hostile_report(home), folder / f"report{suffix.upper()}")
    assert [path.name for path in folder.iterdir()] == [f"report{suffix.upper()}"]
    assert (folder / f"report{suffix.upper()}").stat().st_size > 1000


def test_that_an_unknown_suffix_is_refused_before_anything_is_written(home: Home, tmp_path: Path) -> None:
    with pytest.raises(BitpressError) as refused:
        export(one_run(home), tmp_path / "out" / "report.docx")
    assert refused.value.problem.code == "unknown-format"
    assert ".pdf" in refused.value.problem.hint
    assert not (tmp_path / "out").exists()


def test_that_a_place_which_cannot_be_written_is_refused_and_the_old_file_stays(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(BitpressError) as refused:
        export(one_run(home), tmp_path / "file" / "report.csv")
    assert refused.value.problem.code == "not-writable"
    (tmp_path / "report.csv").mkdir()
    with pytest.raises(BitpressError):
        export(one_run(home), tmp_path / "report.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home", "report.csv"]


def test_that_importing_the_report_loads_no_library_that_is_slow() -> None:
    code = (
        "import sys, core.report.collect, core.report.export, core.report.html, core.report.pdf, core.report.card;"
        "print({'matplotlib', 'typst', 'yaml', 'numpy', 'torch', 'PySide6'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"
