from __future__ import annotations

import pytest
from llama_shapes import gpu, machine

from core.methods.catalogue import METHODS
from core.methods.describe import described
from core.plan.advice import parts_of
from core.plan.hardware import (
    GENERATIONS,
    PROCESSOR_SCHEMES,
    SUPPORT,
    Runs,
    combined,
    generation_of,
    minimum_capability,
    on_processor,
    runs_at_all,
    runs_natively,
    support,
    where_it_runs,
)

KEYS = (
    *("FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W8A8", "W8A16", "W4A16", "W4AFP8", "W3A16", "W2A16", "NVFP4", "NVFP4A16"),
    *("MXFP4", "MXFP4A16", "MXFP8", "MXFP8A16", "KV_FP8", "SPARSE", "PRUNED", "MIXED", "BF16"),
    *("W2A16_TABLE", "W3A16_TABLE", "W4A16_TABLE", "W2A16_BINARY", "W3A16_BINARY", "W4A16_BINARY"),
)


@pytest.mark.parametrize(
    ("scheme", "capability", "native", "at_all"),
    [
        ("FP8_DYNAMIC", (7, 0), False, False),
        ("FP8_DYNAMIC", (7, 5), False, True),
        ("FP8_DYNAMIC", (8, 6), False, True),
        ("FP8_DYNAMIC", (8, 9), True, True),
        ("FP8_DYNAMIC", (9, 0), True, True),
        ("FP8_DYNAMIC", (12, 0), True, True),
        ("W4A16", (7, 0), False, False),
        ("W4A16", (7, 5), True, True),
        ("W4A16", (12, 0), True, True),
        ("W8A16", (8, 0), True, True),
        ("W8A8", (7, 5), True, True),
        ("W8A8", (9, 0), True, True),
        ("W8A8", (10, 0), False, False),
        ("W8A8", (12, 0), False, False),
        ("W4AFP8", (8, 9), False, False),
        ("W4AFP8", (9, 0), True, True),
        ("NVFP4", (7, 5), False, True),
        ("NVFP4", (9, 0), False, True),
        ("NVFP4", (10, 0), True, True),
        ("MXFP4", (7, 5), False, False),
        ("MXFP4", (8, 0), False, True),
        ("MXFP4", (10, 0), True, True),
        ("MXFP8", (9, 0), False, False),
        ("MXFP8", (10, 0), True, True),
        ("SPARSE", (9, 0), False, True),
    ],
)
def test_that_the_support_table_is_vllms(scheme: str, capability: tuple[int, int], native: bool, at_all: bool):
    said, sentence = runs_natively(scheme, capability)
    assert said is native
    assert f"{capability[0]}.{capability[1]}" in sentence
    assert runs_at_all(scheme, capability) is at_all


@pytest.mark.parametrize(
    ("scheme", "capability"),
    [("W4AFP8", (10, 0)), ("MXFP8", (12, 0)), ("W3A16", (8, 6)), ("MXFP8A16", (10, 0)), ("W4A16", (11, 0))],
)
def test_that_what_no_page_says_counts_as_not_documented(scheme: str, capability: tuple[int, int]):
    assert support(scheme, capability) is Runs.UNDOCUMENTED
    assert "not documented" in runs_natively(scheme, capability)[1]


def test_that_what_is_not_known_is_said_so():
    assert runs_natively("W4A16", None)[0] is False
    assert "not known" in runs_natively("W4A16", None)[1]
    assert "not known" in runs_natively("W3A3", (9, 0))[1]
    assert "not known" in where_it_runs("W3A3")[-1]
    assert minimum_capability("W3A3") is None
    assert on_processor("W3A3") is Runs.UNDOCUMENTED


@pytest.mark.parametrize("scheme", KEYS)
def test_that_every_scheme_says_where_it_runs_in_whole_sentences(scheme: str):
    assert set(KEYS) == set(SUPPORT)
    lines = where_it_runs(scheme)
    assert all(line.endswith(".") and line == line.strip() and "  " not in line for line in lines)
    assert lines[-1].startswith("transformers and this application anywhere")
    said = " ".join(lines)
    native = [name for name, runs in SUPPORT[scheme].generations.items() if runs is Runs.NATIVE]
    assert all(word in said for word in ("vLLM", *native[:1], *native[-1:]))
    for low, _ in GENERATIONS.values():
        assert runs_natively(scheme, low)[0] is (support(scheme, low) is Runs.NATIVE)


def test_that_the_lowest_native_capability_is_the_tables():
    expected = {"FP8_DYNAMIC": (8, 9), "W4A16": (7, 5), "W8A8": (7, 5), "W4AFP8": (9, 0), "NVFP4": (10, 0)}
    assert {scheme: minimum_capability(scheme) for scheme in expected} == expected
    assert minimum_capability("W2A16") is None


def test_that_every_method_of_the_catalogue_is_in_the_table_and_described_by_it():
    for method in METHODS:
        assert method.scheme in SUPPORT
        assert described(method)["runs_in"] == list(where_it_runs(method.scheme, parts=parts_of(method)))
        parts = parts_of(method)
        lowest = minimum_capability(parts[0] if len(parts) == 1 else method.scheme)
        assert described(method)["minimum_capability"] == (list(lowest) if lowest else None)


def test_that_processors_have_what_was_tried_on_one():
    assert {scheme for scheme in KEYS if on_processor(scheme) is Runs.NATIVE} == {"W8A8", "W4A16", "BF16", "PRUNED"}
    assert set(PROCESSOR_SCHEMES) == {"W8A8", "W4A16"}
    assert on_processor("W8A16") is Runs.NO
    assert "150 seconds" in " ".join(where_it_runs("FP8_DYNAMIC"))


def test_that_a_machine_without_a_gpu_is_told_that_nothing_was_tried_on_one():
    assert "no NVIDIA GPU" in where_it_runs("FP8_DYNAMIC", machine())[0]
    here = where_it_runs("FP8_DYNAMIC", machine(gpu((8, 6))))[0]
    assert "This machine's Test GPU 8.6" in here
    assert "weights only" in here


def test_that_sparse_weights_are_promised_nothing():
    said = " ".join(where_it_runs("SPARSE"))
    assert "no smaller and no faster" in said
    assert "with kernels for" not in said


def test_that_w4afp8_says_that_it_stores_a_byte():
    assert "a byte for each weight" in " ".join(where_it_runs("W4AFP8"))


def test_that_a_mixed_model_runs_where_the_worst_of_its_layers_does():
    found = combined(("W4A16", "FP8_DYNAMIC"))
    assert found.generations["8.6"] is Runs.WEIGHT_ONLY
    assert found.generations["8.9"] is Runs.NATIVE
    assert found.processor is Runs.UNDOCUMENTED
    assert combined(("W8A8", "W4A16")).generations["10.x"] is Runs.NO
    said = " ".join(where_it_runs("MIXED", parts=("W4A16", "FP8_DYNAMIC")))
    assert "INT4 weights with FP8 weights and activations" in said
    assert "8.9 to 10.x and 12.x" in said


def test_that_generations_are_found_by_capability():
    assert [generation_of(at) for at in ((7, 0), (7, 5), (8, 7), (10, 3), (11, 0), (12, 1))] == [
        *(None, "7.5", "8.6", "10.x", None, "12.x"),
    ]
