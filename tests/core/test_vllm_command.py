"""Facts about how a vLLM server is started, and about addresses on this machine."""

import os
import socket
from pathlib import Path

import pytest

from core.engines.loopback import free_port, listener, loopback_endpoint, port_of
from core.engines.vllm_command import VllmPlan, kv_bytes, kv_gibibytes, vllm_command, vllm_environment, vllm_plan
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite
from core.models.local_model import LocalModel, Origin, Remark, Weights

SUITE = BenchmarkSuite(batches=(1, 4), prompt_tokens=64, output_tokens=32, seed=7)
MODEL = LocalModel(
    path=Path("/models/m"),
    name="m",
    origin=Origin.FOLDER,
    weights=Weights.SAFETENSORS,
    bytes=10,
    layers=30,
    hidden_size=576,
    heads=9,
    kv_heads=3,
    context_length=2048,
)


def plan(cpu: bool = True, model: LocalModel = MODEL, suite: BenchmarkSuite = SUITE) -> VllmPlan:
    return vllm_plan(model, suite, port=8123, cpu=cpu, threads=2 if cpu else None)


def test_that_the_server_listens_here_alone_and_runs_no_code_of_the_model() -> None:
    command = vllm_command(Path("/e/bin/python"), plan())
    words = " ".join(command)
    assert command[:2] == ("/e/bin/python", "-I")
    assert "--host 127.0.0.1 --port 8123" in words
    assert "--model /models/m" in words
    assert "--seed 7" in words
    assert "--load-format safetensors" in words
    assert "--no-enable-prefix-caching" in words
    assert "trust" not in words
    assert "key" not in words


def test_that_the_cpu_build_gets_its_fixes_and_the_gpu_build_a_cache_of_the_suites_size() -> None:
    cpu = vllm_environment(plan(), key="k", home=Path("/h"), inherited={})
    assert "--enforce-eager" in vllm_command(Path("/p"), plan())
    assert (cpu["VLLM_CPU_OMP_THREADS_BIND"], cpu["VLLM_CPU_KVCACHE_SPACE"], cpu["OMP_NUM_THREADS"]) == (
        "nobind",
        "1",
        "2",
    )
    gpu = vllm_command(Path("/p"), plan(cpu=False))
    assert "--enforce-eager" not in gpu
    assert gpu[gpu.index("--kv-cache-memory-bytes") + 1] == str(1 << 30)
    assert gpu[gpu.index("--gpu-memory-utilization") + 1] == "0.1"
    unknown = vllm_command(Path("/p"), plan(cpu=False, model=MODEL.model_copy(update={"layers": None})))
    assert "--gpu-memory-utilization" not in unknown


def test_that_credentials_and_the_network_stay_out_of_the_servers_environment() -> None:
    inherited = {"PATH": "/bin", "HF_TOKEN": "t", "HOME": "/root", "http_proxy": "p", "PYTHONPATH": "/x"}
    found = vllm_environment(plan(), key="k", home=Path("/h"), inherited=inherited)
    assert found["PATH"] == "/bin"
    assert (found["HOME"], found["VLLM_API_KEY"]) == ("/h", "k")
    assert not {"HF_TOKEN", "http_proxy", "PYTHONPATH"} & set(found)
    assert (found["HF_HUB_OFFLINE"], found["VLLM_NO_USAGE_STATS"], found["DO_NOT_TRACK"]) == ("1", "1", "1")


def test_that_the_cache_holds_every_request_with_room_to_spare() -> None:
    # 2 x 30 layers x 3 heads x 64 wide x 2 bytes, 4 sequences of one block of 128 tokens, a quarter more.
    assert kv_bytes(MODEL, 104, 4) == 2 * 30 * 3 * 64 * 2 * 4 * 128 * 5 // 4
    assert kv_bytes(MODEL.model_copy(update={"kv_heads": None}), 104, 4) is None
    assert kv_gibibytes(plan(model=MODEL.model_copy(update={"layers": None}))) == 4


def test_that_lengths_beyond_the_context_are_refused_and_the_slack_stays_inside_it() -> None:
    long = SUITE.model_copy(update={"prompt_tokens": 2017})
    with pytest.raises(BitpressError) as raised:
        plan(suite=long)
    assert raised.value.problem.code == "too-long"
    assert plan(suite=SUITE.model_copy(update={"prompt_tokens": 2016})).max_length == 2048


@pytest.mark.parametrize(
    "model",
    [
        MODEL.model_copy(update={"weights": Weights.GGUF}),
        MODEL.model_copy(update={"remarks": (Remark(code="remote-code", level="blocks", message="It needs code."),)}),
    ],
)
def test_that_a_model_that_is_no_plain_folder_of_safetensors_is_not_served(model: LocalModel) -> None:
    with pytest.raises(BitpressError) as raised:
        plan(model=model)
    assert raised.value.problem.code == "not-servable"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        (" http://localhost:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.8.9.10:1/v1", "http://127.8.9.10:1/v1"),
        ("https://[::1]:8000/v1", "https://[::1]:8000/v1"),
    ],
)
def test_that_loopback_addresses_are_taken(address: str, found: str) -> None:
    assert loopback_endpoint(address) == found


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("http://10.0.0.1:8000/v1", "endpoint-elsewhere"),
        ("http://api.example.com/v1", "endpoint-elsewhere"),
        ("http://localhost.example.com/v1", "endpoint-elsewhere"),
        ("http://0.0.0.0:8000/v1", "endpoint-elsewhere"),
        ("http://[::ffff:10.0.0.1]/v1", "endpoint-elsewhere"),
        ("http://127.0.0.1@10.0.0.1/v1", "bad-endpoint"),
        ("ftp://127.0.0.1/v1", "bad-endpoint"),
        ("127.0.0.1:8000", "bad-endpoint"),
        ("http://127.0.0.1:port/v1", "bad-endpoint"),
        ("http://[::1/v1", "bad-endpoint"),
        ("", "bad-endpoint"),
    ],
)
def test_that_everything_else_is_refused(address: str, code: str) -> None:
    with pytest.raises(BitpressError) as raised:
        loopback_endpoint(address)
    assert raised.value.problem.code == code


def test_that_a_free_port_has_no_listener_until_somebody_listens() -> None:
    port = free_port()
    assert 1024 <= port <= 65535
    assert listener(port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert listener(port_of(f"http://127.0.0.1:{port}/v1")) == os.getpid()
    assert port_of("https://[::1]/v1") == 443
