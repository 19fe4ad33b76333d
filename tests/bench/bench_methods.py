"""Every method of the catalogue on the starter model, through the whole job: pressed, proved, evaluated, in one table.

Size, seconds, proof, mean KL divergence and top-1 agreement are of one run each, with a small calibration, so that the
table ranks methods roughly; a method of standing recommended or advanced whose artifact does not pass misses its limit.
AWQ at 4 bits has to end with at most 1.2 times the divergence of GPTQ with the same groups on the same data.

    python tests/bench/bench_methods.py [--methods fp8-dynamic,gptq-w4a16] [--write resources/method-figures.md]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _starter import home_with_starter

SAMPLES, MAX_LENGTH, TOKENS = 16, 256, 2048
SETTINGS: dict[str, tuple[str, ...]] = {"autoround-w4a16": ("iters=20",)}
"""Parameters that are not the default: less work where the default is meant for a GPU."""

AWQ_LIMIT = 1.2
BLOCKED = 3
"""The command line's exit status where preflight found something in the way."""

TITLES = ("Method", "Standing", "MB", "Seconds", "Proof", "KL", "Top-1")


@dataclass(frozen=True)
class Row:
    """One method: what came of it. `proof` is passed, failed or blocked; `why` says what stood in the way."""

    method: str
    standing: str
    proof: str = ""
    why: str = ""
    output: str = ""
    bytes: int | None = None
    seconds: float | None = None
    kl: float | None = None
    top1: float | None = None

    def cells(self) -> tuple[str, ...]:
        return (
            f"`{self.method}`",
            self.standing,
            "" if self.bytes is None else f"{self.bytes / 1e6:.1f}",
            "" if self.seconds is None else f"{self.seconds:.0f}",
            f"{self.proof}: {self.why}" if self.why else self.proof,
            "" if self.kl is None else f"{self.kl:.4f}",
            "" if self.top1 is None else f"{100 * self.top1:.1f} %",
        )


def main() -> int:
    """Print the table, and write it where that is asked for; the exit status counts the limits that were missed."""
    from core.methods.catalogue import METHODS, find

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(method.id for method in METHODS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--max-length", type=int, default=MAX_LENGTH)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="scored per text")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home_with_starter(home)
        os.environ["BITPRESS_HOME"] = folder
        rows = []
        for name in chosen.methods.split(","):
            method = find(name)
            pressed = _pressed(Row(method=name, standing=str(method.standing)), chosen)
            rows.append(_evaluated(pressed, chosen.tokens))
            print(" | ".join(rows[-1].cells()), flush=True)
    missed = [row for row in rows if row.proof == "failed" and row.standing in ("recommended", "advanced")]
    for row in missed:
        print(f"{row.method} is {row.standing} and did not pass: {row.why}")
    text = _markdown(rows, chosen)
    print(f"\n{text}")
    if chosen.write is not None:
        chosen.write.write_text(text, encoding="utf-8")
    return len(missed) + _awq_missed(rows)


def _pressed(row: Row, chosen: argparse.Namespace) -> Row:
    """The row after compression and proof; what preflight can mend by itself is mended."""
    settings = dict(each.split("=", 1) for each in SETTINGS.get(row.method, ()))
    data = ["--samples", str(chosen.samples), "--max-length", str(chosen.max_length)]
    for _ in range(2):
        started = time.monotonic()
        given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        status, lines = _bitpress("compress", "starter", "--method", row.method, *given, *data)
        mends = [line["fix"] for line in lines if line.get("severity") == "blocks" and line.get("fix")]
        mends = [mend for mend in mends if "method" not in mend]  # Another method's row would not be this one's.
        if status != BLOCKED or not mends:
            break
        settings |= {name: json.dumps(value) for mend in mends for name, value in mend.items()}
        row = replace(row, why=f"with {', '.join(mends[0])} mended")
    last = lines[-1]
    if status:
        reason = str(last.get("message") or "it ended without a word").split(". ")[0]
        proof = "blocked" if status == BLOCKED else "failed"
        return replace(row, proof=proof, why=reason, seconds=time.monotonic() - started)
    return replace(
        row, proof="passed", output=last["output"], bytes=last["bytes"], seconds=float(last["compress_seconds"])
    )


def _evaluated(row: Row, tokens: int) -> Row:
    if not row.output:
        return row
    status, lines = _bitpress(
        "evaluate", "starter", row.output, "--text", "chat", "--text", "prose", "--tokens", str(tokens)
    )
    shutil.rmtree(row.output)
    if status:
        return replace(row, why=f"not evaluated: {lines[-1].get('message')}")
    (other,) = lines[-1]["others"]
    return replace(row, kl=other["kl"]["mean"], top1=other["same_top1"]["value"])


def _bitpress(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and the lines of the command line with --json."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "app", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=7200,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, lines or [{"message": done.stderr[-500:]}]


def _awq_missed(rows: list[Row]) -> int:
    by = {row.method: row.kl for row in rows if row.kl is not None}
    if "awq-w4a16" not in by or "gptq-w4a16" not in by:
        return 0
    ratio = by["awq-w4a16"] / by["gptq-w4a16"]
    print(f"AWQ's divergence is {ratio:.2f} times GPTQ's (at most {AWQ_LIMIT})")
    return int(ratio > AWQ_LIMIT)


def _markdown(rows: list[Row], chosen: argparse.Namespace) -> str:
    from importlib.metadata import version

    import torch

    from core.telemetry.host import cpu_name

    table = [TITLES, ("---", "---", "---:", "---:", "---", "---:", "---:"), *(row.cells() for row in rows)]
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    versions = ", ".join(f"{name} {version(name)}" for name in ("llmcompressor", "compressed-tensors", "transformers"))
    return (
        "# What each method costs\n\n"
        "SmolLM2-135M-Instruct (269.1 MB in bf16), pressed, proved and evaluated by `make bench BENCH=methods`. "
        "One run each on "
        f"{cpu_name()}, {torch.get_num_threads()} threads, no GPU; {versions}. Calibration: {chosen.samples} "
        f"self-made chats of at most {chosen.max_length} tokens. KL divergence (mean, nats per token) and top-1 "
        f"agreement are against the original on {chosen.tokens:,} tokens each of held-out chat and prose. Seconds are "
        "of the compression, without the proof.\n\n"
        "A model this small loses far more at 4 bits than one of billions of parameters, and its weights come from a "
        "4-bit grid: the table shows that every method works here, and ranks them roughly.\n\n"
        f"{lines}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
