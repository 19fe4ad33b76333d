"""Measures speed and memory of one model on prompts of fixed random tokens."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core.errors import BitpressError
from core.jobs.protocol import Benchmark, Stage
from core.measure.results import BenchCase, BenchmarkSuite, ModelBenchmark
from core.value import Json, Range
from core.worker import loading
from core.worker.decoding import Forward, context_length, warm_up
from core.worker.footprint import PeakMemory, wait, weight_bytes
from core.worker.loading import Loaded
from core.worker.reporter import Reporter

LOAD = Stage(id="load", title="Load the model")
WARM_UP = Stage(id="warm-up", title="Warm up", unit="pass")

DECODED = (
    "Greedy decoding, one forward pass a token over a growing cache, every prompt of a batch of the same length, end "
    "tokens ignored. The prompts are random tokens with a fixed seed: speed does not depend on what they say."
)


@dataclass(frozen=True, slots=True)
class Timing:
    """One measured pass, in seconds from its start: until the first token, and until the last."""

    first: float
    last: float


def run(command: Benchmark, report: Reporter) -> Json:
    """The ModelBenchmark as JSON: load, warm up, then one stage for each batch size.

    A batch for which the GPU's memory is too small is left out with a warning. Raises BitpressError `too-long` where
    prompt and output do not fit into the context, `bad-suite` for sizes that cannot be measured, and what loading
    raises.
    """
    suite = command.suite
    _check(suite)
    stages = tuple(Stage(id=f"batch-{batch}", title=f"Batch of {batch}", unit="pass") for batch in suite.batches)
    report.plan((LOAD, WARM_UP, *stages))
    device = loading.pick_device(command.device)
    peak = PeakMemory(device)
    with report.stage(LOAD.id):
        loaded = loading.load(command.model, command.device)
        _check_context(loaded, suite)
    cases: list[BenchCase] = []
    too_large: set[int] = set()
    with report.stage(WARM_UP.id):
        warm_up(loaded)
        done, total = 0, len(suite.batches) * suite.warmups
        for batch in suite.batches:
            for _ in range(suite.warmups):
                if batch not in too_large and _measured(loaded, suite, batch, report) is None:
                    too_large.add(batch)
                done += 1
                report.progress(WARM_UP.id, done, total, f"batch of {batch}")
    for batch, stage in zip(suite.batches, stages, strict=True):
        with report.stage(stage.id):
            timings: list[Timing] = []
            while batch not in too_large and len(timings) < suite.repeats:
                timing = _measured(loaded, suite, batch, report)
                if timing is None:
                    too_large.add(batch)
                    break
                timings.append(timing)
                report.progress(stage.id, len(timings), suite.repeats)
            if batch in too_large:
                report.warn("batch-left-out", f"A batch of {batch} does not fit into the GPU's memory; it is left out.")
            else:
                cases.append(_case(suite, batch, timings))
    if not cases:
        raise BitpressError(
            "out-of-memory",
            "Not even the smallest batch fits into the GPU's memory.",
            "Ask for smaller batches or shorter prompts, or close other programs on the GPU.",
        )
    conditions = loaded.conditions.model_copy(update={"notes": (*loaded.conditions.notes, DECODED)})
    return ModelBenchmark(
        path=command.model,
        name=Path(command.model).name,
        bytes=weight_bytes(command.model),
        load_seconds=loaded.seconds,
        peak_bytes=peak.bytes(),
        cases=tuple(cases),
        conditions=conditions,
    ).model_dump(mode="json")


def prompt_batch(loaded: Loaded, suite: BenchmarkSuite, batch: int) -> torch.Tensor:
    """Random token ids (batch, prompt tokens), the same for the same seed and vocabulary, special tokens left out."""
    vocabulary = int(loaded.model.config.get_text_config().vocab_size)
    special = set(loaded.tokenizer.all_special_ids)
    plain = torch.tensor([identity for identity in range(vocabulary) if identity not in special])
    generator = torch.Generator().manual_seed(suite.seed)
    chosen = torch.randint(plain.numel(), (batch, suite.prompt_tokens), generator=generator)
    return plain[chosen].to(loaded.device)


def _measured(loaded: Loaded, suite: BenchmarkSuite, batch: int, report: Reporter) -> Timing | None:
    """One pass, or None where the GPU's memory is too small for it."""
    try:
        return _pass(loaded, prompt_batch(loaded, suite, batch), suite.output_tokens, report)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def _pass(loaded: Loaded, prompts: torch.Tensor, output_tokens: int, report: Reporter) -> Timing:
    forward = Forward(loaded.model)
    wait(loaded.device)
    started = time.perf_counter()
    chosen = forward(prompts).argmax(-1, keepdim=True)
    wait(loaded.device)
    first = time.perf_counter() - started
    for _ in range(output_tokens - 1):
        report.check()
        chosen = forward(chosen).argmax(-1, keepdim=True)
    wait(loaded.device)
    return Timing(first=first, last=time.perf_counter() - started)


def _case(suite: BenchmarkSuite, batch: int, timings: Sequence[Timing]) -> BenchCase:
    prompt, output = suite.prompt_tokens, suite.output_tokens
    return BenchCase(
        batch=batch,
        prompt_tokens=prompt,
        output_tokens=output,
        repeats=len(timings),
        ttft_ms=_spread([timing.first * 1000.0 for timing in timings]),
        itl_ms=_spread([(timing.last - timing.first) * 1000.0 / max(1, output - 1) for timing in timings]),
        tokens_per_second=_spread([batch * output / timing.last for timing in timings]),
        prefill_tokens_per_second=_spread([batch * prompt / timing.first for timing in timings]),
    )


def _spread(values: Sequence[float]) -> Range:
    """Median, with the smallest and the largest."""
    return Range(value=statistics.median(values), low=min(values), high=max(values))


def _check(suite: BenchmarkSuite) -> None:
    sizes = (*suite.batches, suite.prompt_tokens, suite.output_tokens, suite.repeats)
    if not suite.batches or min(sizes) < 1 or suite.warmups < 0 or len(set(suite.batches)) < len(suite.batches):
        raise BitpressError(
            "bad-suite",
            "A benchmark needs at least one batch size, each once, and lengths and repeats of at least 1.",
            "Correct the batch sizes, lengths and repeats.",
        )


def _check_context(loaded: Loaded, suite: BenchmarkSuite) -> None:
    context = context_length(loaded.model)
    if context is not None and suite.prompt_tokens + suite.output_tokens > context:
        raise BitpressError(
            "too-long",
            f"{suite.prompt_tokens} prompt and {suite.output_tokens} output tokens do not fit into the model's context "
            f"of {context:,} tokens.",
            "Ask for a shorter prompt or a shorter output.",
        )
