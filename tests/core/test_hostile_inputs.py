"""What the torture of inputs found once, and what it was mended for."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from model_files import LLAMA, make_model

from core.calibration.read import read_samples
from core.calibration.sets import SetStore, set_samples
from core.calibration.spec import CalibrationSample, CalibrationSpec, PinnedSet
from core.errors import BitpressError
from core.jobs.journal import EVENTS_FILE, read_events
from core.jobs.protocol import Warned, encode
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
from core.jobs.sweep_store import SweepStore
from core.measure.task_files import find_tasks
from core.methods.presets import read_text_file
from core.methods.recipe_document import RecipeDocument, document_error, read_document
from core.models.artifact import MANIFEST_FILE, read_manifest
from core.models.inspect import inspect
from core.paths import Home
from core.regular_file import read_beginning, read_regular
from core.settings import Settings, load_settings

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}


def refused(read: object, *arguments: object) -> BitpressError:
    assert callable(read)
    with pytest.raises(BitpressError) as caught:
        read(*arguments)
    assert caught.value.problem.hint
    caught.value.problem.model_dump_json()
    return caught.value


def samples(source: Path) -> tuple[CalibrationSample, ...]:
    return read_samples(CalibrationSpec(source=str(source)))


def stream(path: Path, table: pa.Table, **options: object) -> Path:
    settings = pa.ipc.IpcWriteOptions(**options)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema, options=settings) as writer:
        writer.write_table(table)
    return path


def saved_set(folder: Path) -> Path:
    folder.mkdir()
    stream(folder / "data.arrow", pa.Table.from_pylist([CHAT]))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    return folder


# Files ------------------------------------------------------------------------------------------------------------


def test_that_a_pipe_a_device_and_a_folder_are_no_files_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero", ".", "missing", "a\0b"):
        with pytest.raises(OSError, match=r".+"):
            read_beginning(tmp_path / name, 10)


def test_that_a_link_is_followed_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular(tmp_path / "link", 4)
    with pytest.raises(OSError, match="symbolic"):
        read_regular(tmp_path / "link", 5, follow=False)


def test_that_a_model_of_pipes_keeps_nobody_waiting(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    for name in ("README.md", MANIFEST_FILE, "tokenizer_config.json"):
        os.mkfifo(folder / name)
    assert refused(inspect, folder).problem.code == "bad-config"
    (folder / "tokenizer_config.json").unlink()
    assert inspect(folder).licence == ""
    os.mkfifo(tmp_path / "recipe.yaml")
    assert refused(read_text_file, tmp_path / "recipe.yaml").problem.code == "no-such-file"


def test_that_a_link_to_itself_is_refused_like_one_that_leads_out(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / MANIFEST_FILE).symlink_to(MANIFEST_FILE)
    assert read_manifest(folder) is None
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    assert refused(inspect, folder).problem.code == "outside-folder"


def test_that_kept_files_that_are_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(encode(Warned(code="a", message="b")))
    (tmp_path / EVENTS_FILE).symlink_to("elsewhere")
    assert read_events(tmp_path) == ()
    home = Home(tmp_path / "home")
    (home.sweeps / "1").mkdir(parents=True)
    (home.sweeps / "1/sweep.json").symlink_to(tmp_path / "elsewhere")
    assert refused(SweepStore(home).get, "1").problem.code == "sweep-damaged"
    pinned = PinnedSet(name="one", sha256="0" * 64, file=str(tmp_path / EVENTS_FILE))
    assert refused(set_samples, pinned).problem.code == "calibration-unreadable"
    store = SetStore(tmp_path / "sets")
    store.create("one", CalibrationSpec(source="built-in"), [CalibrationSample(kind="text", text="a")])
    (tmp_path / "sets/sets/two.json").symlink_to("one.json")
    assert refused(store.get, "two").problem.code == "calibration-set-damaged"


def test_that_settings_nested_without_end_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("[" * 100_000)
    assert load_settings(path) == Settings()
    assert path.with_suffix(".bad").exists()


# Calibration ------------------------------------------------------------------------------------------------------


def test_that_a_claim_of_a_compressed_buffer_is_checked_before_room_is_made_for_it(tmp_path: Path) -> None:
    table = pa.table({"text": ["some words " * 500] * 50})
    path = stream(tmp_path / "a.arrow", table, compression="zstd")
    assert len(samples(path)) == 50
    content = path.read_bytes()
    claimed = (50 * 5500).to_bytes(8, "little")
    assert content.count(claimed) == 1
    path.write_bytes(content.replace(claimed, (3 << 30).to_bytes(8, "little")))
    problem = refused(samples, path).problem
    assert problem.code == "calibration-format"
    assert "3,221,22" in problem.message


def test_that_a_list_of_a_billion_nothings_is_no_sample(tmp_path: Path) -> None:
    nothing = pa.ListArray.from_arrays(pa.array([0, 10**9], pa.int32()), pa.nulls(10**9))
    path = stream(tmp_path / "a.arrow", pa.table({"messages": nothing}))
    assert path.stat().st_size < 1000
    assert "more than a sample can" in refused(samples, path).problem.message


def test_that_a_parquet_bomb_is_refused_by_its_own_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a" * (4 << 20)]}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 16 << 10
    monkeypatch.setattr("core.calibration.arrow_bounds.LARGEST_BATCH", 1 << 20)
    assert "unpack to" in refused(samples, path).problem.message
    monkeypatch.setattr("core.calibration.arrow_bounds.LARGEST_BATCH", 8 << 20)
    assert len(samples(path)) == 1


def test_that_a_length_beyond_the_file_allocates_nothing(tmp_path: Path) -> None:
    path = stream(tmp_path / "a.arrow", pa.table({"text": ["one"]}))
    content = bytearray(path.read_bytes())
    for place in range(0, len(content) - 8, 8):
        spoiled = bytearray(content)
        spoiled[place : place + 8] = (2**40).to_bytes(8, "little")
        path.write_bytes(spoiled)
        causes: list[BaseException | None] = []
        try:
            samples(path)
        except BitpressError as error:
            causes.append(error.__cause__)
        assert not any(isinstance(cause, MemoryError) for cause in causes), place


@pytest.mark.parametrize("files", [7, {"a": 1}, "data.arrow", [[1]], [None], []])
def test_that_a_saved_set_that_names_no_files_is_refused(tmp_path: Path, files: object) -> None:
    folder = saved_set(tmp_path / "set")
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    assert refused(samples, folder).problem.code == "calibration-format"


@pytest.mark.parametrize("name", ["data.arrow", "state.json"])
def test_that_a_link_out_of_a_saved_set_is_not_followed(tmp_path: Path, name: str) -> None:
    folder = saved_set(tmp_path / "set")
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert refused(samples, folder).problem.code == "calibration-link"


def test_that_links_of_the_hub_cache_are_followed_and_others_are_not(tmp_path: Path) -> None:
    repository = tmp_path / "datasets--org--name"
    data = repository / "snapshots/abc/data"
    data.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs/123").write_text(json.dumps(CHAT))
    (data / "a.jsonl").symlink_to("../../../blobs/123")
    assert len(samples(data)) == len(samples(data.parent)) == 1
    (tmp_path / "secret").write_text(json.dumps(CHAT))
    (data / "b.jsonl").symlink_to(tmp_path / "secret")
    assert refused(samples, data).problem.code == "calibration-link"
    assert len(samples(data / "b.jsonl")) == 1, "a file that somebody chose himself"


def test_that_halves_of_characters_become_the_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\\ud800b"}\n{"messages": [{"role": "user", "content": "\\udfff"}]}\n')
    first, second = samples(path)
    assert (first.text, second.messages[0]["content"]) == ("a\ufffdb", "\ufffd")
    path.write_text('{"messages": [{"\\ud800": 1}]}\n')
    refused(samples, path)


def test_that_a_home_of_nobody_is_said(tmp_path: Path) -> None:
    assert refused(samples, Path("~nobody-of-this-name/x")).problem.code == "calibration-missing"


# Documents --------------------------------------------------------------------------------------------------------


def test_that_every_refused_recipe_says_what_to_do() -> None:
    found = read_document("- a list")
    assert not isinstance(found, RecipeDocument)
    assert document_error(found, "a.yaml").problem.hint


def test_that_a_task_in_a_folder_is_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (tmp_path / "secret.yaml").write_text("task: a\n")
    (folder / "one.yaml").symlink_to(tmp_path / "secret.yaml")
    assert refused(find_tasks, [str(folder)]).problem.code == "unsafe-task"


# The store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("created", 5),
        ("created", "yesterday"),
        ("settings", 0.5),
        ("settings", "[" * 100_000),
        ("settings", b"\xff\xfe\x00"),
        ("problem", "[1]"),
        ("phase", "x"),
        ("kind", None),
        ("title", b"\xff"),
    ],
)
def test_that_a_store_with_values_that_nobody_wrote_is_refused_and_stays(
    tmp_path: Path, column: str, value: object
) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        store.create(NewRun(kind=RunKind.COMPRESS, title="t", models=("/m",), model_name="m"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            connection.execute(f"UPDATE runs SET {column} = ?", (value,))
        except sqlite3.IntegrityError:
            return
        connection.commit()
    with RunStore.open(path) as store:
        assert refused(store.runs).problem.code == "store-damaged"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_that_a_run_whose_owner_is_no_process_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        store.create(NewRun(kind=RunKind.COMPRESS, title="t", models=("/m",), model_name="m"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE runs SET owner_started = 'soon', owner_pid = 'me'")
        connection.commit()
    with RunStore.open(path) as store:
        assert [run.id for run in store.interrupted()] == [1]


# Models -----------------------------------------------------------------------------------------------------------


def test_that_code_that_came_with_a_model_is_named_and_not_run(tmp_path: Path) -> None:
    config = {
        **LLAMA,
        "model_type": "canary",
        "auto_map": {"AutoConfig": "configuration_canary.CanaryConfig", "AutoModel": ["modeling_canary.Canary\x1b", 3]},
    }
    folder = make_model(tmp_path / "model", config)
    (folder / "modeling_canary.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    remark = next(one for one in inspect(folder).remarks if one.code == "remote-code")
    assert remark.level == "blocks"
    assert "configuration_canary.CanaryConfig for AutoConfig, modeling_canary.Canary? for AutoModel" in remark.message
    assert not (tmp_path / "ran").exists()


def test_that_a_problem_can_always_be_kept() -> None:
    problem = BitpressError("a", "\udcff", "\ud800", "\udfff").problem
    assert json.loads(problem.model_dump_json())["message"] == "\\udcff"


def test_that_nothing_is_loaded_with_code_of_strangers_or_from_pickles() -> None:
    root = Path(__file__).parents[2]
    loads = 0
    for path in sorted((root / "core").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\btrust_remote_code\s*=\s*True|\"trust_remote_code\": True", text), path
        assert not re.search(r"\b(?:torch\.load|pickle\.loads?|joblib\.load|yaml\.(?:unsafe_)?load)\(", text), path
        if path.name in ("reproduce_script.py", "card.py"):
            continue  # Code that is printed for people; transformers' own default there is no code of strangers.
        for found in re.finditer(r"Auto\w+\.from_(?:pretrained|config)\(", text):
            loads += 1
            depth, end = 1, found.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            given = text[found.end() : end]
            assert "trust_remote_code=False" in given or "**places" in given, (path, given)
            if found[0].startswith("AutoModelForCausalLM.from_pretrained"):
                assert "use_safetensors=True" in given or "**places" in given, (path, given)
    assert loads > 8
