"""Ways to 3 bits on two models: rounding, k-means, SqueezeLLM as its paper has it and as ours fits it, GPTQ, GPTQT.

All but GPTQ in groups have one scale, one table or one set of coefficients a row. "as in the paper" is SqueezeLLM with
each weight at the nearest value of its table, "fitted" the same tables with our fit of indices and values to the
layers' outputs (`compensation`). One model is the starter, whose weights come from a 4-bit grid; the other was trained
from nothing by `scratch_model.py` and has no such history: it is said which is which. Each artifact is made by the
worker as a job makes it, and evaluated on held-out text. What is demanded: fitted SqueezeLLM with kept weights below
the same without, below unweighted k-means, below rounding, and without kept weights below GPTQ W3A16 in groups of 64 at
no larger size. Each is decided by the paired difference over documents: shown where its whole 95 % interval is on that
side, missed where the difference itself is not. GPTQT has none, and `bench_gptqt.py` takes it apart. The table is
printed as it comes out.

    python tests/bench/bench_codebook.py [--models starter,scratch] [--ways rounded,gptq] [--samples 64]
                                         [--tokens 2048] [--keep FOLDER]
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
from pathlib import Path
from threading import Event
from typing import Any

from _starter import ROOT, starter_folder

KEPT = Path(os.environ.get("BITPRESS_BENCH_CACHE", ROOT / ".test-home" / "bench"))
"""Where the model from nothing stays for the next time."""

ROUNDED, UNWEIGHTED, ACTIVATION = "rounding a row", "k-means, all alike", "activations, table alone, as in the paper"
PAPER, PAPER_KEPT = "SqueezeLLM, table alone, as in the paper", "SqueezeLLM, 0.45 % kept, as in the paper"
DENSE, SPARSE = "SqueezeLLM, table alone, fitted", "SqueezeLLM, 0.45 % kept, fitted"
GPTQ, GPTQ_ROW, GPTQT = "GPTQ W3A16 g64", "GPTQ W3A16 a row, static order", "GPTQT"

NAMES = {
    "rounded": ROUNDED,
    "unweighted": UNWEIGHTED,
    "paper": PAPER,
    "paper-kept": PAPER_KEPT,
    "dense": DENSE,
    "kept": SPARSE,
    "gptq": GPTQ,
    "gptq-row": GPTQ_ROW,
    "gptqt": GPTQT,
    "activation": ACTIVATION,
}

DEMANDED = ((SPARSE, DENSE), (DENSE, UNWEIGHTED), (UNWEIGHTED, ROUNDED), (DENSE, GPTQ))
"""The first is to have the lower divergence."""

TOLD = (
    (PAPER_KEPT, PAPER),
    (PAPER, UNWEIGHTED),
    (PAPER, GPTQ),
    (DENSE, PAPER),
    (SPARSE, PAPER_KEPT),
    (GPTQT, GPTQ_ROW),
)
"""Held against each other without a demand."""

HISTORY = {
    "starter": "SmolLM2-135M-Instruct: its weights come from a 4-bit grid (Q4_1)",
    "scratch": "a Llama of 11.5 million parameters trained from nothing: its weights were never on a grid",
}


class _Silent:
    def send(self, event: Any) -> None:
        if event.type == "stage_finished":
            print(f"    {event.stage} {event.seconds:.1f} s", flush=True)


def main() -> int:
    """Print a table for each model; the exit status counts the limits that were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="starter,scratch")
    parser.add_argument("--ways", default=",".join(NAMES))
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2048, help="scored per text")
    parser.add_argument("--steps", type=int, help="of training from nothing")
    parser.add_argument("--keep", type=Path, help="where artifacts stay, so that a second run goes on from them")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        _run_child(json.loads(chosen.child))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        place = (chosen.keep or Path(folder)).absolute()
        for name in chosen.models.split(","):
            missed += _compared(name, place / name, chosen)
    return missed


def variants() -> dict[str, list[Any]]:
    """The modifiers of each way, as the catalogue's methods make them; rounding a row has no entry of its own."""
    from core.methods.catalogue import find
    from core.methods.modifiers import rounding
    from core.methods.scheme import LINEAR, Rule
    from core.methods.schemes import int_weights

    squeezellm, gptq, gptqt = find("squeezellm-w3"), find("gptq-w3a16"), find("gptqt-w3")
    fitted = {**squeezellm.defaults(None), "ignore": ["lm_head"], "compensation": True}
    alone = {"sensitive_share": 0.0, "outlier_share": 0.0}
    paper = {**fitted, "compensation": False}
    scheme = int_weights(3, "channel", symmetric=False, observer="memoryless_minmax")
    return {
        ROUNDED: [rounding((Rule(targets=LINEAR, scheme=scheme),), {"ignore": ["lm_head"]})],
        UNWEIGHTED: list(squeezellm.modifiers({**paper, **alone, "sensitivity": "none"})),
        ACTIVATION: list(squeezellm.modifiers({**paper, **alone, "sensitivity": "activation"})),
        PAPER: list(squeezellm.modifiers({**paper, **alone})),
        PAPER_KEPT: list(squeezellm.modifiers(paper)),
        DENSE: list(squeezellm.modifiers({**fitted, **alone})),
        SPARSE: list(squeezellm.modifiers(fitted)),
        GPTQ: list(gptq.modifiers({**gptq.defaults(None), "group_size": 64, "ignore": ["lm_head"]})),
        GPTQ_ROW: list(gptq.modifiers({**gptq.defaults(None), "group_size": "channel", "ignore": ["lm_head"]})),
        GPTQT: list(gptqt.modifiers({**gptqt.defaults(None), "ignore": ["lm_head"]})),
    }


def _compared(name: str, place: Path, chosen: argparse.Namespace) -> int:
    from core.calibration.spec import SELF_CHAT, CalibrationSpec
    from core.jobs.protocol import Compress, Evaluate
    from core.measure.results import EvaluationSuite

    place.mkdir(parents=True, exist_ok=True)
    print(f"{name}: {HISTORY[name]}", flush=True)
    if name == "starter":
        # Enough documents to tell rounding from unweighted k-means, which both leave little of this model.
        model, source, texts = starter_folder(), SELF_CHAT, ("chat", "prose", "technical", "code")
    else:
        from scratch_model import STEPS, scratch_model

        model = scratch_model(KEPT, chosen.steps or STEPS)
        source, texts = str(KEPT / "calibration.txt"), (str(KEPT / "held-out"),)
    spec = CalibrationSpec(source=source, samples=chosen.samples, max_length=512)
    made: dict[str, Path] = {}
    known = variants()
    for short in chosen.ways.split(","):
        way, modifiers = NAMES[short], known[NAMES[short]]
        output = made[way] = place / short
        if (output / "config.json").is_file():
            continue
        shutil.rmtree(output, ignore_errors=True)
        print(f"  {way}", flush=True)
        command = Compress(
            job="bench",
            model=str(model),
            output=str(output),
            modifiers=tuple(modifiers),
            calibration=spec,
            answers=str(place / "answers"),
            sensitivities=str(place / "sensitivities"),
            device="cpu",
        )
        _child({"compress": command.model_dump(mode="json")})
    suite = EvaluationSuite(texts=texts, tokens=chosen.tokens, noise_floor=False)
    others = tuple(str(path) for path in made.values())
    asked = Evaluate(job="bench", original=str(model), others=others, suite=suite, cache=str(place / "evaluation"))
    result = place / "result.json"
    _child({"evaluate": asked.model_dump(mode="json"), "result": str(result)})
    return _told(name, json.loads(result.read_text(encoding="utf-8")), made)


def _told(name: str, found: dict[str, Any], made: dict[str, Path]) -> int:
    ways = {str(path): way for way, path in made.items()}
    sizes = {way: linear_bytes(path) for way, path in made.items()}
    tables = next(path for way, path in made.items() if way in (PAPER, DENSE, UNWEIGHTED, SPARSE))
    weights = weights_of(tables, Path(found["original"]))
    interval = {ways[other["path"]]: other["kl_interval"] for other in found["others"]}
    same = {ways[other["path"]]: other["same_top1"]["value"] for other in found["others"]}
    print(f"\n{name}, {found['tokens']:,} held-out tokens in {found['documents']} documents; {HISTORY[name]}\n")
    print("| Way to 3 bits | Linear layers, bytes | Bits a weight | Mean KL, nats | 95 % interval | Same top-1 |")
    print("|---|---:|---:|---:|---|---:|")
    for way in sorted(interval, key=lambda way: -interval[way]["value"]):
        kl = interval[way]
        print(
            f"| {way} | {sizes[way]:,} | {8 * sizes[way] / weights:.3f} | {kl['value']:.4f} | "
            f"{kl['low']:.4f} to {kl['high']:.4f} | {100 * same[way]:.1f} % |"
        )
    print()
    less = {(ways[pair["first"]], ways[pair["second"]]): pair["kl"] for pair in found["pairs"]}
    missed = sum(_held(*pair, less, sizes) for pair in DEMANDED if set(pair) <= set(interval))
    print()
    for better, worse in TOLD:
        if {better, worse} <= set(interval):
            value, low, high = _difference(better, worse, less)
            print(f"{better} less {worse}: {value:+.4f} ({low:+.4f} to {high:+.4f}, paired)")
    print(flush=True)
    return missed


def _held(better: str, worse: str, less: dict[tuple[str, str], Any], sizes: dict[str, int]) -> int:
    """Tell a demand's verdict; 1 where it is missed."""
    value, low, high = _difference(better, worse, less)
    large = worse == GPTQ and sizes[better] > sizes[worse]
    if large:
        verdict = "MISSED: it is larger"
    elif value >= 0:
        verdict = "MISSED" if low > 0 else "MISSED, though not decided"
    else:
        verdict = "shown" if high < 0 else "as demanded, though not decided: more documents would tell"
    print(
        f"Demanded: {better} below {worse}. {value:+.4f} nats ({low:+.4f} to {high:+.4f}, paired over documents) at "
        f"{sizes[better] / sizes[worse]:.3f} times the size: {verdict}"
    )
    return int(large or value >= 0)


def _difference(first: str, second: str, less: dict[tuple[str, str], Any]) -> tuple[float, float, float]:
    """The divergence of the first less that of the second, with its 95 % interval; `less` has second less first."""
    if (second, first) in less:
        found = less[second, first]
        return found["value"], found["low"], found["high"]
    found = less[first, second]
    return -found["value"], -found["high"], -found["low"]


def linear_bytes(artifact: Path) -> int:
    """Bytes of everything that compressed modules are stored as."""
    from core.models.safetensors_header import merged, read_headers

    tensors = merged(read_headers(artifact))
    ends = (".weight_scale", ".table", ".coefficients")
    stems = {name.rpartition(".")[0] for name in tensors if name.endswith(ends)}
    return sum(entry.bytes for name, entry in tensors.items() if name.rpartition(".")[0] in stems)


def weights_of(artifact: Path, model: Path) -> int:
    """How many weights of the model are stored as tables."""
    from core.models.safetensors_header import merged, read_headers

    config = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    plain = merged(read_headers(model))
    shapes = (plain[f"{name}.weight"].shape for name in config["quantization_config"]["modules"])
    return sum(rows * columns for rows, columns in shapes)


def _child(what: dict[str, Any]) -> None:
    """In a process of its own: memory comes back, and llmcompressor keeps one session a process."""
    started = time.monotonic()
    command = [sys.executable, "-P", __file__, "--child", json.dumps(what)]
    paths = (str(ROOT), str(ROOT / "packaging" / "codebook"), str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=False, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    print(f"    {time.monotonic() - started:.0f} s in all", flush=True)


def _run_child(what: dict[str, Any]) -> None:
    from core.jobs.protocol import Compress, Evaluate
    from core.worker import compress, evaluate
    from core.worker.reporter import Reporter

    # What the job's libraries print goes to the log, as in a worker.
    out = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(out, "w")
    report = Reporter("bench", _Silent(), Event())
    if "compress" in what:
        compress.run(Compress.model_validate(what["compress"]), report)
    else:
        found = evaluate.run(Evaluate.model_validate(what["evaluate"]), report)
        Path(what["result"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
