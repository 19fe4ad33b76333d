"""The published figures against the tables that they were read from, figure by figure."""

from __future__ import annotations

import pytest

from core.plan.published import (
    FOOTPRINTS,
    REASONING,
    RECOVERY,
    SPEEDS,
    cost_sentence,
    load_sentence,
    recovery,
    recovery_sentence,
    speed,
)

SCHEMES = ("FP8_DYNAMIC", "W8A8", "W4A16")
RECOVERY_TABLE = """
8B   | 99.31 / 101.2 | 100.31 / 101.5 | 98.72 / 96.1
70B  | 99.72 / 100.0 | 99.87 / 97.3   | 99.53 / 97.4
405B | 100.12 / 99.9 | 99.32 / 98.3   | 99.98 / 98.9
"""
REASONING_TABLE = "100.6 / 99.9 / 100.3 | 99.6 / 100.7 / 96.9 | 97.2 / 98.3 / 93.5"
SPEED_TABLE = """
8B A6000   | INT8 1.54 (1→1) 1.38, INT4 2.39 (1→1) 1.08
70B A6000  | INT8 1.94 (4→2) 1.91, INT4 2.96 (4→2) 1.92
70B A100   | INT8 1.81 (2→1) 1.87, INT4 2.67 (2→1) 1.64
70B H100   | FP8 1.84 (2→1) 1.77, INT4 2.11 (2→1) 1.55
405B A100  | INT8 3.27 (16→8) 2.53, INT4 6.38 (16→4) 2.21
405B H100  | FP8 3.17 (16→8) 3.04, INT4 5.15 (16→4) 3.09
"""


def test_that_recovery_is_the_papers_table():
    rows = {}
    for line in RECOVERY_TABLE.strip().splitlines():
        size, *cells = (part.strip() for part in line.split("|"))
        for scheme, cell in zip(SCHEMES, cells, strict=True):
            rows[size, scheme] = tuple(float(number) for number in cell.split("/"))
    assert {(row.size, row.scheme): (row.v1, row.v2) for row in RECOVERY} == rows


def test_that_reasoning_is_the_papers_table():
    models = ("R1-Distill-Llama-8B", "R1-Distill-Qwen-7B", "R1-Distill-Qwen-1.5B")
    rows = {
        (model, scheme): float(number)
        for scheme, cell in zip(SCHEMES, REASONING_TABLE.split("|"), strict=True)
        for model, number in zip(models, cell.split("/"), strict=True)
    }
    assert {(row.model, row.scheme): row.percent for row in REASONING} == rows


def test_that_speeds_are_the_papers_table():
    names = {"FP8": "FP8_DYNAMIC", "INT8": "W8A8", "INT4": "W4A16"}
    rows = set()
    for line in SPEED_TABLE.strip().splitlines():
        where, cells = line.split("|")
        size, hardware = where.split()
        for cell in cells.split(","):
            scheme, cost, gpus, load = cell.split()
            before, after = gpus.strip("()").split("→")
            rows.add((size, hardware, names[scheme], float(cost), int(before), int(after), float(load)))
    assert {
        (row.size, row.gpu, row.scheme, row.cost_reduction, row.gpus_before, row.gpus_after, row.asynchronous)
        for row in SPEEDS
    } == rows


def test_that_llama_4_footprints_are_those_published():
    assert {(row.parameters // 10**9, row.scheme): (row.gpus, row.gigabytes) for row in FOOTPRINTS} == {
        (109, "BF16"): (3, 220),
        (109, "W8A8"): (2, 109),
        (109, "FP8_DYNAMIC"): (2, 109),
        (109, "W4A16"): (1, 55),
        (400, "BF16"): (10, None),
        (400, "W8A8"): (5, None),
        (400, "FP8_DYNAMIC"): (5, None),
        (400, "W4A16"): (3, None),
    }


@pytest.mark.parametrize(
    ("parameters", "size"), [(7_000_000_000, "8B"), (32_000_000_000, "70B"), (400_000_000_000, "405B"), (None, "8B")]
)
def test_that_the_figure_nearest_to_the_models_size_is_taken(parameters: int | None, size: str):
    found = recovery("W4A16", parameters)
    assert found is not None
    assert found.size == size


def test_that_a_small_model_is_told_that_only_larger_ones_were_published():
    said = recovery_sentence("W4A16", 135_000_000)
    assert said.startswith("Published for 8B and larger only")
    assert (
        "Small models lose more: on reasoning 93.5 % for R1-Distill-Qwen-1.5B, 97.2 % for R1-Distill-Llama-8B" in said
    )
    assert "Small models lose more" not in recovery_sentence("FP8_DYNAMIC", 135_000_000)
    assert "100.3 % for R1-Distill-Qwen-1.5B" in recovery_sentence("FP8_DYNAMIC", 135_000_000)
    assert "larger only" not in recovery_sentence("W4A16", 8_000_000_000)


def test_that_speeds_are_taken_from_hardware_of_the_kind():
    def hardware(capability: tuple[int, int], parameters: int = 70_000_000_000) -> str:
        found = speed("W4A16", parameters, capability)
        assert found is not None
        return found.gpu

    assert [hardware(at) for at in ((8, 0), (8, 6), (9, 0))] == ["A100", "A6000", "H100"]
    assert hardware((9, 0), 8_000_000_000) == "A6000"


def test_that_every_sentence_names_who_measured_and_on_what():
    for scheme in SCHEMES:
        for sentence in (
            recovery_sentence(scheme, None),
            cost_sentence(scheme, 70_000_000_000, (9, 0)),
            load_sentence(scheme, 70_000_000_000, (9, 0)),
        ):
            assert sentence.startswith("Published")
            assert "Kurtic et al. 2025, arXiv 2411.02355" in sentence
            assert "8B" in sentence or "70B" in sentence
    assert "70B on A100, 1 of them instead of 2" in cost_sentence("W8A8", 70_000_000_000, (8, 0))


def test_that_nothing_is_quoted_for_schemes_that_nobody_published():
    for scheme in ("NVFP4", "W3A16", "FP8", "W8A16", "SPARSE"):
        assert recovery_sentence(scheme, None) == ""
        assert cost_sentence(scheme, None, (9, 0)) == ""
