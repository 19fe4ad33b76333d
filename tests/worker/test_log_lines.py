"""Lines as llmcompressor 0.14.0.1 and AutoRound 0.15.1 write them, and lines that say something else."""

from __future__ import annotations

import pytest

from core.worker import log_lines


def test_that_gptq_names_the_modules_it_begins_with():
    line = "Quantizing 2 module(s): ['model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.k_proj']"
    assert log_lines.quantizing(line) == ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj")
    assert log_lines.quantizing("Preparing 'x'") == ()


NAME = "model.layers.0.mlp.up_proj"


@pytest.mark.parametrize("name", [NAME, f"{NAME}.", f".{NAME}"])
def test_that_the_dot_which_pruning_puts_beside_a_name_is_not_part_of_it(name: str):
    assert log_lines.sparsifying(f"Sparsifying {name} using 16 samples") == NAME
    assert log_lines.sparsifying("Sparsifying nothing") is None


def test_that_figures_are_read_without_their_unit():
    assert log_lines.figure("time 0.07s") == ("time", 0.07)
    assert log_lines.figure("error 0.93") == ("error", 0.93)
    assert log_lines.figure("error much") is None
    assert log_lines.figure("Accelerator 0 | usage: 1.00% | total memory: 25.2 Gb") is None


def test_that_awqs_search_tells_both_errors():
    line = (
        "AWQ grid search for model.layers.0.input_layernorm: initial error = 4.150e-01, best error = 3.382e-01, "
        "error reduction rate (best/initial) = 81.494%"
    )
    assert log_lines.searched(line) == log_lines.Searched("model.layers.0.input_layernorm", 0.415, 0.3382)
    assert log_lines.searched("AWQ per-mapping error metrics: {}") is None


def test_that_autoround_tells_its_loss_and_no_loss_where_it_only_rounds():
    line = "quantized 7/7 layers in the block, loss iter 0: 0.040391 -> iter 19: 0.019302"
    assert log_lines.rounded(line) == log_lines.Rounded(7, 0.040391, 0.019302)
    assert log_lines.rounded("quantized 7/7 layers in the block") == log_lines.Rounded(7, None, None)
    assert log_lines.rounded("start to cache block inputs") is None
