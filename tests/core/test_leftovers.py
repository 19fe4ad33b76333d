"""Facts about what may go and what stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.care.known_runs import KnownRun, known_runs
from core.care.leftovers import Ground, Kind, ground, leftovers
from core.care.removal import remove
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.methods.recipe import Recipe
from core.models.artifact import Manifest, write_manifest
from core.paths import Home

DAY = 86400.0


def artifact(folder: Path, proved: bool | None) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    recipe = Recipe(method="fp8-dynamic", parameters={})
    write_manifest(
        folder, Manifest(made_from="/m", recipe=recipe, method_title="FP8", proved=proved, created=datetime.now(UTC))
    )
    return folder


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.artifacts.mkdir(parents=True)
    return home


def later(home: Home, runs: tuple[KnownRun, ...] | None = (), days: float = 1, **more: object) -> Ground:
    """The ground as it will be: nothing was written to lately then."""
    found = ground(home, (), runs)
    return replace(found, now=found.now + days * DAY, **more)  # type: ignore[arg-type]


def names(where: Ground, *kinds: Kind) -> set[str]:
    return {found.path.name for found in leftovers(where, kinds or tuple(Kind))}


def test_that_staging_of_gone_runs_and_processes_is_listed_and_that_of_living_ones_is_not(home: Home) -> None:
    gone = home.artifacts / ".a.partial-1"
    busy = home.artifacts / ".b.partial-2"
    for folder in (gone, busy):
        folder.mkdir()
        (folder / "weights").write_bytes(b"x" * 100)
    survey = home.surveys
    survey.mkdir(parents=True)
    (survey / f".s.json.partial-{dead()}-0a0a0a0a").write_bytes(b"x")
    (survey / f".t.json.partial-{os.getpid()}-0a0a0a0a").write_bytes(b"x")
    runs = (KnownRun(1, home.artifacts / "a", True), KnownRun(2, home.artifacts / "b", False))
    found = leftovers(later(home, runs), (Kind.STAGING,))
    assert {one.path.name.split("-")[0] for one in found} == {".a.partial", ".s.json.partial"}
    assert found[0].bytes == 100
    assert names(replace(later(home, runs), now=later(home).now - DAY), Kind.STAGING) == set(), "written to just now"


def test_that_checkpoints_are_a_kind_of_their_own_and_those_of_living_runs_stay(home: Home) -> None:
    for name in (".a.checkpoint-1", ".b.checkpoint-2", ".c.checkpoint-77", ".d.checkpoint-x"):
        (home.artifacts / name).mkdir()
        (home.artifacts / name / "checkpoint.json").write_bytes(b"x" * 10)
    runs = (KnownRun(1, home.artifacts / "a", True), KnownRun(2, home.artifacts / "b", False))
    where = later(home, runs)
    found = leftovers(where, (Kind.CHECKPOINTS,))
    assert {one.path.name for one in found} == {".a.checkpoint-1", ".c.checkpoint-77"}, (
        "also of a run that is not known"
    )
    assert {one.problem for one in remove(found, lambda: where)} == {""}
    assert {path.name for path in home.artifacts.iterdir()} == {".b.checkpoint-2", ".d.checkpoint-x"}
    assert names(later(home, None), Kind.CHECKPOINTS) == set()


def test_that_only_artifacts_of_ours_that_passed_no_proof_are_listed(home: Home) -> None:
    artifact(home.artifacts / "good", True)
    artifact(home.artifacts / "good.unproved", True)
    artifact(home.artifacts / ".crashed.partial-9", True)
    artifact(home.artifacts / "bad.unproved", False)
    artifact(home.artifacts / "broken.unproved-2", None)
    (home.artifacts / "foreign.unproved").mkdir()
    assert names(later(home)) == {"bad.unproved", "broken.unproved-2"}
    assert names(later(home, (KnownRun(1, None, False),))) == set()


def test_that_the_folders_that_runs_have_written_to_are_known_and_nothing_else(home: Home, tmp_path: Path) -> None:
    known, unknown = tmp_path / "known", tmp_path / "unknown"
    for folder in (known, unknown):
        artifact(folder / "x.unproved", False)
    (home.artifacts / "link.unproved").symlink_to(unknown / "x.unproved")
    found = leftovers(later(home, (KnownRun(3, known / "x", True),)))
    assert [one.path for one in found] == [known / "x.unproved"]


def test_that_caches_previews_engines_and_old_logs_are_listed_by_kind(home: Home) -> None:
    (home.root / "cache" / "evaluation").mkdir(parents=True)
    home.reports.mkdir()
    (home.reports / "preview.pdf").write_bytes(b"%PDF")
    (home.reports / "mine.pdf").write_bytes(b"%PDF")
    (home.engines / "vllm" / "venv").mkdir(parents=True)
    folder = home.run_folder(4)
    folder.mkdir(parents=True)
    for name in ("worker.log", "worker.log.1", "events.jsonl"):
        (folder / name).write_text("x")
    kinds = {kind: names(later(home, days=100), kind) for kind in Kind}
    assert kinds == {
        Kind.STAGING: set(),
        Kind.CHECKPOINTS: set(),
        Kind.UNPROVED: set(),
        Kind.CACHES: {"evaluation"},
        Kind.ENGINES: {"vllm"},
        Kind.PREVIEWS: {"preview.pdf"},
        Kind.LOGS: {"worker.log", "worker.log.1"},
    }
    assert names(later(home, days=30), Kind.LOGS) == set()
    assert names(later(home, (KnownRun(4, None, False),), days=100), Kind.LOGS, Kind.CACHES) == set()
    unreadable = later(home, None, days=100)
    assert names(unreadable) == {"vllm", "preview.pdf"}, "what a run may own is not listed where the store is silent"


def removed(where: Ground, look: Callable[[], Ground] | None = None) -> list[str]:
    return [one.problem for one in remove(leftovers(where), look or (lambda: where))]


def test_that_what_is_removed_is_gone_and_the_rest_stays(home: Home) -> None:
    bad, good = artifact(home.artifacts / "bad.unproved", False), artifact(home.artifacts / "good", True)
    outside = home.root.parent / "outside"
    outside.mkdir()
    (bad / "link").symlink_to(outside)
    assert removed(later(home)) == [""]
    assert not bad.exists()
    assert good.exists()
    assert outside.exists()


def test_that_what_a_run_took_up_after_the_listing_stays(home: Home) -> None:
    bad = artifact(home.artifacts / "bad.unproved", False)
    busy = later(home, (KnownRun(1, None, False),))
    assert removed(later(home), lambda: busy) == ["it is in use, or gone already"]
    assert bad.exists()


def test_that_a_folder_behind_a_link_is_never_removed(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    artifact(elsewhere / "x.unproved", False)
    (home.artifacts / "here").symlink_to(elsewhere)
    where = later(home, (KnownRun(1, home.artifacts / "here" / "x", True),))
    assert leftovers(where) == ()


def test_that_runs_are_read_without_writing_and_by_who_lives(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore.open(path) as store:
        for phase in (Phase.QUEUED, Phase.RUNNING, Phase.FINISHED):
            run = store.create(NewRun(kind=RunKind.COMPRESS, title="t", models=("/m",), model_name="m", output="/o/x"))
            store.save(run.model_copy(update={"phase": phase}))
        found = known_runs(path)
        assert [(run.id, run.over) for run in found or ()] == [(1, False), (2, False), (3, True)]
    script = (
        "import sys; from pathlib import Path; from core.jobs.store import RunStore; from core.jobs.run import *;"
        "from core.jobs.snapshot import Phase;"
        "s = RunStore.open(Path(sys.argv[1])); r = s.create(NewRun(kind='compress', title='t', models=(),"
        " model_name='m')); s.save(r.model_copy(update={'phase': Phase.RUNNING}))"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert [run.over for run in known_runs(path) or ()] == [False, False, True, True]
    assert known_runs(tmp_path / "none") == ()
    (tmp_path / "bad").write_bytes(os.urandom(5000))
    assert known_runs(tmp_path / "bad") is None
