"""Models and measurements for the tests of the pages."""

from pathlib import Path
from typing import Any

from core.measure.results import (
    BenchCase,
    Conditions,
    Fidelity,
    GeneratedToken,
    Generation,
    KlSummary,
    ModelBenchmark,
)
from core.models.local_model import LocalModel, Origin, Weights
from core.value import Estimate, Range

NOTE = "transformers decompresses the weights while it runs: this is not serving speed."
CONDITIONS = Conditions(
    engine="transformers", engine_version="5.17", device="cpu", dtype="bfloat16", threads=2, notes=(NOTE,)
)


def a_model(name: str, made_from: str | None = None, **changes: Any) -> LocalModel:
    values: dict[str, Any] = {
        "path": Path(f"/models/{name}"),
        "name": name,
        "origin": Origin.FOLDER if made_from is None else Origin.ARTIFACT,
        "weights": Weights.SAFETENSORS,
        "bytes": 269_000_000,
        "precision": "BF16",
        "made_from": None if made_from is None else f"/models/{made_from}",
        "made_by_run": None if made_from is None else 7,
    }
    return LocalModel(**(values | changes))


def tokens(*texts: str) -> tuple[GeneratedToken, ...]:
    return tuple(
        GeneratedToken(id=sum(map(ord, text)), text=text, probability=0.5, alternatives=((text, 0.5), (" hares", 0.41)))
        for text in texts
    )


def a_generation(path: str, *texts: str, tokens_per_second: float = 40.0) -> Generation:
    return Generation(
        path=path,
        name=path,
        text="".join(texts),
        tokens=tokens(*texts),
        prompt_tokens=12,
        ttft_ms=110.0,
        tokens_per_second=tokens_per_second,
        peak_bytes=2**30,
        stopped="end",
        conditions=CONDITIONS,
    )


def a_range(value: float, spread: float = 0.1) -> Range:
    return Range(value=value, low=value * (1 - spread), high=value * (1 + spread))


def a_benchmark(path: str, speed: float, batches: tuple[int, ...] = (1, 4)) -> ModelBenchmark:
    return ModelBenchmark(
        path=path,
        name=path,
        bytes=269_000_000,
        load_seconds=1.5,
        peak_bytes=700_000_000,
        cases=tuple(
            BenchCase(
                batch=batch,
                prompt_tokens=128,
                output_tokens=32,
                repeats=3,
                ttft_ms=a_range(100.0),
                itl_ms=a_range(25.0),
                tokens_per_second=a_range(speed * batch),
                prefill_tokens_per_second=a_range(900.0),
            )
            for batch in batches
        ),
        conditions=CONDITIONS,
    )


def a_fidelity(path: str, kl: float) -> Fidelity:
    return Fidelity(
        path=path,
        name=path,
        perplexity=12.4,
        perplexity_ratio=Estimate(value=1.018, low=1.01, high=1.026),
        kl=KlSummary(mean=kl, median=kl / 4, p90=kl * 2, p95=kl * 3, p99=kl * 8, p999=kl * 20, max=kl * 40),
        kl_interval=Estimate(value=kl, low=kl * 0.9, high=kl * 1.1),
        same_top1=Estimate(value=0.938, low=0.93, high=0.946),
    )
