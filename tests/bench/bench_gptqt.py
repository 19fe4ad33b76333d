"""GPTQT against GPTQ with activation ordering at the same bits, on the same calibration data, on the starter model.

Each row is pressed and proved through the whole job, then all are scored on the same held-out text. The table says mean
KL divergence with its 95 % interval over documents, and the paired difference to the first row of its width, which is
GPTQ with one scale and zero point a row: nearly the same bytes. There is no limit to miss: which one is closer is what
the table is for, and it is printed as it comes out. The model's weights come from a 4-bit grid, which favours none of
them at 3 bits, and it is small: what holds for it need not hold for a large one.

    python tests/bench/bench_gptqt.py [--samples 64] [--tokens 2048] [--only w3] [--keep FOLDER] [--write FILE]
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

LENGTH = 256
TITLES = ("Weights", "Bits a weight", "Mean KL", "95 %", "Same top-1", "KL less that of the first", "95 %")


@dataclass(frozen=True)
class Row:
    """A recipe; rows of one width are held against the first of it."""

    width: str
    title: str
    method: str
    settings: tuple[str, ...]

    @property
    def folder(self) -> str:
        return "-".join((self.method, *(word.replace("=", "") for word in self.settings)))


def gptq(bits: int, title: str, *settings: str) -> Row:
    return Row(f"w{bits}", f"GPTQ, static order, {title}", f"gptq-w{bits}a16", ("symmetric=false", *settings))


def gptqt(bits: int, grid: int, *, scales: int = 13) -> Row:
    again = f"{scales} scales" if scales > 1 else "no new search for the scale"
    return Row(
        f"w{bits}", f"GPTQT, n = {grid}, {again}", f"gptqt-w{bits}", (f"grid_bits={grid}", f"shrink_steps={scales}")
    )


ROWS = (
    gptq(3, "a scale a row", "group_size=channel"),
    gptq(3, "a scale a row, mse", "group_size=channel", "observer=mse"),
    gptq(3, "groups of 64", "group_size=64"),
    gptqt(3, 5),
    gptqt(3, 5, scales=1),
    gptqt(3, 4),
    gptqt(3, 4, scales=1),
    gptq(2, "a scale a row", "group_size=channel"),
    gptq(2, "a scale a row, mse", "group_size=channel", "observer=mse"),
    gptqt(2, 5),
    gptqt(2, 4),
    gptq(4, "a scale a row, mse", "group_size=channel", "observer=mse"),
    gptqt(4, 5),
)


def main() -> int:
    """Print the table; the exit status is 0 unless something fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2048, help="scored per text")
    parser.add_argument("--only", default="w2,w3,w4", help="widths")
    parser.add_argument("--keep", type=Path, help="where everything stays, so that a second run goes on from it")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = (chosen.keep or Path(folder)).absolute()
        if not (home / "models").is_dir():
            home_with_starter(home)
        os.environ["BITPRESS_HOME"] = str(home)
        lines = [f"| {' | '.join(cells)} |" for cells in (TITLES, ["---"] * len(TITLES))]
        for width in chosen.only.split(","):
            rows = [row for row in ROWS if row.width == width]
            made = [_pressed(home / row.folder, row, chosen.samples) for row in rows]
            texts = ("--text", "chat", "--text", "prose", "--tokens", str(chosen.tokens))
            found = _bitpress("evaluate", "starter", *map(str, made), *texts)
            lines += [_line(row, path, found, str(made[0])) for row, path in zip(rows, made, strict=True)]
            print("\n".join(lines), flush=True)
    text = (
        "\n".join(lines)
        + f"\n\n{found['tokens']:,} tokens of held-out chat and prose, {found['documents']} documents\n"
    )
    print(f"\n{text}")
    if chosen.write is not None:
        chosen.write.write_text(text, encoding="utf-8")
    return 0


def _line(row: Row, path: Path, found: dict[str, Any], first: str) -> str:
    other = next(each for each in found["others"] if each["path"] == str(path))
    kl = other["kl_interval"]
    cells = [
        f"{row.width.upper()} {row.title}",
        f"{bits_a_weight(path):.3f}",
        f"{kl['value']:.4f}",
        f"{kl['low']:.4f} to {kl['high']:.4f}",
        f"{100 * other['same_top1']['value']:.1f} %",
        *_less(found["pairs"], first, str(path)),
    ]
    return f"| {' | '.join(cells)} |"


def _less(pairs: list[dict[str, Any]], first: str, path: str) -> tuple[str, str]:
    """The mean KL of `path` less that of `first`, with its interval; below zero where `path` is closer."""
    for pair in pairs:
        kl = pair["kl"]
        if (pair["first"], pair["second"]) == (first, path):
            return f"{kl['value']:+.4f}", f"{kl['low']:+.4f} to {kl['high']:+.4f}"
        if (pair["first"], pair["second"]) == (path, first):
            return f"{-kl['value']:+.4f}", f"{-kl['high']:+.4f} to {-kl['low']:+.4f}"
    return "", ""


def bits_a_weight(artifact: Path) -> float:
    """Bits on disk for each compressed weight: codes, scales, zero points, coefficients."""
    from core.models.safetensors_header import merged, read_headers

    tensors = merged(read_headers(artifact))
    stems = {
        name.rpartition(".")[0]
        for name in tensors
        if name.endswith((".weight_scale", ".coefficients", ".weight_packed"))
    }
    original = merged(read_headers(Path(os.environ["BITPRESS_HOME"]) / "models" / "SmolLM2-135M-Instruct"))
    weights = sum(original[f"{stem}.weight"].elements for stem in stems)
    stored = sum(entry.bytes for name, entry in tensors.items() if name.rpartition(".")[0] in stems)
    return 8 * stored / weights


def _pressed(output: Path, row: Row, samples: int) -> Path:
    if not output.is_dir():
        settings = [word for each in row.settings for word in ("--set", each)]
        data = ("--samples", str(samples), "--max-length", str(LENGTH))
        _bitpress("compress", "starter", "--method", row.method, *settings, *data, "--output", str(output))
    return output


def _bitpress(*arguments: str) -> dict[str, Any]:
    """The result of the command line, run as a person would."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "app", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=7200,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise SystemExit(f"bitpress {' '.join(arguments)} failed:\n{lines[-1] if lines else done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())
