"""Recovery on the starter model: mean KL before and after, at unchanged size, for each kind of artifact that there is.

Each method presses, is recovered by a run of its own, and both artifacts are evaluated on held-out texts that neither
calibration nor recovery has seen. A limit is missed where a recovered artifact has another size, where the change that
the recovery judged by is not below zero with its whole interval, where the evaluation's KL did not fall, and for taken
out blocks where less than half of the divergence went on unseen text of the kind that it was trained on, which is the
model's own chat. The evaluation's texts are of other kinds as well, and gain less: both are printed.

Minutes are by the clock, so a machine that does something else as well trains less in them: how busy it was is
printed with the figures.

    python tests/bench/bench_recover.py [--methods gptq-w4a16,gptqt-w3] [--minutes 10] [--samples 64] [--text 192]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _starter import home_with_starter

WANTED = ("gptq-w4a16", "squeezellm-w3", "gptqt-w3", "drop-blocks")
HALVED = ("drop-blocks",)
"""Where recovery is to take half of the divergence or more."""

SETTINGS: dict[str, tuple[str, ...]] = {"drop-blocks": ("blocks=4",)}


@dataclass(frozen=True)
class Row:
    """One method: KL on held-out texts before and after, and what the recovery judged by itself."""

    method: str
    before: float
    after: float
    judged: dict[str, Any]
    same_size: bool
    steps: int
    minutes: float

    @property
    def missed(self) -> str:
        """Which limit was missed, or nothing."""
        if not self.same_size:
            return "the size changed"
        if not self.judged["helped"]:
            return "its change is not below zero by more than its interval"
        if self.after >= self.before:
            return f"KL {self.after:.4f} on held-out texts is not below {self.before:.4f}"
        before, after = self.judged["before"]["value"], self.judged["after"]["value"]
        halved = self.method not in HALVED or after <= 0.5 * before
        return "" if halved else f"KL {after:.4f} on unseen samples is not below half of {before:.4f}"

    def line(self) -> str:
        change = self.judged["change"]
        return (
            f"{self.method:<14} KL {self.before:.4f} -> {self.after:.4f} ({self.after / self.before:.2f} times) on "
            f"held-out texts; judged {self.judged['before']['value']:.4f} -> {self.judged['after']['value']:.4f}, "
            f"change {change['value']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f}); {self.steps} steps in "
            f"{self.minutes:.1f} min (load {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores)"
            f"{'; MISSED: ' + self.missed if self.missed else ''}"
        )


def main() -> int:
    """Print a line a method; the exit status counts the limits that were missed."""
    from core.methods.catalogue import METHODS

    known = {method.id for method in METHODS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(name for name in WANTED if name in known))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--text", type=int, default=192, help="samples that the recovery trains on")
    parser.add_argument("--tokens", type=int, default=2048, help="scored per text")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home_with_starter(Path(folder))
        os.environ["BITPRESS_HOME"] = folder
        for name in chosen.methods.split(","):
            rows.append(_row(name, chosen))
            print(rows[-1].line(), flush=True)
    return sum(bool(row.missed) for row in rows)


def _row(name: str, chosen: argparse.Namespace) -> Row:
    settings = [word for each in SETTINGS.get(name, ()) for word in ("--set", each)]
    pressed = _bitpress("compress", "starter", "--method", name, *settings, "--samples", str(chosen.samples))
    artifact = pressed["output"]
    recovered = _bitpress("recover", artifact, "--minutes", str(chosen.minutes), "--samples", str(chosen.text))
    made = recovered["output"] or artifact
    found = _bitpress(
        "evaluate", "starter", artifact, *([made] if made != artifact else []), "--tokens", str(chosen.tokens)
    )
    kl = {other["path"]: other["kl"]["mean"] for other in found["others"]}
    judged = recovered["recovery"]
    return Row(
        method=name,
        before=kl[artifact],
        after=kl[made],
        judged=judged,
        same_size=pressed["bytes"] == recovered["bytes"],
        steps=judged["steps"],
        minutes=judged["seconds"] / 60,
    )


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
