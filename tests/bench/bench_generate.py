"""Generation as Compare does it, with events and probabilities, against bare `model.generate`: one ratio.

Both answer the same prompt greedily, in turns, in one process; the ratio is of the medians of tokens per second, both
counted over the whole answer, prompt included. At least 0.95 is asked.

    python tests/bench/bench_generate.py MODEL [--tokens 96] [--pairs 5] [--json]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import threading
import time

PROMPT = "Tell me a long story about a fox who learns to repair clocks."


def measure(model: str, tokens: int, pairs: int) -> dict[str, float]:
    """Medians of both, in tokens a second, and their ratio."""
    import torch

    from core.jobs.protocol import Generate, Load
    from core.measure.results import Sampling
    from core.worker import generate
    from core.worker.channel import EventPipe
    from core.worker.decoding import prompt_ids
    from core.worker.reporter import Reporter

    report = Reporter("bench", EventPipe(io.BytesIO()), threading.Event())
    loaded, _ = generate.load(Load(job="bench", model=model), report)
    command = Generate(job="bench", prompt=PROMPT, sampling=Sampling(max_tokens=tokens))

    def bare() -> list[int]:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, [{"role": "user", "content": PROMPT}])], device=loaded.device)
        mask = torch.ones_like(ids)
        written = loaded.model.generate(ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
        return written[0, ids.shape[1] :].tolist()

    def ours() -> list[int]:
        return [token.id for token in generate.answer(command, report, loaded).tokens]

    if bare() != ours():
        raise SystemExit("the two did not write the same tokens")
    speeds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(pairs):
        for name, work in (("bare", bare), ("ours", ours)):
            started = time.perf_counter()
            count = len(work())
            speeds[name].append(count / (time.perf_counter() - started))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {**medians, "ratio": medians["ours"] / medians["bare"], "tokens": tokens, "pairs": pairs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.model, chosen.tokens, chosen.pairs)
    if chosen.json:
        print(json.dumps(found))
    else:
        print(f"bare {found['bare']:.1f} tokens/s, ours {found['ours']:.1f} tokens/s, ratio {found['ratio']:.3f}")


if __name__ == "__main__":
    main()
