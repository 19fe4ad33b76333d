"""`bitpress deploy` and `bitpress advise` as scripts see them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bitpress_process import Bitpress

pytestmark = pytest.mark.model


def test_that_typed_figures_give_gpus_memory_and_cost(fresh: Bitpress) -> None:
    ended = fresh(
        *("deploy", "--parameters", "109e9", "--layers", "48", "--heads", "40", "--kv-heads", "8", "--head-dim", "128"),
        *("--scheme", "BF16", "--scheme", "w8a8", "--scheme", "W4A16", "--gpu", "h100-80"),
        *("--price", "2.5", "--currency", "EUR", "--json"),
    )
    assert ended.status == 0
    rows = {row["scheme"]: row for row in ended.last["placements"]}
    assert [rows[scheme]["gpus_by_weights"] for scheme in ("BF16", "W8A8", "W4A16")] == [3, 2, 1]
    assert [rows[scheme]["gpus"] for scheme in ("BF16", "W8A8", "W4A16")] == [4, 2, 1]
    assert rows["W4A16"]["cost"]["saved_share"] == 0.75
    assert rows["W4A16"]["cost"]["currency"] == "EUR"
    assert rows["W8A8"]["runs"] == "native"
    assert "Red Hat Developer" in rows["BF16"]["published"]
    assert ended.last["formulas"]


def test_that_without_a_gpu_all_kinds_stand_in_a_table(surveyed: Bitpress, tiny: Path) -> None:
    ended = surveyed("deploy", tiny, "--method", "fp8-dynamic", "--context", "512", "--json")
    assert ended.status == 0
    assert {"t4", "rtx-4090", "b200"} <= {row["gpu"] for row in ended.last["placements"]}
    assert all(row["gpus"] == 1 for row in ended.last["placements"])
    shown = surveyed("deploy", "--model-preset", "llama-4-scout", "--scheme", "W4A16")
    assert shown.status == 0
    assert "RTX PRO 6000" in shown.stdout
    assert "By memory" in shown.stdout
    assert "3 x 80 GB" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("deploy",), "nothing-to-plan"),
        (("deploy", "--parameters", "many"), "bad-figure"),
        (("deploy", "--parameters", "8B", "--scheme", "W5A5"), "unknown-scheme"),
        (("deploy", "--parameters", "8B", "--gpu", "h10"), "unknown-gpu"),
        (("deploy", "--parameters", "8B", "--kv-cache", "4"), "bad-figure"),
        (("deploy", "--model-preset", "llama-5"), "unknown-preset"),
        (("advise", "--hardware", "new"), "bad-capability"),
    ],
)
def test_that_what_cannot_be_meant_ends_with_status_2(fresh: Bitpress, arguments: tuple[str, ...], code: str) -> None:
    ended = fresh(*arguments, "--json")
    assert ended.status == 2
    assert ended.last["type"] == "error"
    assert ended.last["code"] == code
    assert ended.last["hint"]


def test_that_advice_for_any_hardware_has_a_reason_and_a_source(fresh: Bitpress) -> None:
    ended = fresh("advise", "--goal", "batch", "--hardware", "8.6", "--json")
    assert ended.status == 0
    lines = ended.of("advice")
    assert [line["place"] for line in lines] == list(range(len(lines)))
    assert lines[0]["scheme"] == "W8A8"
    assert all(line["reason"] for line in lines)
    assert "2411.02355" in lines[0]["source"]
    assert ended.last["order"] == [line["method"] for line in lines]
