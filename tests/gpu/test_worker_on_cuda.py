"""The worker on CUDA: a random-weight model of over a billion parameters through the whole job, with its memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.paths import Home
from core.telemetry.recording import read_samples

pytestmark = [pytest.mark.gpu, pytest.mark.model]

MAKE = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=49152, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
    num_key_value_heads=8, max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    pad_token_id=2,
)
with torch.device("cuda:0"):
    model = LlamaForCausalLM(config).to(torch.bfloat16)
assert sum(parameter.numel() for parameter in model.parameters()) > 1_000_000_000
model.cpu().save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="session")
def billion(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 1.1 B parameters with random weights and the starter's tokenizer."""
    folder = tmp_path_factory.mktemp("billion") / "random-1b"
    subprocess.run([sys.executable, "-P", "-c", MAKE, str(folder)], check=True, timeout=900)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter / name, folder / name)
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", ["fp8-dynamic", "gptq-w4a16"])
def test_that_a_billion_parameters_are_pressed_on_the_gpu(
    method: str, billion: Path, home: Home, tmp_path: Path
) -> None:
    text = tmp_path / "calibration.txt"
    text.write_text(
        "\n\n".join(f"Paragraph {number} says that {number} and one make {number + 1}." for number in range(400))
    )
    arguments = ["--samples", "32", "--max-length", "256", "--calibration", str(text)]
    lines = _bitpress("compress", str(billion), "--method", method, *arguments, "--json", home=home)
    result = lines[-1]
    failed = [check["name"] for check in result["proof"]["checks"] if not check["passed"]] if "proof" in result else []
    assert result["type"] == "result", result
    assert not failed
    samples = read_samples(home.run_folder(result["run"]))
    ours = [gpu.memory_ours for sample in samples for gpu in sample.gpus if gpu.memory_ours]
    assert ours, "NVML told nothing about our process"
    planned = _bitpress("plan", str(billion), "--method", method, *arguments, "--json", home=home)[-1]["estimates"]
    expected = planned["device_bytes"]
    print(
        f"\n{method}: {result['bytes'] / 1e9:.2f} GB in {result['seconds']:.0f} s "
        f"(proof {result['proof']['seconds']:.0f} s), GPU memory of ours at most {max(ours) / 2**30:.2f} GiB, "
        f"predicted {expected['low'] / 2**30:.2f} to {expected['high'] / 2**30:.2f}"
    )


def _bitpress(*arguments: str, home: Home) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "app", *arguments],
        env={**os.environ, "BITPRESS_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
