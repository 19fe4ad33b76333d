"""Estimates against real jobs: size and peak memory of method x model pairs, each in worker processes of their own.

Prints a line a pair: the predicted range of the peak (whole job, compression and proof), what was measured, whether it
lay inside, and size and seconds beside theirs. Size must be within one percent for every pair, memory inside for nine
of ten. A range may span a factor of two, top over bottom. Seconds are shown and not judged: other programs count.

    python tests/bench/bench_estimates.py [MODEL:METHOD[:NAME=VALUE] ...]
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from _starter import starter_folder

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "worker")]

from worker_process import finished, worker_process  # noqa: E402

from core.calibration.spec import CalibrationSpec  # noqa: E402
from core.jobs.protocol import Command, Compress, FinishReason, Prove, SurveyModel  # noqa: E402
from core.methods.catalogue import find  # noqa: E402
from core.methods.resolve_recipe import parse_settings, resolve_recipe  # noqa: E402
from core.models.inspect import inspect  # noqa: E402
from core.models.survey import Survey  # noqa: E402
from core.plan.estimate import estimate  # noqa: E402
from core.plan.estimates import Estimates  # noqa: E402
from core.plan.predicted import SIZE_MARGIN  # noqa: E402
from core.plan.read_machine import read_machine  # noqa: E402

SAMPLES, MAX_LENGTH = 16, 256
SHARE = 0.9
SPAN = 2.0

_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "max_position_embeddings": 2048}


def _llama(hidden: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }


MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama-50m": ("llama", _llama(512, 1536, 8, 8)),
    "llama-300m": ("llama", _llama(1024, 3072, 18, 16)),
    "llama-700m": ("llama", _llama(1536, 4608, 20, 16)),
    # A vocabulary three times as large, and biases.
    "qwen2-170m": ("qwen2", {**_llama(768, 2304, 8, 12), "num_key_value_heads": 4, "vocab_size": 151_936}),
    "opt-125m": (
        "opt",
        {
            "hidden_size": 768,
            "ffn_dim": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "vocab_size": 50272,
            "word_embed_proj_dim": 768,
        },
    ),
}
"""Random weights in bf16, with the starter's tokenizer."""

PAIRS = (
    *(f"starter:{method}" for method in ("fp8-dynamic", "rtn-w8a8", "rtn-w4a16", "nvfp4a16", "mxfp4", "fp8-static")),
    *(f"starter:{method}" for method in ("gptq-w4a16", "smoothquant-gptq-w8a8", "awq-w4a16:n_grid=4", "wanda")),
    *(f"llama-50m:{method}" for method in ("fp8-dynamic", "rtn-w4a16", "gptq-w4a16", "autoround-w4a16:iters=4")),
    *(f"opt-125m:{method}" for method in ("fp8-dynamic", "rtn-w8a16", "gptq-w8a8", "nvfp4a16")),
    *(f"qwen2-170m:{method}" for method in ("fp8-dynamic", "rtn-w4a16", "gptq-w4a16", "sparsegpt")),
    *(f"llama-300m:{method}" for method in ("fp8-dynamic", "rtn-w4a16", "gptq-w4a16", "smoothquant-w8a8")),
    *(f"llama-700m:{method}" for method in ("fp8-dynamic", "rtn-w4a16", "gptq-w4a16")),
)


@dataclass(frozen=True)
class Outcome:
    """One pair: what was expected and what it was."""

    pair: str
    expected: Estimates
    size: int
    peak: int
    seconds: float

    @property
    def size_right(self) -> bool:
        return abs(self.expected.artifact_bytes / self.size - 1) <= SIZE_MARGIN

    @property
    def memory_right(self) -> bool:
        return self.expected.host_bytes.low <= self.peak <= self.expected.host_bytes.high


def main() -> int:
    """Print a line a pair and the shares; the exit status says whether a limit was missed."""
    outcomes = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        text = _text(home)
        for pair in sys.argv[1:] or PAIRS:
            outcome = _run(pair, home, text)
            outcomes.append(outcome)
            print(_line(outcome), flush=True)
    sizes = sum(outcome.size_right for outcome in outcomes)
    inside = sum(outcome.memory_right for outcome in outcomes)
    span = max(outcome.expected.host_bytes.high / outcome.expected.host_bytes.low for outcome in outcomes)
    print(
        f"{len(outcomes)} pairs: size within 1 % in {sizes}, memory inside in {inside} ({inside / len(outcomes):.0%}), "
        f"ranges span a factor of {span:.2f} at most"
    )
    return int(sizes < len(outcomes) or inside < SHARE * len(outcomes) or span > SPAN)


def _run(pair: str, home: Path, text: Path) -> Outcome:
    name, method, *settings = pair.split(":")
    folder = _model(name, home)
    model = inspect(folder)
    entry = find(method)
    survey = Survey.model_validate(_ask(SurveyModel(job="s", model=str(folder)), home))
    overrides = parse_settings(settings, entry)
    if entry.parameter("compile") is not None:
        overrides = {"compile": False} | overrides
    spec = CalibrationSpec(source=str(text), samples=SAMPLES, max_length=MAX_LENGTH)
    recipe = resolve_recipe(method, overrides, spec, survey)
    machine = read_machine(home).model_copy(update={"gpus": ()})
    expected = estimate(model, survey, recipe, machine, ())
    output = home / "artifact"
    started = time.monotonic()
    command = Compress(
        job="c",
        model=str(folder),
        output=str(output),
        modifiers=entry.modifiers(recipe.parameters),
        calibration=recipe.calibration,
        device="cpu",
        stream=entry.streams(recipe.parameters),
    )
    pressed = _ask(command, home)
    proof = _ask(Prove(job="p", original=str(folder), artifact=str(output), device="cpu"), home)
    seconds = time.monotonic() - started
    shutil.rmtree(output)
    return Outcome(
        pair=pair,
        expected=expected,
        size=pressed["bytes"],
        peak=max(pressed["host_peak_bytes"], proof["host_peak_bytes"]),
        seconds=seconds,
    )


def _ask(command: Command, home: Path) -> Any:
    with worker_process(home / "worker.log") as worker:
        last = finished(worker.run(command))
    if last.reason is not FinishReason.COMPLETED:
        raise SystemExit(f"{command.type} failed: {last.problem}")
    return last.result


def _line(outcome: Outcome) -> str:
    need, size = outcome.expected.host_bytes, outcome.expected.artifact_bytes
    time_range = outcome.expected.seconds
    return (
        f"{outcome.pair:<40} memory {need.low / 1e6:5.0f} to {need.high / 1e6:5.0f} MB, was {outcome.peak / 1e6:5.0f} "
        f"({outcome.peak / need.value:4.2f}) {'inside' if outcome.memory_right else 'OUTSIDE'}; "
        f"size {size / outcome.size - 1:+.4%}{'' if outcome.size_right else ' WRONG'}; "
        f"{time_range.low:.0f} to {time_range.high:.0f} s, took {outcome.seconds:.0f}"
    )


def _model(name: str, home: Path) -> Path:
    if name == "starter":
        return starter_folder()
    folder = home / name
    if not folder.exists():
        import torch
        from transformers import CONFIG_MAPPING, AutoModelForCausalLM

        kind, sizes = MODELS[name]
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**_TOKENS, **sizes)).save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(starter_folder() / file, folder / file)
    return folder


def _text(home: Path) -> Path:
    """Calibration samples of a few hundred words each: Python's manual, which no evaluation text is taken from."""
    words = " ".join(topics.values()).split()
    path = home / "calibration.jsonl"
    samples = [" ".join(words[start : start + 250]) for start in range(0, 250 * 4 * SAMPLES, 250)]
    path.write_text("\n".join(json.dumps({"text": sample}) for sample in samples if sample))
    return path


if __name__ == "__main__":
    sys.exit(main())
