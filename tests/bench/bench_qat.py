"""Quantization-aware fine-tuning on the starter model: mean KL of W4A16 by rounding against W4A16 trained for it.

Both artifacts are the same size. Two comparisons: the run's own, paired by sample, on samples that its training has not
seen; and the evaluation of both artifacts on held-out texts of other kinds. Beside them GPTQ from the same data, and
the peak memory against its estimate. A limit is missed where the run's own change is not below zero with its whole
interval, where the sizes differ, or where memory leaves its estimated range.

    python tests/bench/bench_qat.py [--groups 32,64] [--minutes 10] [--samples 64] [--batch 4] [--rate 1e-4] [--gptq]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _starter import home_with_starter


def main() -> int:
    """Print what came out for each group size; the exit status counts the limits that were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", default="32,64")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--tokens", type=int, default=512, help="scored per text")
    parser.add_argument("--gptq", action="store_true", help="GPTQ from the same data as well")
    chosen = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        home_with_starter(Path(folder))
        os.environ["BITPRESS_HOME"] = folder
        for group in chosen.groups.split(","):
            missed += _group(group, chosen)
    return missed


def _group(group: str, chosen: argparse.Namespace) -> int:
    data = ("--samples", str(chosen.samples))
    size = ("--set", f"group_size={group}")
    settings = {"minutes": chosen.minutes, "batch_size": chosen.batch, "learning_rate": chosen.rate, "passes": 100}
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    planned = _bitpress("plan", "starter", "--method", "qat-w4a16", *size, *words, *data)
    trained = _bitpress("compress", "starter", "--method", "qat-w4a16", *size, *words, *data)
    rounded = _bitpress("compress", "starter", "--method", "rtn-w4a16", *size)
    others = {"rounding": rounded["output"], "trained": trained["output"]}
    if chosen.gptq:
        others["GPTQ"] = _bitpress("compress", "starter", "--method", "gptq-w4a16", *size, *data)["output"]
    found = _bitpress("evaluate", "starter", *others.values(), "--tokens", str(chosen.tokens))
    kl = {other["path"]: other["kl"] for other in found["others"]}
    own, change = trained["training"], trained["training"]["change"]
    low, high = planned["estimates"]["host_bytes"]["low"], planned["estimates"]["host_bytes"]["high"]
    peak = trained["host_peak_bytes"]
    print(
        f"group {group}: {own['steps']} steps of {chosen.batch} samples, {own['tokens']} tokens, "
        f"{own['seconds'] / 60:.1f} min, best at step {own['best_step']}\n"
        f"  on {own['judged_samples']} unseen samples ({own['judged_tokens']} tokens): "
        f"KL {own['before']['value']:.4f} by rounding, {own['after']['value']:.4f} trained, "
        f"change {change['value']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f})\n"
        + "".join(
            f"  held-out texts, {name}: KL {kl[path]['mean']:.4f} ({kl[path]['low']:.4f} to {kl[path]['high']:.4f})\n"
            for name, path in others.items()
        )
        + f"  peak {peak / 2**30:.2f} GiB, estimated {low / 2**30:.2f} to {high / 2**30:.2f}",
        flush=True,
    )
    fails = [
        not own["helped"],
        trained["bytes"] != rounded["bytes"],
        not low <= peak <= high,
    ]
    return sum(fails)


def _bitpress(*arguments: str) -> dict[str, Any]:
    """The result of the command line with --json; raises where it failed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "app", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=7200,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        raise RuntimeError(f"bitpress {' '.join(arguments)}: {lines[-1] if lines else done.stderr[-500:]}")
    found: dict[str, Any] = lines[-1]
    return found


if __name__ == "__main__":
    sys.exit(main())
