"""What `bitpress bench` takes and prints: lengths of use cases, a line a figure, the verdict against the original."""

from __future__ import annotations

from typing import Any

from app.cli.output import DONE, FAILED, Output
from core.measure.results import BenchFailure, BenchmarkSuite, ModelBenchmark
from core.measure.speed_verdict import SERVERS, speed_verdict
from core.measure.use_cases import as_use_case, use_case

SHOWN = ("ttft_ms", "itl_ms", "tokens_per_second", "joules_per_token")


def bench_suite(
    suite: BenchmarkSuite, case: str, prompt_tokens: int | None, output_tokens: int | None
) -> BenchmarkSuite:
    """The suite with a use case's lengths, or those that were given; a length that was given wins.

    Raises BitpressError `unknown-use-case`.
    """
    chosen = as_use_case(suite, use_case(case)) if case else suite
    given = {"prompt_tokens": prompt_tokens, "output_tokens": output_tokens}
    lengths = {name: value for name, value in given.items() if value is not None}
    return chosen.model_copy(update={**lengths, **({"use_case": ""} if lengths else {})})


def show_speed(output: Output, run: int, result: dict[str, Any], original_path: str) -> int:
    """Print a benchmark's result; the exit status tells whether every model could be measured.

    Nothing is compared where the original could not be measured.
    """
    rows = []
    original: ModelBenchmark | None = None
    for found in result["models"]:
        model = ModelBenchmark.model_validate(found)
        conditions = model.conditions
        row = {**found, "engine": conditions.engine, "device": conditions.device, "dtype": conditions.dtype}
        _say(output, model)
        if model.path == original_path and original is None:
            original = model
        elif original is not None:
            verdict = speed_verdict(original, model)
            row["verdict"] = verdict.model_dump(mode="json")
            output.say(f"{model.name}: {verdict.sentence}")
        rows.append(row)
    failed = [BenchFailure.model_validate(one) for one in result.get("failed", ())]
    for failure in failed:
        output.say(f"{failure.name} could not be measured: {failure.problem.message} {failure.problem.hint}")
    if rows:
        for note in dict.fromkeys(note for row in rows for note in row["conditions"]["notes"]):
            output.say(f"  {note}")
    output.result({"run": run, "models": rows, "failed": [failure.model_dump(mode="json") for failure in failed]})
    return FAILED if failed else DONE


def _say(output: Output, model: ModelBenchmark) -> None:
    count = "at once" if model.conditions.engine in SERVERS else "batch"
    for case in model.cases:
        for key in SHOWN:
            figure = getattr(case, key)
            if figure is not None:
                output.say(
                    f"{model.name:<40} {count} {case.batch:<3} {key:<18} {figure.value:.2f} "
                    f"({figure.low:.2f} to {figure.high:.2f})"
                )
