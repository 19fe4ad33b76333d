"""Memory of the pass that measures how sensitive weights are, on the starter model, in a process of its own.

Peak resident memory above what the process holds once its libraries are imported, from before the model is loaded to
after the sensitivities are written, has to be at most the model's weights, one copy of the compressed weights in 32
bits, and 20 %. Samples are as long as a job's longest. Linux only, where a process can forget its earlier peak.

    python tests/bench/bench_fisher.py MODEL [--samples 4] [--length 512]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from threading import Event
from typing import Any

LIMIT = 1.2

LIBRARIES = (
    "llmcompressor",
    "transformers.masking_utils",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.tokenization_utils_tokenizers",
)
"""What a job has imported beside `import_libraries` before it loads a model."""


class _Deaf:
    def send(self, event: Any) -> None:
        pass


def main() -> int:
    """Print the figures; exit status 1 where the peak is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    chosen = parser.parse_args()

    import torch

    from core.calibration.spec import CalibrationFacts
    from core.worker.codebook import fisher_stage, squeezellm
    from core.worker.footprint import PeakMemory
    from core.worker.loading import import_libraries, load
    from core.worker.reporter import Reporter

    import_libraries()
    for name in LIBRARIES:
        importlib.import_module(name)
    peak = PeakMemory(torch.device("cpu"))
    loaded = load(chosen.model, "cpu")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path("core/worker").glob("*.py")))
    ids = loaded.tokenizer(text[: chosen.samples * chosen.length * 12], verbose=False)["input_ids"]
    samples = [ids[start * chosen.length : (start + 1) * chosen.length] for start in range(chosen.samples)]
    recipe = [squeezellm.SqueezeLLMModifier(ignore=["lm_head"], bits=3)]
    facts = CalibrationFacts(
        source="text", samples=len(samples), tokens=sum(map(len, samples)), max_length=chosen.length, seed=0,
        truncated=0, sha256="0",
    )  # fmt: skip
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fisher_stage.measure(
            recipe, loaded, samples, facts, cache=None, output=Path(folder), report=Reporter("bench", _Deaf(), Event())
        )
    taken, seconds = peak.bytes(), time.monotonic() - started
    weights = sum(each.numel() * each.element_size() for each in loaded.model.parameters())
    sums = sum(4 * module.weight.numel() for module in recipe[0].modules_of(loaded.model).values())
    ratio = taken / (weights + sums)
    print(
        f"{facts.samples} samples of {chosen.length} tokens in {seconds:.0f} s: weights {weights / 1e6:.0f} MB, sums "
        f"in 32 bits {sums / 1e6:.0f} MB, peak above the imports {taken / 1e6:.0f} MB, {ratio:.3f} times both (at most "
        f"{LIMIT})"
    )
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
