"""Facts about the kept runs, on real SQLite files."""

import json
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import BitpressError, Problem
from core.jobs.protocol import FinishReason
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import REVISIONS, RunStore


def new(kind: RunKind = RunKind.COMPRESS, **changes: Any) -> NewRun:
    return NewRun(
        **{
            "kind": kind,
            "title": "SmolLM2 · FP8 dynamic",
            "models": ("/models/smol",),
            "model_name": "SmolLM2",
            "settings": {"method": "fp8-dynamic", "parameters": {"ignore": ["lm_head"], "ä": 1.5}},
            "method": "fp8-dynamic",
            "output": "/artifacts/smol-fp8",
            **changes,
        }
    )


def finished(run: Run, **changes: Any) -> Run:
    return run.model_copy(
        update={
            "phase": Phase.FINISHED,
            "reason": FinishReason.COMPLETED,
            "started": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
            "finished": datetime(2026, 1, 2, 3, 5, tzinfo=UTC),
            "result": {"bytes": 2**40, "proof": {"passed": True}},
            "versions": {"torch": "2.13"},
            **changes,
        }
    )


def code_of(error: pytest.ExceptionInfo[BitpressError]) -> str:
    return error.value.problem.code


def query(path: Path, text: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(text).fetchall()


def test_that_a_run_survives_reopening_in_every_field(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runs.sqlite"
    with RunStore.open(path) as store:
        kept = finished(store.create(new()))
        store.save(kept)
        failed = finished(
            store.create(new(models=("/a", "/b"), output=None)),
            reason=FinishReason.FAILED,
            problem=Problem(code="c", message="m", hint="h", details="d"),
            result=None,
        )
        store.save(failed)
    with RunStore.open(path) as store:
        assert store.get(kept.id) == kept
        assert store.runs() == (failed, kept)


def test_that_a_new_run_is_queued_and_gets_a_number_of_its_own(tmp_path: Path) -> None:
    with RunStore.open(tmp_path / "runs.sqlite") as store:
        first, second = store.create(new()), store.create(new())
        assert (first.phase, first.reason, first.started) == (Phase.QUEUED, None, None)
        assert second.id == first.id + 1
        assert store.get(first.id) == first
        query(store.path, "DELETE FROM runs")
        assert store.create(new()).id == second.id + 1


def test_that_runs_come_newest_first_by_kind_and_limited(tmp_path: Path) -> None:
    with RunStore.open(tmp_path / "runs.sqlite") as store:
        kinds = [RunKind.COMPRESS, RunKind.EVALUATE, RunKind.COMPRESS, RunKind.BENCHMARK]
        made = [store.create(new(kind, models=(f"/m{number}", "/x"))) for number, kind in enumerate(kinds)]
        assert store.runs() == tuple(reversed(made))
        assert store.runs(RunKind.COMPRESS) == (made[2], made[0])
        assert store.runs(limit=2) == (made[3], made[2])
        assert store.runs(RunKind.IMPORT) == ()


def test_that_about_finds_the_measurements_in_which_a_model_takes_part(tmp_path: Path) -> None:
    with RunStore.open(tmp_path / "runs.sqlite") as store:
        store.create(new(RunKind.COMPRESS, models=("/m/a",)))
        evaluated = store.create(new(RunKind.EVALUATE, models=("/m/a", "/m/b")))
        benchmarked = store.create(new(RunKind.BENCHMARK, models=("/m/b", "/m/c")))
        assert store.about("/m/a") == (evaluated,)
        assert store.about(Path("/m/x/../b")) == (benchmarked, evaluated)
        assert store.about("/m") == ()


def test_that_an_unknown_run_is_said_plainly(tmp_path: Path) -> None:
    with RunStore.open(tmp_path / "runs.sqlite") as store:
        run = store.create(new())
        for ask in (lambda: store.get(99), lambda: store.save(run.model_copy(update={"id": 99}))):
            with pytest.raises(BitpressError) as caught:
                ask()
            assert code_of(caught) == "unknown-run"


def test_that_the_file_is_in_wal_mode_and_sound(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        store.create(new())
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "PRAGMA foreign_key_check") == []


def test_that_the_migrations_lead_from_an_empty_file_to_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine

    import core.jobs
    from core.jobs.schema import metadata

    path = tmp_path / "runs.sqlite"
    path.touch()
    RunStore.open(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()

    config = Config()
    config.set_main_option("script_location", str(Path(core.jobs.__path__[0], "migrations")))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(walked)) == REVISIONS
    assert query(path, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_that_a_store_that_is_up_to_date_opens_without_alembic_and_importing_it_loads_no_sqlalchemy(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.sqlite"
    RunStore.open(path).close()
    script = (
        "import sys, pathlib, json; from core.jobs.store import RunStore; import core.jobs.queue;"
        "before = sorted({'sqlalchemy', 'alembic', 'pynvml'} & set(sys.modules));"
        f"RunStore.open(pathlib.Path({str(path)!r})).runs();"
        "print(json.dumps([before, 'alembic' in sys.modules]))"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == [[], False]


@pytest.mark.parametrize("damage", ["noise", "torn", "middle"])
def test_that_a_damaged_store_is_refused_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        for _ in range(50):
            store.save(finished(store.create(new()), result={"text": "x" * 5000}))
    content = bytearray(path.read_bytes())
    if damage == "noise":
        content = bytearray(os.urandom(len(content)))
    elif damage == "torn":
        content = content[: len(content) // 2]
    else:
        content[4096 * 2 : 4096 * 8] = b"\x5a" * (4096 * 6)
    path.write_bytes(content)
    with pytest.raises(BitpressError) as caught:
        RunStore.open(path)
    assert code_of(caught) == "store-damaged"
    assert str(path) in caught.value.problem.message
    assert path.read_bytes() == content


def test_that_a_store_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        store.create(new())
    query(path, "UPDATE alembic_version SET version_num = '9999'")
    content = path.read_bytes()
    with pytest.raises(BitpressError) as caught:
        RunStore.open(path)
    assert code_of(caught) == "store-newer"
    assert "9999" in caught.value.problem.message
    assert path.read_bytes() == content


def test_that_another_program_s_database_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    query(path, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(BitpressError) as caught:
        RunStore.open(path)
    assert code_of(caught) == "store-damaged"
    assert query(path, "SELECT name FROM sqlite_master") == [("recipes",)]


def test_that_a_place_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BitpressError) as caught:
        RunStore.open(tmp_path / "file" / "runs.sqlite")
    assert code_of(caught) == "not-writable"


def test_that_two_stores_and_many_threads_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as one, RunStore.open(path) as other, ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: (one if number % 2 else other).create(new()), range(40)))
        list(threads.map(lambda run: (other if run.id % 2 else one).save(finished(run)), made))
        assert len({run.id for run in made}) == 40
        assert one.runs() == other.runs()
        assert {run.reason for run in one.runs()} == {FinishReason.COMPLETED}
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


OPEN_AT_ONCE = """
import sys
from pathlib import Path
from core.jobs.store import RunStore
sys.stdin.read()
with RunStore.open(Path(sys.argv[1])) as store:
    print(len(store.runs()))
"""


def test_that_two_processes_may_make_the_store_at_the_same_moment(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path / "runs.sqlite")]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    for process in both:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, "0"), err
    assert query(tmp_path / "runs.sqlite", "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


LEAVE_OPEN = """
import os, sys
from pathlib import Path
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
store = RunStore.open(Path(sys.argv[1]))
for phase in (Phase.QUEUED, Phase.RUNNING, Phase.FINISHED):
    run = store.create(NewRun(kind=RunKind.COMPRESS, title="t", models=("/m",), model_name="m"))
    store.save(run.model_copy(update={"phase": phase}))
os._exit(9)
"""


def test_that_runs_of_a_dead_process_are_marked_as_interrupted_and_living_ones_are_left(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        mine = store.create(new())
        subprocess.run([sys.executable, "-c", LEAVE_OPEN, str(path)], check=False)
        with RunStore.open(path) as second_window:
            marked = second_window.interrupted()
            assert second_window.interrupted() == ()
        assert [run.id for run in marked] == [mine.id + 1, mine.id + 2]
        assert {run.phase for run in marked} == {Phase.FINISHED}
        problems = [run.problem for run in marked]
        assert [problem.code for problem in problems if problem] == ["interrupted", "interrupted"]
        assert all(run.finished is not None for run in marked)
        assert store.get(mine.id) == mine


def test_that_a_pid_that_was_given_to_another_process_owns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        run = store.create(new())
        query(path, "UPDATE runs SET owner_started = owner_started - 3600")
        assert [marked.id for marked in store.interrupted()] == [run.id]


def test_that_a_list_is_renewed_without_reading_again_what_is_over(tmp_path: Path) -> None:
    with RunStore.open(tmp_path / "runs.sqlite") as store:
        for _ in range(3):
            store.create(new())
        over = finished(store.get(1))
        store.save(over)
        before = store.runs()
        store.save(store.get(2).model_copy(update={"phase": Phase.RUNNING}))
        store.create(new())
        renewed = store.renewed(before)
        assert renewed == store.runs()
        assert renewed[-1] is before[-1]
        store.save(over.model_copy(update={"phase": Phase.QUEUED, "finished": None}))
        assert store.renewed(renewed) == store.runs()
        assert store.renewed(()) == store.runs()
