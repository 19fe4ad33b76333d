"""Job time against a bare llmcompressor script with the same recipe and data, whole process against whole process.

From process start to the saved artifact; the proof is counted apart. GPTQ at most 1.05; FP8 at most 1.05 or 0.7 s more.
Medians of interleaved pairs.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _starter import home_with_starter

SAMPLES, MAX_LENGTH = 16, 256

BARE = """
import json, sys, torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from transformers import AutoModelForCausalLM, AutoTokenizer
model_path, output, modifiers, tokens = sys.argv[1:5]
model = AutoModelForCausalLM.from_pretrained(model_path, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(model_path)
known = {"GPTQModifier": GPTQModifier, "QuantizationModifier": QuantizationModifier}
recipe = [known[one["name"]](**one["arguments"]) for one in json.loads(modifiers)]
torch.manual_seed(0)
if tokens:
    ids = json.load(open(tokens))["input_ids"]
    data = Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(one) for one in ids]})
    oneshot(model=model, dataset=data, recipe=recipe, num_calibration_samples=len(ids),
            max_seq_length=max(map(len, ids)), shuffle_calibration_samples=False)
else:
    oneshot(model=model, recipe=recipe)
model.save_pretrained(output, save_compressed=True)
tokenizer.save_pretrained(output)
"""


def main() -> int:
    """Print both ratios; the exit status says whether a limit was missed."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        model = home_with_starter(home)
        os.environ["BITPRESS_HOME"] = folder
        missed = _pairs(home, model, "fp8-dynamic", 7, lambda ours, bare: ours / bare <= 1.05 or ours - bare <= 0.7)
        missed += _pairs(home, model, "gptq-w4a16", 3, lambda ours, bare: ours / bare <= 1.05)
    return missed


def _pairs(home: Path, model: Path, method: str, count: int, holds: object) -> int:
    from core.methods.catalogue import find
    from core.methods.resolve_recipe import resolve_recipe
    from core.models.survey_store import kept_survey

    # The first job warms the disk cache, makes the survey and the calibration answers, and keeps the token ids.
    _, run = _ours(home, method)
    survey = kept_survey(home_of(home), model)
    entry = find(method)
    recipe = resolve_recipe(method, {}, None, survey, 0)
    modifiers = json.dumps([one.model_dump() for one in entry.modifiers(recipe.parameters)])
    tokens = home / "runs" / f"{run:06d}" / "calibration_tokens.json"
    pairs = []
    for _ in range(count):
        ours, _ = _ours(home, method)
        pairs.append((ours, _bare(home, model, modifiers, str(tokens) if entry.needs_calibration else "")))
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{method}: ours {ours:.2f} s, bare {bare:.2f} s, ratio {ratio:.3f}, {ours - bare:+.2f} s ({count} pairs)",
        flush=True,
    )
    return int(not holds(ours, bare))  # type: ignore[operator]


def home_of(folder: Path) -> object:
    """The Home over a folder."""
    from core.paths import Home

    return Home(folder)


def _ours(home: Path, method: str) -> tuple[float, int]:
    """Seconds from process start to the moment at which the save stage is over, and the run's number."""
    started = time.time()
    arguments = [
        "compress",
        "starter",
        "--method",
        method,
        "--samples",
        str(SAMPLES),
        "--max-length",
        str(MAX_LENGTH),
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "app", *arguments], capture_output=True, text=True, check=False, timeout=900
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if lines[-1]["type"] != "result":
        raise SystemExit(f"the job failed: {lines[-1]}\n{done.stderr[-2000:]}")
    saved = next(line["time"] for line in lines if line["type"] == "stage_finished" and line["stage"] == "save")
    shutil.rmtree(lines[-1]["output"])
    return saved - started, lines[-1]["run"]


def _bare(home: Path, model: Path, modifiers: str, tokens: str) -> float:
    output = home / "bare"
    started = time.time()
    subprocess.run(
        [sys.executable, "-c", BARE, str(model), str(output), modifiers, tokens],
        capture_output=True,
        check=True,
        timeout=900,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    seconds = time.time() - started
    shutil.rmtree(output)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
