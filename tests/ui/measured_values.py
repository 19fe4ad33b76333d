"""A measured model with five compressed ones, as large as real ones are: for tests of charts and for pictures."""

from __future__ import annotations

import itertools
import math
from typing import Any

from core.measure.results import (
    BenchCase,
    Bucket,
    Conditions,
    EvaluationResult,
    Fidelity,
    KlSummary,
    ModelBenchmark,
    NoiseFloor,
    TextFidelity,
    TrueToken,
)
from core.measure.sensitivity_values import Assignment, Part, Sensitivity, SensitivityResult
from core.measure.sweep_values import Recommendation, RowState, SweepResult, SweepRow
from core.measure.task_results import TaskOther, TaskResult
from core.value import Estimate, Range
from ui.pages.benchmark_row import BenchmarkRow

ORIGINAL = "/models/SmolLM2-135M-Instruct"
KINDS = (
    # method, bytes, mean KL, relative half interval, tokens per second over the original's
    ("w8a16", 172_000_000, 0.00042, 0.12, 1.1),
    ("fp8-dynamic", 163_000_000, 0.0061, 0.07, 1.25),
    ("w8a8-smoothquant", 163_500_000, 0.0093, 0.08, 1.4),
    ("gptq-w4a16", 113_000_000, 0.0214, 0.06, 1.7),
    ("rtn-w4a16", 113_000_000, 0.0355, 0.09, 1.7),
)
SERVER = Conditions(engine="vllm", engine_version="0.11.0", device="NVIDIA RTX 4090", dtype="bfloat16")
SCORED = Conditions(engine="transformers", engine_version="5.17", device="cpu", dtype="bfloat16", threads=2)
TEXTS = ("chat", "prose", "code", "other languages")
TOKENS = 32_768


def path_of(method: str) -> str:
    return f"{ORIGINAL}-{method}"


def around(value: float, share: float) -> Estimate:
    low, high = value * (1 - share), value * (1 + share)
    return Estimate(value=value, low=low, high=high, lower=value * (1 - share * 0.84), upper=value * (1 + share * 0.84))


def spread(value: float, share: float) -> Range:
    return Range(value=value, low=value * (1 - share), high=value * (1 + share))


def a_summary(mean: float) -> KlSummary:
    """A log-normal's quantiles: the tail is heavy, as it is in life."""
    middle, wide = math.log(mean) - 1.6**2 / 2, 1.6
    at = {"median": 0.0, "p90": 1.2816, "p95": 1.6449, "p99": 2.3263, "p999": 3.0902, "max": 4.1}
    return KlSummary(mean=mean, **{name: math.exp(middle + wide * place) for name, place in at.items()})


def a_histogram(mean: float, tokens: int = TOKENS) -> tuple[tuple[float, int], ...]:
    middle, wide = math.log(mean) - 1.6**2 / 2, 1.6
    edges = [10.0 ** (quarter / 4) for quarter in range(-24, 9)]
    below = [0.5 * (1 + math.erf((math.log(edge) - middle) / wide / math.sqrt(2))) for edge in edges]
    counts = [below[0], *(after - before for before, after in itertools.pairwise(below))]
    return tuple((edge, round(count * tokens)) for edge, count in zip(edges, counts, strict=True))


def buckets(mean: float, edges: tuple[float, ...], slope: float) -> tuple[Bucket, ...]:
    pairs = list(itertools.pairwise(edges))
    return tuple(
        Bucket(
            low=low,
            high=high,
            tokens=TOKENS // len(pairs),
            kl=around(mean * (1 + slope * (len(pairs) / 2 - index) / len(pairs)), 0.14),
            same_top1=around(0.95 - mean * 2 + index * 0.004, 0.006),
            perplexity_ratio=around(1 + mean, 0.004),
        )
        for index, (low, high) in enumerate(pairs)
    )


def fidelity_of(method: str, mean: float, share: float = 0.08, **changes: Any) -> Fidelity:
    shift = -mean / 3
    values: dict[str, Any] = {
        "path": path_of(method),
        "name": f"SmolLM2-135M-Instruct-{method}",
        "perplexity": 12.2 * (1 + mean),
        "perplexity_ratio": around(1 + mean * 0.9, mean * 0.2),
        "kl": a_summary(mean),
        "kl_interval": around(mean, share),
        "same_top1": around(0.995 - math.sqrt(mean) * 0.42, 0.006),
        "histogram": a_histogram(mean),
        "perplexity_correlation": 0.9995 - mean,
        "kl_reverse": a_summary(mean * 1.15),
        "kl_reverse_interval": around(mean * 1.15, share),
        "true_token": TrueToken(
            mean=Estimate(value=shift, low=shift * 1.3, high=shift * 0.7),
            rms=around(math.sqrt(mean) * 0.4, 0.05),
            quantiles=tuple(
                (place, math.sqrt(mean) * (math.copysign(abs(place - 0.5) ** 3, place - 0.5) * 7) + shift)
                for place in (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
            ),
        ),
        "top5": around(0.99 - math.sqrt(mean) * 0.5, 0.004),
        "by_position": buckets(mean, (0, 16, 32, 64, 128, 256, 512), 0.5),
        "by_confidence": buckets(mean, (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0), 1.5),
        "measurable": mean > 0.0005,
    }
    return Fidelity(**(values | changes))


def noise_of(mean: float = 0.00031) -> tuple[NoiseFloor, ...]:
    return tuple(
        NoiseFloor(
            kind=kind,
            title=title,
            tokens=TOKENS,
            perplexity_ratio=around(1.0001, 0.0004),
            kl=a_summary(mean * factor),
            kl_interval=around(mean * factor, 0.15),
            same_top1=around(0.992, 0.002),
        )
        for kind, title, factor in (
            ("rounding", "activations moved by less than bfloat16 resolves", 1.0),
            ("batch", "another batch shape", 0.6),
        )
    )


def a_task(name: str, title: str, chance: float, accuracy: float, items: int) -> TaskResult:
    others = []
    for index, (method, _, kl, _, _) in enumerate(KINDS):
        lost, gained = round(items * math.sqrt(kl) * 0.24), round(items * math.sqrt(kl) * 0.17) + index % 2
        change = (gained - lost) / items
        others.append(
            TaskOther(
                path=path_of(method),
                name=method,
                accuracy=around(accuracy + change, 0.12),
                difference=Estimate(value=change, low=change - 0.02, high=change + 0.02),
                lost=lost,
                gained=gained,
                changed=lost + gained + 3,
                p_value=0.21 / (index + 1),
                p_adjusted=min(1.0, 1.05 / (index + 1)),
                recovery=(accuracy + change - chance) / (accuracy - chance),
                recovery_low=(accuracy + change - 0.02 - chance) / (accuracy - chance),
                recovery_high=(accuracy + change + 0.02 - chance) / (accuracy - chance),
            )
        )
    return TaskResult(
        name=name,
        title=title,
        kind="multiple_choice" if chance else "generate_until",
        metric="acc" if chance else "exact_match",
        items=items,
        chance=chance,
        accuracy=around(accuracy, 0.12),
        others=tuple(others),
        smallest_margin=0.034,
        sha256="0" * 64,
    )


TASKS = (
    a_task("general-choice", "General knowledge, four choices", 0.25, 0.46, 240),
    a_task("short-answer", "Short answers, exact match", 0.0, 0.31, 220),
)


def an_evaluation(**changes: Any) -> EvaluationResult:
    factors = {"chat": 0.7, "prose": 0.9, "code": 1.0, "other languages": 1.6}
    values: dict[str, Any] = {
        "original": ORIGINAL,
        "original_perplexity": 12.2,
        "tokens": TOKENS,
        "documents": 168,
        "window": 512,
        "sha256": "a" * 64,
        "others": tuple(fidelity_of(method, kl, share) for method, _, kl, share, _ in KINDS),
        "texts": tuple(
            TextFidelity(
                text=text,
                tokens=TOKENS // 4,
                perplexity=12.2 * factor,
                others=tuple(fidelity_of(method, kl * factor, share * 1.7) for method, _, kl, share, _ in KINDS),
                noise=noise_of(0.00031 * factor),
            )
            for text, factor in factors.items()
        ),
        "conditions": SCORED,
        "seconds": 340.0,
        "noise": noise_of(),
        "tasks": TASKS,
    }
    return EvaluationResult(**(values | changes))


def a_served(path: str, speed: float, conditions: Conditions = SERVER) -> ModelBenchmark:
    def case(batch: int) -> BenchCase:
        # A faster kernel helps small batches most.
        gain = 1 + (speed - 1) * max(-0.3, 1 - math.log2(batch) / 5)
        rate = 160 * gain * batch**0.8
        itl = 1000 * batch / rate
        return BenchCase(
            batch=batch,
            prompt_tokens=512,
            output_tokens=256,
            repeats=5,
            ttft_ms=spread(30 + 9 * batch / gain, 0.1),
            itl_ms=spread(itl, 0.06),
            tokens_per_second=spread(rate, 0.05),
            prefill_tokens_per_second=spread(9000.0, 0.05),
        )

    return ModelBenchmark(
        path=path,
        name=path.rsplit("/", 1)[-1],
        bytes=269_000_000,
        load_seconds=4.2 / speed,
        peak_bytes=round(2.1e9 / speed),
        cases=tuple(case(batch) for batch in (1, 4, 16, 64, 128)),
        conditions=conditions,
    )


def rows_of(evaluation: EvaluationResult | None = None) -> tuple[BenchmarkRow, ...]:
    found = evaluation or an_evaluation()
    common: dict[str, Any] = {
        "evaluation": found,
        "evaluation_conditions": found.conditions,
        "evaluation_tokens": found.tokens,
        "evaluation_documents": found.documents,
        "evaluation_window": found.window,
        "evaluation_texts": tuple(text.text for text in found.texts),
    }
    original = BenchmarkRow(
        path=ORIGINAL,
        name="SmolLM2-135M-Instruct",
        is_original=True,
        bytes=269_000_000,
        benchmark=a_served(ORIGINAL, 1.0),
        benchmarks=(a_served(ORIGINAL, 1.0),),
        perplexity=12.2,
        **common,
    )
    rows = [original]
    for (method, size, _, _, speed), fidelity in zip(KINDS, found.others, strict=True):
        served = a_served(path_of(method), speed)
        rows.append(
            BenchmarkRow(
                path=path_of(method),
                name=f"SmolLM2-135M-Instruct-{method}",
                is_original=False,
                bytes=size,
                benchmark=served,
                benchmarks=(served,),
                fidelity=fidelity,
                perplexity=fidelity.perplexity,
                **common,
            )
        )
    return tuple(rows)


def a_sweep() -> SweepResult:
    rows = [
        SweepRow(
            key=f"{method}-{index}",
            label=method,
            method=method,
            parameters={},
            state=RowState.MEASURED,
            run=index + 1,
            output=path_of(method),
            bytes=size,
            seconds=40.0 + 30 * index,
            peak_bytes=1_900_000_000,
            device_bytes=size + 220_000_000,
            fidelity=fidelity_of(method, kl, share),
            level="production",
            gate="pass" if kl < 0.027 else "fail",
            tokens_per_second=spread(40 * speed, 0.04),
            expected_speed=speed,
            expected_speed_source="published for this GPU",
        )
        for index, (method, size, kl, share, speed) in enumerate(KINDS)
    ]
    rows.append(
        SweepRow(
            key="mixed",
            label="mixed W4/W8 <b>",
            method="mixed",
            parameters={},
            state=RowState.MEASURED,
            bytes=121_000_000,
            device_bytes=340_000_000,
            fidelity=fidelity_of("mixed", 0.0126, 0.07),
            gate="pass",
        )
    )
    rows.append(SweepRow(key="w3", label="w3a16", method="w3a16", parameters={}, state=RowState.FAILED))
    return SweepResult(
        id="s1",
        original=ORIGINAL,
        original_bytes=269_000_000,
        rows=tuple(rows),
        gate="production",
        gate_kl=0.03,
        front_size=("w8a16-0", "fp8-dynamic-1", "mixed", "gptq-w4a16-3"),
        front_speed=("w8a16-0", "fp8-dynamic-1", "w8a8-smoothquant-2", "gptq-w4a16-3"),
        front_memory=("w8a16-0", "fp8-dynamic-1", "mixed", "gptq-w4a16-3"),
        knee="mixed",
        recommendation=Recommendation(
            key="gptq-w4a16-3",
            sentence="gptq-w4a16 is the smallest that passes production: KL 0.0214 of 0.03 allowed, 42 % of the size.",
        ),
    )


def a_sensitivity(layers: int = 30) -> SensitivityResult:
    kinds = {"qkv": 576 * 960, "o": 576 * 576, "gate_up": 576 * 3072, "down": 1536 * 576}
    parts, cells, schemes = [], [], {}
    for layer in range(layers):
        for index, (kind, parameters) in enumerate(kinds.items()):
            key = f"model.layers.{layer}.{kind}"
            parts.append(Part(key=key, layer=layer, kind=kind, modules=(key,), parameters=parameters))
            base = 2e-4 * (1 + 6 * math.exp(-layer / 3) + 3 * math.exp(-(layers - 1 - layer) / 2)) * (1 + 1.7 * index)
            base *= 1 + 0.5 * math.sin(layer * 1.7 + index)
            for scheme, factor, bits in (("W4A16", 1.0, 4.5), ("W8A16", 0.004, 8.25)):
                cells.append(
                    Sensitivity(
                        part=key, scheme=scheme, bytes=round(parameters * bits / 8), kl=around(base * factor, 0.2)
                    )
                )
            schemes[key] = "W8A16" if base > 9e-4 else "W4A16"
    return SensitivityResult(
        model=ORIGINAL,
        parts=tuple(parts),
        schemes=("W4A16", "W8A16"),
        cells=tuple(cells),
        tokens=4096,
        sha256="b" * 64,
        seconds=900.0,
        assignment=Assignment(
            budget_bytes=66_000_000,
            bytes=65_200_000,
            schemes=schemes,
            predicted_kl=0.021,
            uniform={"W4A16": 60_000_000, "W8A16": 110_000_000},
        ),
    )
