"""Methods and grids as entries, and sweeps on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import BitpressError
from core.jobs.sweep_plan import SweepPlan, also_recovered, entries_of, why_not_recovered
from core.jobs.sweep_store import SweepStore, released
from core.measure.gates import BUILT_IN
from core.measure.sweep_values import RowState
from core.methods.recovery import RecoverySpec
from core.paths import Home


def plan(**changes: object) -> SweepPlan:
    made = SweepPlan(
        model="/models/one",
        model_name="one",
        fingerprint="f",
        entries=entries_of(["rtn-w4a16", "fp8-dynamic"], ["group_size=32,64"]),
        gate=BUILT_IN[1],
    )
    return made.model_copy(update=changes)


def test_that_a_grid_goes_over_the_methods_that_have_the_parameter() -> None:
    found = entries_of(["rtn-w4a16", "fp8-dynamic"], ["group_size=32,64,32"])
    assert [entry.key for entry in found] == ["rtn-w4a16:group_size=32", "rtn-w4a16:group_size=64", "fp8-dynamic"]
    assert [entry.label for entry in found] == [
        "W4A16 by rounding, group size 32",
        "W4A16 by rounding, group size 64",
        "FP8 dynamic",
    ]
    assert found[0].parameters == {"group_size": 32}


def test_that_grids_multiply_and_one_can_be_for_one_method() -> None:
    found = entries_of(
        ["gptq-w4a16", "rtn-w4a16", "gptq-w4a16"], ["gptq-w4a16:actorder=static,none", "group_size=32,64"]
    )
    assert len(found) == 6
    assert len({entry.key for entry in found}) == 6
    assert found[0].parameters == {"actorder": "static", "group_size": 32}
    assert {name for entry in found if entry.method == "rtn-w4a16" for name in entry.parameters} == {"group_size"}


@pytest.mark.parametrize(
    ("methods", "grid", "code", "said"),
    [
        ([], [], "bad-setting", "No method is named"),
        (["gptq-w4a"], [], "unknown-method", "gptq-w4a16"),
        (["rtn-w4a16"], ["group_size"], "bad-setting", "is no grid"),
        (["rtn-w4a16"], ["group_size="], "bad-setting", "is no grid"),
        (["rtn-w4a16"], ["group_size=33"], "bad-parameter", "32"),
        (["rtn-w4a16"], ["group_sise=32"], "unknown-parameter", "Did you mean group_size?"),
        (["rtn-w4a16"], ["gptq-w4a16:group_size=32"], "bad-setting", "not in this sweep"),
        (["rtn-w4a16"], ["group_size=32", "rtn-w4a16:group_size=64"], "bad-setting", "given twice"),
        (["rtn-w4a16"], ["ignore=lm_head"], "bad-setting", "a list itself"),
    ],
)
def test_that_a_grid_that_cannot_be_meant_is_refused(methods: list[str], grid: list[str], code: str, said: str) -> None:
    with pytest.raises(BitpressError) as error:
        entries_of(methods, grid)
    assert error.value.problem.code == code
    assert said in f"{error.value.problem.message} {error.value.problem.hint}"


def test_that_a_sweep_is_kept_with_every_row_and_found_by_its_plan(tmp_path: Path) -> None:
    store = SweepStore(Home(tmp_path))
    first = store.create(plan(), 1000)
    assert first.id == "1"
    assert [row.state for row in first.result.rows] == [RowState.WAITING] * 3
    assert first.result.gate_kl == 0.03
    assert store.get("1") == first
    second = store.create(plan(seed=3), 1000)
    assert second.id == "2"
    assert [record.id for record in store.all()] == ["2", "1"]
    assert store.unfinished() == second
    assert store.unfinished(plan()) == first
    assert store.unfinished(plan(fix=True)) is None
    store.save(second.model_copy(update={"result": second.result.model_copy(update={"finished": True})}))
    assert store.unfinished() == first


def test_that_what_is_half_written_is_never_read(tmp_path: Path) -> None:
    store = SweepStore(Home(tmp_path))
    store.create(plan(), 1000)
    folder = tmp_path / "sweeps" / "1"
    (folder / ".sweep.json.partial-7").write_text("{", encoding="utf-8")
    assert store.get("1").id == "1"
    (folder / "sweep.json").write_text("{", encoding="utf-8")
    with pytest.raises(BitpressError, match="cannot be read"):
        store.get("1")
    assert store.all() == ()
    for name in ("7", "..", "x"):
        with pytest.raises(BitpressError, match="There is no sweep"):
            store.get(name)


def test_that_a_sweep_belongs_to_one_living_process(tmp_path: Path) -> None:
    store = SweepStore(Home(tmp_path))
    mine = store.create(plan(), 1000)
    claimed = store.claim(mine.id)
    assert claimed.owner_pid == os.getpid()
    assert store.claim(mine.id).owner_pid == os.getpid()
    import psutil

    parent = psutil.Process(os.getppid())
    store.save(claimed.model_copy(update={"owner_pid": parent.pid, "owner_started": parent.create_time()}))
    with pytest.raises(BitpressError, match="another window or terminal"):
        store.claim(mine.id)
    # The same number, but another process than the one that had it.
    store.save(claimed.model_copy(update={"owner_pid": parent.pid, "owner_started": 1.0}))
    assert store.claim(mine.id).owner_pid == os.getpid()
    assert released(claimed).owner_pid is None


def test_that_recovery_is_a_row_of_its_own_after_the_one_without(home: Home) -> None:
    spec = RecoverySpec(minutes=2)
    entries = also_recovered(entries_of(["rtn-w4a16", "fp8-dynamic"], ["group_size=32,64"]), spec)
    assert [entry.key for entry in entries] == [
        "rtn-w4a16:group_size=32",
        "rtn-w4a16:group_size=32:recover",
        "rtn-w4a16:group_size=64",
        "rtn-w4a16:group_size=64:recover",
        "fp8-dynamic",
    ], "activations that are rounded cannot be trained through"
    assert entries[1].label == "W4A16 by rounding, group size 32, recovered"
    assert "activations" in (why_not_recovered(entries[-1]) or "")
    rows = SweepStore(home).create(plan(entries=entries), 1000).result.rows
    assert [row.recovery for row in rows] == [None, spec, None, spec, None]


def test_that_recovery_for_named_methods_is_theirs_alone() -> None:
    entries = entries_of(["rtn-w4a16", "gptq-w4a16", "fp8-dynamic"], [])
    found = also_recovered(entries, RecoverySpec(), ["gptq-w4a16"])
    assert [entry.key for entry in found if entry.recovery] == ["gptq-w4a16:recover"]
    named = also_recovered(entries, RecoverySpec(), ["fp8-dynamic"])
    assert [entry.key for entry in named if entry.recovery] == ["fp8-dynamic:recover"], "its row says why not"
    with pytest.raises(BitpressError) as raised:
        also_recovered(entries, RecoverySpec(), ["rtn-w8a8"])
    assert "not in this sweep" in raised.value.problem.message
