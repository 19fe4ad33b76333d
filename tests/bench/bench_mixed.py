"""A mix of schemes chosen by sensitivity against uniform W4A16, both by GPTQ on the same data, on the starter model.

The mix may take 10 % more bytes for the linear layers than the uniform scheme with the same group size. On held-out
text its mean KL divergence has to be lower, by a paired difference whose 95 % interval over documents excludes zero.
The sensitivities are measured on calibration text, never on what is evaluated.

    python tests/bench/bench_mixed.py [--samples 64] [--tokens 8192] [--texts chat,prose] [--keep FOLDER]
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

MORE = 10
"""Per cent of the uniform scheme's bytes."""

GROUP = 64


def main() -> int:
    """Print the figures; exit status 1 where the mix is not smaller than asked, or not better by its interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=8192, help="scored per text")
    parser.add_argument("--texts", default="chat,prose")
    parser.add_argument("--keep", type=Path, help="where everything stays, so that a second run goes on from it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = (chosen.keep or Path(folder)).absolute()
        if not (home / "models").is_dir():
            home_with_starter(home)
        os.environ["BITPRESS_HOME"] = str(home)
        recipe = home / "mix.yaml"
        if not recipe.exists():
            budget = ("--budget", f"W4A16+{MORE}%", "--group-size", str(GROUP))
            _bitpress("sensitivity", "starter", *budget, "--write-recipe", str(recipe))
        uniform = _pressed(home / "uniform", chosen.samples, "--method", "gptq-w4a16", "--set", f"group_size={GROUP}")
        mix = _pressed(home / "mix", chosen.samples, "--recipe", str(recipe))
        groups = bits_of_groups(mix)
        torn = [key for key, bits in groups.items() if len(bits) > 1]
        wide = sum(bits == {8.0} for bits in groups.values())
        print(f"{wide} of {len(groups)} groups of layers have 8 bits, the rest 4; {len(torn)} have both")
        texts = [word for name in chosen.texts.split(",") for word in ("--text", name)]
        found = _bitpress("evaluate", "starter", str(mix), str(uniform), *texts, "--tokens", str(chosen.tokens))
        return _told(found, {str(mix): linear_bytes(mix), str(uniform): linear_bytes(uniform)}) or int(bool(torn))


def linear_bytes(artifact: Path) -> int:
    """Bytes of everything that compressed modules are stored as: packed weights, scales, shapes."""
    from core.models.safetensors_header import merged, read_headers

    tensors = merged(read_headers(artifact))
    stems = {name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")}
    return sum(entry.bytes for name, entry in tensors.items() if name.rpartition(".")[0] in stems)


def bits_of_groups(artifact: Path) -> dict[str, set[float]]:
    """The bits of every group of layers that an engine runs as one: from packed words and scales in the file."""
    from core.methods.fused import fused
    from core.models.safetensors_header import merged, read_headers

    tensors = merged(read_headers(artifact))
    bits = {}
    for name, packed in tensors.items():
        stem = name.removesuffix(".weight_packed")
        if stem != name:
            bits[stem] = packed.shape[1] * 32 / (tensors[f"{stem}.weight_scale"].shape[1] * GROUP)
    return {group.key: {bits[name] for name in group.modules} for group in fused(bits)}


def _told(found: dict[str, Any], sizes: dict[str, int]) -> int:
    mix, uniform = found["others"]
    for other in (uniform, mix):
        kl = other["kl_interval"]
        print(
            f"{Path(other['path']).name:<8} linear layers {sizes[other['path']]:>12,} bytes, mean KL {kl['value']:.4f} "
            f"({kl['low']:.4f} to {kl['high']:.4f}), same top-1 {100 * other['same_top1']['value']:.1f} %"
        )
    for text in found["texts"]:
        both = {Path(other["path"]).name: other["kl"]["mean"] for other in text["others"]}
        print(f"  {text['text']}, {text['tokens']:,} tokens: uniform {both['uniform']:.4f}, mix {both['mix']:.4f}")
    (pair,) = found["pairs"]
    less = pair["kl"]
    more = sizes[mix["path"]] / sizes[uniform["path"]] - 1
    print(
        f"the mix takes {100 * more:.2f} % more bytes (at most {MORE} %), and its mean KL is lower by "
        f"{less['value']:.4f} ({less['low']:.4f} to {less['high']:.4f}, paired, {found['documents']} documents)"
    )
    return int(more > MORE / 100 or less["low"] <= 0.0)


def _pressed(output: Path, samples: int, *asked: str) -> Path:
    if not output.is_dir():
        _bitpress("compress", "starter", *asked, "--samples", str(samples), "--output", str(output))
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
