"""Evaluation's scoring loop against bare forwards of both models plus fp32 log-softmax and exact KL: one ratio.

Both score the same rows of the built-in prose in turns, in one process; loading is not counted, while keeping the
original's states on disk, reading them back and the statistics over the scores are counted on our side. The bare side
takes the same batches, because larger or smaller ones would compare batch sizes. The ratio is of medians of tokens per
second. At least 0.9 is asked. With `again` the original's states were kept before, and only the other model is run.

Then the peak memory of whole evaluations of 8,192 and 65,536 tokens by a model of two narrow layers, each in a process
of its own: it may grow by the few dozen bytes that are kept of a token, at most by a twentieth.

    python tests/bench/bench_evaluate.py ORIGINAL [OTHER] [--tokens 2048] [--pairs 3] [--json] [--only speed|memory]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LEAST_RATIO = 0.9
MOST_GROWTH = 1.05
LENGTHS = (8_192, 65_536)


def measure(original_path: str, other_path: str, tokens: int, pairs: int) -> dict[str, float]:
    """Medians of both, in scored tokens a second, their ratio, and how far their mean KL differs."""
    import torch

    from core.measure.evaluation_texts import documents
    from core.measure.fidelity import summarise
    from core.measure.passages import batches, document_rows, even_shares
    from core.worker import loading
    from core.worker.decoding import warm_up
    from core.worker.evaluate import batch_tokens
    from core.worker.reference_head import probe
    from core.worker.reference_known import known_model
    from core.worker.reference_states import FromStates, keep_states, reading
    from core.worker.scoring import FromModel, score, scored_others, scored_tokens

    original, other = loading.load(original_path), loading.load(other_path)
    warm_up(original)
    warm_up(other)
    known = known_model(original_path)
    found = [original.tokenizer(text, add_special_tokens=False)["input_ids"] for _, text in documents("prose")]
    shares = even_shares([len(ids) for ids in found], tokens)
    cut = [ids[:share] for ids, share in zip(found, shares, strict=True)]
    rows = document_rows(cut, text=0, first_document=0, prefix=(), window=512)
    plan = batches(rows, batch_tokens(known, original.device, 512))
    read = reading(known, rows, plan, "bench")
    total = sum(row.scored for row in rows)

    @torch.inference_mode()
    def bare() -> float:
        divergence = 0.0
        for batch in plan:
            length = max(len(rows[index].ids) for index in batch)
            ids = torch.tensor([(*rows[index].ids, *(0,) * (length - len(rows[index].ids))) for index in batch])
            ids = ids.to(original.device)
            p = torch.log_softmax(original.model(input_ids=ids, use_cache=False).logits.float(), -1)
            q = torch.log_softmax(other.model(input_ids=ids, use_cache=False).logits.float(), -1)
            kl = (p.exp() * (p - q)).sum(-1)
            for place, index in enumerate(batch):
                divergence += float(kl[place, : rows[index].scored].sum())
        return divergence / total

    def figures(source: FromStates) -> float:
        scores = score(
            source,
            [FromModel("other", other.model)],
            rows,
            plan,
            device=original.device,
            after_batch=lambda done: None,
            check=lambda: None,
        )
        scored = scored_others((("other", "other"),), scores)
        return summarise(scored_tokens(rows, scores), scored, ["prose"], seed=0).others[0].kl.mean

    with tempfile.TemporaryDirectory() as folder:

        def run_original() -> FromStates:
            tried = probe(original.model, torch.tensor([rows[plan[0][0]].ids[:16]], device=original.device))
            if tried is None:
                raise SystemExit("The original's logits do not come from its output head alone.")
            head, hidden = tried
            states = keep_states(
                Path(folder),
                read,
                original.model,
                head=head,
                probe=hidden,
                conditions=original.conditions,
                device=original.device,
                after_batch=lambda done: None,
            )
            return FromStates("original", states, head, original.device)

        kept = run_original()
        difference = abs(bare() - figures(kept))
        speeds: dict[str, list[float]] = {"bare": [], "ours": [], "again": []}
        works = (("bare", bare), ("ours", lambda: figures(run_original())), ("again", lambda: figures(kept)))
        for _ in range(pairs):
            for name, work in works:
                started = time.perf_counter()
                work()
                speeds[name].append(total / (time.perf_counter() - started))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        **medians,
        "ratio": medians["ours"] / medians["bare"],
        "tokens": total,
        "kl_difference": difference,
        "reference_bytes": kept.states.facts.bytes,
    }


def memory(tokenizer: Path) -> dict[str, float]:
    """Peak resident bytes of an evaluation by its number of tokens, and the longer one's over the shorter one's."""
    peaks = {}
    for tokens in LENGTHS:
        command = [sys.executable, str(Path(__file__)), str(tokenizer), "--only", "peak", "--tokens", str(tokens)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[tokens] = json.loads(done.stdout.splitlines()[-1])
    first, last = (peaks[tokens]["peak_bytes"] for tokens in LENGTHS)
    return {**{f"peak_bytes_{tokens}": peaks[tokens]["peak_bytes"] for tokens in LENGTHS}, "growth": last / first}


def peak(tokenizer: Path, tokens: int) -> dict[str, float]:
    """One evaluation in this process, of the built-in prose said again and again."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "worker"))
    import torch
    from tiny_llama import Memory, reporter, write_tiny_llama

    from core.jobs.protocol import Evaluate
    from core.measure.evaluation_texts import documents
    from core.measure.results import EvaluationSuite
    from core.worker import evaluate
    from core.worker.footprint import peak_resident

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = write_tiny_llama(folder / "original", tokenizer, dtype=torch.bfloat16)
        other = write_tiny_llama(folder / "other", tokenizer, noise=0.1, dtype=torch.bfloat16)
        (folder / "texts").mkdir()
        every = [text for _, text in documents("prose")]
        for number in range(32):
            (folder / "texts" / f"{number:02}.txt").write_text("\n".join(every[number % 20 :] + every) * 2)
        suite = EvaluationSuite(texts=(str(folder / "texts"),), tokens=tokens, window=512)
        command = Evaluate(job="job", original=str(original), others=(str(other),), suite=suite, device="cpu")
        scored = evaluate.run(command, reporter(Memory(), threading.Event()))["tokens"]
    return {"tokens": scored, "peak_bytes": peak_resident()}


def main() -> int:
    """Measure and print; the exit status counts the limits that were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original")
    parser.add_argument("other", nargs="?")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=("speed", "memory", "peak"))
    chosen = parser.parse_args()
    if chosen.only == "peak":
        print(json.dumps(peak(Path(chosen.original), chosen.tokens)))
        return 0
    found: dict[str, float] = {}
    missed = 0
    if chosen.only != "memory":
        found |= measure(chosen.original, chosen.other or chosen.original, chosen.tokens, chosen.pairs)
        missed += found["ratio"] < LEAST_RATIO
    if chosen.only != "speed":
        found |= memory(Path(chosen.original))
        missed += found["growth"] > MOST_GROWTH
    if chosen.json:
        print(json.dumps(found))
        return missed
    if "ratio" in found:
        print(
            f"bare {found['bare']:.0f} tokens/s, ours {found['ours']:.0f} tokens/s, ratio {found['ratio']:.3f} "
            f"(at least {LEAST_RATIO}); with the original kept {found['again']:.0f} tokens/s; "
            f"kept {found['reference_bytes'] / 1e6:.1f} MB; mean KL apart by {found['kl_difference']:.1e} nats"
        )
    if "growth" in found:
        sizes = ", ".join(f"{found[f'peak_bytes_{tokens}'] / 1e6:.0f} MB at {tokens} tokens" for tokens in LENGTHS)
        print(f"peak memory {sizes}: {found['growth']:.3f} times (at most {MOST_GROWTH})")
    return missed


if __name__ == "__main__":
    sys.exit(main())
