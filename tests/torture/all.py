"""Runs every torture at full size, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
TORTURES = ("fuzz_inputs", "limited_memory", "thousand_jobs", "kills", "killed_layers")


def main() -> int:
    """Print what each prints; the exit status counts those that found something."""
    failed = 0
    for name in sys.argv[1:] or TORTURES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-P", str(FOLDER / f"{name}.py")]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
