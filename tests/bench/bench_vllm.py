"""Serving speed for real: vLLM in its own environment, the starter model against its W8A8 artifact, and nothing left.

Makes the environment (once, about 3.5 GB) and the artifact where they are missing, runs `bitpress bench --engine vllm`,
and then once more to kill it in the middle. Missed where a figure lacks, or a process or shared memory of a server is
left. BITPRESS_TEST_ENGINES_HOME names a home that has the environment already, BITPRESS_TEST_W8A8 a finished artifact.

    python tests/bench/bench_vllm.py MODEL [--prompt 64] [--output 32]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
METHOD = "smoothquant-gptq-w8a8"
CONCURRENCIES = (1, 4)
GONE_SECONDS = 30.0
SHARED = Path("/dev/shm")


def main() -> int:
    """Print the figures; the exit status counts what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--output", type=int, default=32)
    chosen = parser.parse_args()
    home = Path(os.environ.get("BITPRESS_TEST_ENGINES_HOME", ROOT / ".test-home"))
    os.environ["BITPRESS_HOME"] = str(home)
    if not (home / "engines" / "vllm" / "ready.json").exists():
        print(asked("engine", "install", "vllm")[-1])
    artifact = os.environ.get("BITPRESS_TEST_W8A8") or pressed(home, chosen.model)
    lengths = ("--prompt-tokens", str(chosen.prompt), "--output-tokens", str(chosen.output))
    batches = [word for number in CONCURRENCIES for word in ("--batch", str(number))]
    command = ("bench", chosen.model, artifact, "--engine", "vllm", *lengths, *batches)
    before = shared_memory()
    result = asked(*command)[-1]
    missed = shown(result)
    missed += left_behind("after it ended", before)
    killed_in_the_middle(command)
    missed += left_behind("after it was killed", before)
    return missed


def asked(*arguments: str) -> list[dict[str, Any]]:
    """What `bitpress ... --json` prints; ends this program where it fails."""
    command = [sys.executable, "-P", "-m", "app", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {lines[-1] if lines else ''}")
    return lines


def pressed(home: Path, model: str) -> str:
    """The artifact, made on first use."""
    output = home / "artifacts" / f"bench-{METHOD}"
    if not output.exists():
        asked("compress", model, "--method", METHOD, "--samples", "16", "--max-length", "256", "--output", str(output))
    return str(output)


def shown(result: dict[str, Any]) -> int:
    """Print figures and verdict; how many cases lack."""
    for model in result["models"]:
        print(f"{model['name']}: start {model['load_seconds']:.1f} s, peak {model['peak_bytes'] / 1e9:.2f} GB")
        for case in model["cases"]:
            figures = ", ".join(
                f"{key} {case[key]['value']:.1f} ({case[key]['low']:.1f} to {case[key]['high']:.1f})"
                for key in ("ttft_ms", "itl_ms", "itl_p99_ms", "tokens_per_second")
            )
            print(f"  {case['batch']} at once: {figures}")
    for model in result["models"][1:]:
        print(f"{model['name']}: {model['verdict']['sentence']}")
    return 2 * len(CONCURRENCIES) - sum(len(model["cases"]) for model in result["models"])


def killed_in_the_middle(command: tuple[str, ...]) -> None:
    """Run it again and SIGKILL the application while its server answers."""
    started = [sys.executable, "-P", "-m", "app", *command, "--json"]
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE) as application:
        assert application.stdout is not None
        for line in application.stdout:
            event = json.loads(line)
            if event["type"] == "stage_started" and event["stage"] == "warm-up":
                break
        print(f"killed while {len(servers())} processes served")
        application.send_signal(signal.SIGKILL)


def left_behind(when: str, before: frozenset[str]) -> int:
    """How many processes of a server and pieces of shared memory are left, after some patience."""
    started = time.monotonic()
    while (left := [*servers(), *(shared_memory() - before)]) and time.monotonic() - started < GONE_SECONDS:
        time.sleep(0.1)
    print(f"left {when}: {left or 'nothing'} ({time.monotonic() - started:.1f} s)")
    return len(left)


def servers() -> list[str]:
    """Processes that vLLM's server consists of, with our guardian; all of them have a TMPDIR of ours."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            ours = process.environ().get("TMPDIR", "").rpartition("/")[2].startswith("bitpress-")
        except psutil.Error:
            continue
        if ours and process.status() != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid} {words[:80]}")
    return found


def shared_memory() -> frozenset[str]:
    return frozenset(path.name for path in SHARED.iterdir()) if SHARED.is_dir() else frozenset()


if __name__ == "__main__":
    sys.exit(main())
