"""The order of four methods on the starter model's chat: mean KL falls from RTN W4 to W8A16, and no intervals overlap.

    python tests/bench/bench_order.py [ORIGINAL RTN_W4 GPTQ_W4 W8A8 W8A16] [--tokens 4096] [--samples 128]

Without folders the starter is compressed by each method first, through the command line, with the same groups of 64.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from _starter import home_with_starter, starter_folder

if TYPE_CHECKING:
    from core.jobs.protocol import AnyEvent
    from core.measure.results import EvaluationResult

METHODS = {
    "rtn-w4a16": ("group_size=64",),
    "gptq-w4a16": ("group_size=64",),
    "smoothquant-gptq-w8a8": (),
    "rtn-w8a16": ("group_size=64",),
}
"""Methods and what is not their default, worst first."""


def main() -> int:
    """Print every figure; the exit status counts the neighbours whose intervals overlap or stand the other way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    if chosen.folders and len(chosen.folders) != 1 + len(METHODS):
        parser.error(f"either no folder or {1 + len(METHODS)}: the original, then {', '.join(METHODS)}")
    with tempfile.TemporaryDirectory() as home:
        folders = chosen.folders or [starter_folder(), *_pressed(Path(home), chosen.samples)]
        found = evaluated(folders, chosen.tokens, chosen.cache or Path(home) / "cache" / "evaluation")
    for floor in found.noise:
        print(f"noise floor, {floor.kind}: {floor.kl_interval.value:.5f} nats, at most {floor.kl_interval.at_most:.5f}")
    for name, other in zip(METHODS, found.others, strict=True):
        kl, same = other.kl_interval, other.same_top1
        print(
            f"{name:<24} mean KL {kl.value:.5f} ({kl.low:.5f} to {kl.high:.5f}), "
            f"the other way {other.kl_reverse_interval.value if other.kl_reverse_interval else 0:.5f}, "
            f"same top-1 {100 * same.value:.2f} % ({100 * same.low:.2f} to {100 * same.high:.2f}), "
            f"ratio {other.perplexity_ratio.value:.4f}, measurable {other.measurable}"
        )
    missed = sum(worse.kl_interval.low <= better.kl_interval.high for worse, better in pairwise(found.others))
    print(f"{found.tokens} tokens of {found.documents} answers, {found.seconds:.0f} s; {missed} neighbours overlap")
    return missed


def evaluated(folders: list[Path], tokens: int, cache: Path) -> EvaluationResult:
    """The first against the others on chat, in this process."""
    from core.jobs.protocol import Evaluate
    from core.measure.results import EvaluationResult, EvaluationSuite
    from core.worker import evaluate
    from core.worker.reporter import Reporter

    class Silent:
        def send(self, event: AnyEvent) -> None:
            """Nobody listens."""

    original, *others = (str(folder) for folder in folders)
    command = Evaluate(
        job="order",
        original=original,
        others=tuple(others),
        suite=EvaluationSuite(texts=("chat",), tokens=tokens),
        cache=str(cache),
    )
    return EvaluationResult.model_validate(evaluate.run(command, Reporter("order", Silent(), threading.Event())))


def _pressed(home: Path, samples: int) -> list[Path]:
    home_with_starter(home)
    folders = []
    for method, settings in METHODS.items():
        given = [part for one in settings for part in ("--set", one)]
        command = [sys.executable, "-P", "-m", "app", "compress", "starter", "--method", method, *given]
        done = subprocess.run(
            [*command, "--samples", str(samples), "--json"],
            env={**os.environ, "BITPRESS_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
        folders.append(Path(json.loads(done.stdout.splitlines()[-1])["output"]))
    return folders


if __name__ == "__main__":
    sys.exit(main())
