"""Evaluation's scoring loop against bare forwards of both models plus fp32 log-softmax and exact KL: one ratio.

Both score the same rows of the built-in prose in turns, in one process; loading is not counted, and the statistics
over the scores are counted on our side. The bare side takes the same batches, because larger or smaller ones would
compare batch sizes. The ratio is of medians of tokens per second. At least 0.9 is asked.

    python tests/bench/bench_evaluate.py ORIGINAL [OTHER] [--tokens 2048] [--pairs 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time


def measure(original_path: str, other_path: str, tokens: int, pairs: int) -> dict[str, float]:
    """Medians of both, in scored tokens a second, their ratio, and how far their mean KL differs."""
    import numpy as np
    import torch

    from core.measure.evaluation_texts import documents
    from core.measure.fidelity import ScoredOther, ScoredTokens, summarise
    from core.measure.passages import batches, document_rows, even_shares
    from core.worker import loading
    from core.worker.decoding import warm_up
    from core.worker.evaluate import batch_tokens
    from core.worker.scoring import FromModel, score

    original, other = loading.load(original_path), loading.load(other_path)
    warm_up(original)
    warm_up(other)
    found = [original.tokenizer(text, add_special_tokens=False)["input_ids"] for _, text in documents("prose")]
    shares = even_shares([len(ids) for ids in found], tokens)
    cut = [ids[:share] for ids, share in zip(found, shares, strict=True)]
    rows = document_rows(cut, text=0, first_document=0, prefix=(), window=512)
    plan = batches(rows, batch_tokens(original, 512))
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

    def ours() -> float:
        scores = score(
            FromModel("original", original.model),
            [FromModel("other", other.model)],
            rows,
            plan,
            device=original.device,
            after_batch=lambda done: None,
            check=lambda: None,
        )
        known = ScoredTokens(
            text=np.zeros(total, dtype=np.int64),
            document=np.concatenate([np.full(row.scored, row.document, dtype=np.int64) for row in rows]),
            position=np.concatenate([np.arange(row.first, len(row.ids)) for row in rows]),
            nll=scores.nll,
            confidence=scores.confidence,
        )
        scored = ScoredOther(
            "other",
            "other",
            scores.others_nll[0],
            scores.kl[0],
            scores.kl_reverse[0],
            scores.same[0],
            scores.top5[0],
        )
        return summarise(known, [scored], ["prose"], seed=0).others[0].kl.mean

    difference = abs(bare() - ours())
    speeds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(pairs):
        for name, work in (("bare", bare), ("ours", ours)):
            started = time.perf_counter()
            work()
            speeds[name].append(total / (time.perf_counter() - started))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {**medians, "ratio": medians["ours"] / medians["bare"], "tokens": total, "kl_difference": difference}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original")
    parser.add_argument("other", nargs="?")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.original, chosen.other or chosen.original, chosen.tokens, chosen.pairs)
    if chosen.json:
        print(json.dumps(found))
    else:
        print(f"bare {found['bare']:.0f} tokens/s, ours {found['ours']:.0f} tokens/s, ratio {found['ratio']:.3f}")


if __name__ == "__main__":
    main()
