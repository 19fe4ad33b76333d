"""Test data for the report: figures that only look like measurements, with every field filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from core.errors import Problem
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

ORIGINAL = "/models/Testling-135M-Instruct"
NOTE = (
    "transformers decompresses these weights to bfloat16 before it computes, so speed and memory are not what an "
    "engine with kernels for this format shows."
)
TITLES = {"fp8-dynamic": "FP8 dynamic", "smoothquant-gptq-w8a8": "SmoothQuant + GPTQ W8A8", "gptq-w4a16": "GPTQ W4A16"}
MORE_TITLES = {"w8a16": "INT8 W8A16", "awq-w4a16": "AWQ W4A16 asymmetric", "rtn-w4a16": "Rounding W4A16"}
BYTES = {
    "fp8-dynamic": 163_000_000,
    "smoothquant-gptq-w8a8": 163_400_000,
    "gptq-w4a16": 112_600_000,
    "w8a16": 164_100_000,
    "awq-w4a16": 113_900_000,
    "rtn-w4a16": 112_600_000,
}
KL = {
    "fp8-dynamic": 0.0061,
    "smoothquant-gptq-w8a8": 0.0093,
    "gptq-w4a16": 0.2110,
    "w8a16": 0.00021,
    "awq-w4a16": 0.187,
    "rtn-w4a16": 0.402,
}
SPEED = {"gptq-w4a16": 2.3, "awq-w4a16": 2.2, "rtn-w4a16": 2.3, "w8a16": 1.5}
TEXTS = {"chat": 0.7, "prose": 1.2, "code": 0.8, "languages": 1.9}
FLOOR = 0.00034


def output_of(method: str) -> str:
    return f"/artifacts/Testling-135M-Instruct-{method}"


def around(value: float, width: float) -> Estimate:
    low, high = sorted((value * (1 - width), value * (1 + width)))
    return Estimate(value=value, low=low, high=high, lower=low + (value - low) / 6, upper=high - (high - value) / 6)


def share(value: float, width: float) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - width), high=min(1.0, value + width))


def conditions(*, compressed: bool) -> Conditions:
    return Conditions(
        engine="transformers",
        engine_version="5.17.2",
        device="cpu",
        dtype="bfloat16",
        threads=2,
        notes=(NOTE,) if compressed else (),
    )


def summary(mean: float) -> KlSummary:
    return KlSummary(
        mean=mean, median=mean / 4, p90=mean * 2.4, p95=mean * 4, p99=mean * 11, p999=mean * 32, max=mean * 80
    )


def histogram(mean: float) -> tuple[tuple[float, int], ...]:
    edges = [10 ** (-6 + step * 0.2) for step in range(41)]
    centre = math.log10(mean) - 0.6
    return tuple((edge, int(1200 * math.exp(-(((math.log10(edge) - centre) / 0.9) ** 2)))) for edge in edges)


def bucket(low: float, high: float, mean: float, same: float) -> Bucket:
    return Bucket(
        low=low,
        high=high,
        tokens=820,
        kl=around(mean, 0.12),
        same_top1=share(same, 0.012),
        perplexity_ratio=around(1 + mean / 3, 0.006),
    )


def fidelity(method: str, name: str, scale: float = 1.0, *, old: bool = False) -> Fidelity:
    mean = KL.get(method, 0.05) * scale
    same = 1 - mean**0.5 / 3
    plain = Fidelity(
        path=output_of(method),
        name=name,
        perplexity=14.31 * (1 + mean / 3),
        perplexity_ratio=around(1 + mean / 3, 0.004),
        kl=summary(mean),
        kl_interval=around(mean, 0.08),
        same_top1=share(same, 0.006),
        histogram=histogram(mean),
    )
    if old:
        return plain
    positions = (0, 16, 32, 64, 128, 256, 512)
    tenths = [step / 10 for step in range(11)]
    return plain.model_copy(
        update={
            "perplexity_correlation": 1 - mean / 10,
            "kl_reverse": summary(mean * 1.07),
            "kl_reverse_interval": around(mean * 1.07, 0.09),
            "true_token": TrueToken(
                mean=around(-mean / 8, 0.2),
                rms=around(mean**0.5 / 4, 0.05),
                quantiles=tuple(
                    (at, min(mean, 0.1) ** 0.5 * swing)
                    for at, swing in zip(
                        (0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1),
                        (-1.9, -1.4, -0.9, -0.5, -0.3, -0.1, 0.0, 0.09, 0.27, 0.45, 0.8, 1.2, 1.7),
                        strict=True,
                    )
                ),
            ),
            "top5": share(1 - mean**0.5 / 2.4, 0.005),
            "by_position": tuple(
                bucket(low, high, mean * (1.5 - 0.12 * place), same)
                for place, (low, high) in enumerate(pairwise(positions))
            ),
            "by_confidence": tuple(
                bucket(low, high, mean * (2.1 - 1.9 * low), min(0.999, same - 0.3 + 0.3 * high))
                for low, high in pairwise(tenths)
            ),
            "measurable": mean > FLOOR,
        }
    )


def noise(scale: float = 1.0) -> tuple[NoiseFloor, ...]:
    return tuple(
        NoiseFloor(
            kind=kind,
            title=title,
            tokens=4096,
            perplexity_ratio=around(1.00002, 0.0001),
            kl=summary(mean * scale),
            kl_interval=around(mean * scale, 0.05),
            same_top1=share(0.9971, 0.0012),
        )
        for kind, title, mean in (
            ("rounding", "Rounding of the activations", FLOOR * 0.95),
            ("batch", "Another batch shape", FLOOR * 0.4),
        )
    )


def task(name: str, title: str, methods: Sequence[str], *, chance: float) -> TaskResult:
    def other(method: str) -> TaskOther:
        loss = KL[method] ** 0.5 / 4
        lost = round(220 * (loss + 0.02))
        worse = loss > 0.05
        return TaskOther(
            path=output_of(method),
            name=method,
            accuracy=share(0.61 - loss, 0.06),
            difference=Estimate(value=-loss, low=-loss - 0.03, high=-loss + 0.03),
            lost=lost,
            gained=5,
            changed=lost + 14,
            p_value=0.00021 if worse else 0.42,
            p_adjusted=0.0012 if worse else 1.0,
            recovery=(0.61 - loss - chance) / (0.61 - chance),
            recovery_low=(0.55 - loss - chance) / (0.61 - chance),
            recovery_high=(0.67 - loss - chance) / (0.61 - chance),
        )

    return TaskResult(
        name=name,
        title=title,
        kind="multiple_choice" if chance else "generate_until",
        metric="acc" if chance else "exact_match",
        items=220,
        chance=chance,
        accuracy=share(0.61, 0.06),
        others=tuple(map(other, methods)),
        smallest_margin=0.041,
        sha256="7e" * 32,
        version="1.0",
        items_file=f"tasks/{name}.jsonl",
    )


def evaluation(methods: Sequence[str], *, old: bool = False) -> EvaluationResult:
    texts = dict(list(TEXTS.items())[:2]) if old else TEXTS
    return EvaluationResult(
        original=ORIGINAL,
        original_perplexity=14.31,
        tokens=8192,
        documents=43,
        window=512,
        sha256="9b" * 32,
        others=tuple(fidelity(method, f"Testling-135M-Instruct-{method}", old=old) for method in methods),
        texts=tuple(
            TextFidelity(
                text=text,
                tokens=8192 // len(texts),
                perplexity=3.91 * scale,
                others=tuple(fidelity(method, method, scale, old=old) for method in methods),
                noise=() if old else noise(scale),
            )
            for text, scale in texts.items()
        ),
        conditions=conditions(compressed=True),
        seconds=61.2,
        noise=() if old else noise(),
        reference_bytes=0 if old else 9_437_184,
        reference_reused=not old,
        tasks=()
        if old
        else (
            task("bitpress_facts", "Facts, four choices", methods, chance=0.25),
            task("bitpress_sums", "Sums, exact answer", methods, chance=0.0),
        ),
    )


def served(path: str, name: str, method: str | None, *, batches: Sequence[int] = (1, 4, 16, 64)) -> ModelBenchmark:
    """A model in a serving engine: weight-only schemes gain at one request and lose at many."""
    gain = SPEED.get(method or "", 1.3) if method else 1.0
    four_bits = gain > 2

    def case(batch: int) -> BenchCase:
        faster = gain / (1 + 0.045 * batch) if four_bits else gain
        gap = 6.1 * (1 + batch / 40) / faster
        return BenchCase(
            batch=batch,
            prompt_tokens=512,
            output_tokens=256,
            repeats=3,
            ttft_ms=around(38 * batch**0.7 / faster, 0.08),
            itl_ms=around(gap, 0.05),
            tokens_per_second=around(1000 / gap * batch, 0.04),
            prefill_tokens_per_second=around(13_400 * faster, 0.05),
            e2e_ms=around(gap * 256 + 38 * batch**0.7, 0.04),
            itl_p50_ms=around(gap * 0.97, 0.03),
            itl_p95_ms=around(gap * 1.4, 0.06),
            itl_p99_ms=around(gap * 2.6, 0.1),
            joules_per_token=around(0.31 / faster / batch**0.6, 0.05),
            requests=3 * max(8, batch * 2),
        )

    return ModelBenchmark(
        path=path,
        name=name,
        bytes=BYTES.get(method or "", 269_060_552),
        load_seconds=31.5,
        peak_bytes=int(21.6 * 2**30),
        cases=tuple(map(case, batches)),
        conditions=Conditions(engine="vllm", engine_version="0.11.2", device="NVIDIA Testboard 24", dtype="bfloat16"),
    )


def sweep(methods: Sequence[str], runs: Sequence[int]) -> SweepResult:
    def row(place: int, method: str) -> SweepRow:
        mean, speed = KL[method], 164 * SPEED.get(method, 1.3)
        return SweepRow(
            key=f"{place}-{method}",
            label={**TITLES, **MORE_TITLES}[method],
            method=method,
            parameters={"group_size": 64},
            state=RowState.MEASURED,
            run=runs[place],
            output=output_of(method),
            bytes=BYTES[method],
            seconds=311.0 + place,
            peak_bytes=1_830_000_000,
            device_bytes=BYTES[method] + 900_000_000,
            fidelity=fidelity(method, method),
            level="near-lossless" if mean < 0.01 else "damaged",
            gate="pass" if mean < 0.009 else "inconclusive" if mean < 0.01 else "fail",
            tokens_per_second=Range(value=speed, low=speed * 0.96, high=speed * 1.04),
            expected_speed=SPEED.get(method, 1.3) * 1.1,
            expected_speed_source="Published figures for an 8B model on an A100, batch 1.",
        )

    failed = SweepRow(
        key="failed",
        label="NVFP4",
        method="nvfp4",
        parameters={},
        state=RowState.FAILED,
        problem=Problem(
            code="out-of-memory",
            message="The machine ran out of memory while layer 12 of 30 was calibrated.",
            hint="Use fewer samples, or a shorter length of them.",
        ),
    )
    return SweepResult(
        id="sweep-1",
        original=ORIGINAL,
        original_bytes=269_060_552,
        rows=(*(row(place, method) for place, method in enumerate(methods)), failed),
        gate="near-lossless",
        gate_kl=0.01,
        knee="0-fp8-dynamic" if methods and methods[0] == "fp8-dynamic" else None,
        recommendation=Recommendation(
            key="0-fp8-dynamic",
            sentence="Take FP8 dynamic: it is the smallest that passes the gate near-lossless, at 61 % of the size.",
        ),
    )


def sensitivity(layers: int = 30) -> SensitivityResult:
    kinds = {"qkv": 1_000_000, "o": 331_776, "gate_up": 1_769_472, "down": 884_736}
    schemes = {"W4A16": 0.53, "W8A16": 1.03, "W8A8": 1.02}
    parts = tuple(
        Part(
            key=f"model.layers.{layer}.{kind}",
            layer=layer,
            kind=kind,
            modules=(f"model.layers.{layer}.{kind}",),
            parameters=count,
        )
        for layer in range(layers)
        for kind, count in kinds.items()
    )

    def suffering(part: Part, scheme: str) -> float:
        edge = 1 + 14 * math.exp(-part.layer / 2) + 6 * math.exp((part.layer - layers + 1) / 1.5)
        kind = {"qkv": 0.6, "o": 0.4, "gate_up": 1.0, "down": 2.2}[part.kind]
        return 0.0009 * edge * kind * {"W4A16": 1.0, "W8A16": 0.002, "W8A8": 0.05}[scheme]

    chosen = {
        part.key: "W8A16" if suffering(part, "W4A16") > 0.006 else "W8A8" if part.kind == "down" else "W4A16"
        for part in parts
    }
    uniform = {scheme: int(sum(part.parameters for part in parts) * size) for scheme, size in schemes.items()}
    return SensitivityResult(
        model=ORIGINAL,
        parts=parts,
        schemes=tuple(schemes),
        cells=tuple(
            Sensitivity(
                part=part.key,
                scheme=scheme,
                bytes=int(part.parameters * size),
                kl=around(suffering(part, scheme), 0.1),
            )
            for part in parts
            for scheme, size in schemes.items()
        ),
        tokens=4096,
        sha256="3c" * 32,
        seconds=912.0,
        assignment=Assignment(
            budget_bytes=int(uniform["W4A16"] * 1.4),
            bytes=int(sum(part.parameters * schemes[chosen[part.key]] for part in parts)),
            schemes=chosen,
            predicted_kl=sum(suffering(part, chosen[part.key]) for part in parts),
            uniform=uniform,
        ),
    )
