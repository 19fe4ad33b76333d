"""Runs every benchmark, one after the other, each in a process of its own; every figure is a ratio from one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
BENCHES = ("first_paint", "event_loop", "generate", "evaluate", "job")


def main() -> int:
    """Print what each prints; the exit status counts those that missed their limit."""
    missed = 0
    for name in sys.argv[1:] or BENCHES:
        print(f"== {name}", flush=True)
        missed += subprocess.run([sys.executable, "-P", str(FOLDER / f"bench_{name}.py")], check=False).returncode != 0
    return missed


if __name__ == "__main__":
    sys.exit(main())
