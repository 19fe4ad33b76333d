"""Runs every benchmark, one after the other, each in a process of its own; every figure is a ratio from one run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from _starter import starter_folder

FOLDER = Path(__file__).parent
BENCHES = (
    "first_paint",
    "event_loop",
    "generate",
    "evaluate",
    "order",
    "job",
    "estimates",
    "families",
    "methods",
    "codebook",
    "fisher",
    "mixed",
    "recover",
    "qat",
    "gptqt",
    "vllm",
)
ON_THE_STARTER = ("generate", "evaluate", "fisher", "vllm")
"""Benchmarks that take a model folder."""


def main() -> int:
    """Print what each prints; the exit status counts those that missed their limit."""
    missed = 0
    for name in sys.argv[1:] or BENCHES:
        print(f"== {name}", flush=True)
        arguments = [str(starter_folder())] if name in ON_THE_STARTER else []
        command = [sys.executable, str(FOLDER / f"bench_{name}.py"), *arguments]
        # As workers are started: threads that wait do not spin.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        missed += subprocess.run(command, env=environment, check=False).returncode != 0
    return missed


if __name__ == "__main__":
    sys.exit(main())
