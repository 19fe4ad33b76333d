"""bitpress evaluate, bench, generate, sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import BLOCKED, DONE, FAILED, Output
from app.cli.session import follow, serve
from app.cli.tasks import Items, Tasks, say_power, split_names, tell_tasks
from app.engine import Engine
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite, EvaluationSuite, Fidelity, Sampling

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Gate = Annotated[
    str | None, typer.Option("--gate", help="near-lossless, production or aggressive: exit status 3 if it is not met.")
]
_EVALUATION = EvaluationSuite()
_BENCHMARK = BenchmarkSuite()


def evaluate(
    *,
    original: Annotated[str, typer.Argument(help="The original model.")],
    others: Annotated[list[str], typer.Argument(help="Models to compare with it.")],
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", help="Score these files, not the built-in texts; `none` asks --tasks alone."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=64, help="Most tokens scored per text.")] = _EVALUATION.tokens,
    tasks: Tasks = None,
    items: Items = None,
    gate: Gate = None,
    as_json: Json = False,
) -> int:
    """Measure perplexity and KL divergence from the original on held-out text, and answers to tasks."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.measurement import start_evaluation
        from core.measure.verdict import gate_named, gate_verdict

        wanted = gate_named(gate) if gate else None
        suite = _EVALUATION.model_copy(
            update={
                "tokens": tokens,
                "tasks": split_names(tasks),
                "task_items": items,
                **({"texts": texts_named(text, without=bool(tasks) and gate is None)} if text else {}),
            }
        )
        if suite.tasks:
            say_power(output, suite.tasks, items)
        run = await start_evaluation(
            engine, original=engine.model(original), others=[engine.model(other) for other in others], suite=suite
        )
        result: dict[str, Any] = (await follow(engine, run, output)).result
        verdicts: list[str] = []
        for other in result["others"]:
            if wanted is not None:
                verdicts.append(gate_verdict(Fidelity.model_validate(other), wanted))
                other["gate"] = {"name": str(wanted.level), "verdict": verdicts[-1]}
            output.say(
                f"{other['name']}: perplexity {other['perplexity']:.3f} (x {other['perplexity_ratio']['value']:.4f}), "
                f"mean KL {other['kl']['mean']:.4f}, same top-1 {100 * other['same_top1']['value']:.1f} %"
                + (f", {wanted.level}: {verdicts[-1]}" if wanted else "")
            )
        if suite.tasks:
            tell_tasks(output, result)
        output.result({"run": run.id, **result})
        return BLOCKED if any(verdict != "pass" for verdict in verdicts) else DONE

    return serve(output, command)


def texts_named(text: list[Path], *, without: bool) -> tuple[str, ...]:
    """The files to score; none of them for `--text none`, which leaves something to do only where there are tasks."""
    if text == [Path("none")]:
        if not without:
            raise BitpressError(
                "wrong-usage", "--text none leaves nothing to judge.", "Add --tasks, and leave --gate out."
            )
        return ()
    return tuple(str(path.absolute()) for path in text)


def bench(
    *,
    models: Annotated[list[str], typer.Argument(help="Models to measure, one after the other.")],
    engine_name: Annotated[str, typer.Option("--engine", help="transformers.")] = "transformers",
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Batch sizes; may be given often.")] = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", min=1)] = _BENCHMARK.prompt_tokens,
    output_tokens: Annotated[int, typer.Option("--output-tokens", min=2)] = _BENCHMARK.output_tokens,
    repeats: Annotated[int, typer.Option("--repeats", min=1)] = _BENCHMARK.repeats,
    as_json: Json = False,
) -> int:
    """Measure load time, memory, time to first token, inter-token latency and throughput."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.measurement import start_benchmark

        if engine_name != "transformers":
            raise BitpressError(
                "unknown-engine",
                f"This version measures in transformers only; {engine_name} is not built in yet.",
                "Leave --engine out.",
            )
        suite = BenchmarkSuite(
            batches=tuple(batch or _BENCHMARK.batches),
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            repeats=repeats,
        )
        run = await start_benchmark(engine, models=[engine.model(model) for model in models], suite=suite)
        result: dict[str, Any] = (await follow(engine, run, output)).result
        rows = []
        for model in result["models"]:
            conditions = model["conditions"]
            rows.append(
                {**model, "engine": conditions["engine"], "device": conditions["device"], "dtype": conditions["dtype"]}
            )
            for case in rows[-1]["cases"]:
                for key in ("ttft_ms", "itl_ms", "tokens_per_second"):
                    figure = case[key]
                    output.say(
                        f"{model['name']:<40} batch {case['batch']:<3} {key:<18} {figure['value']:.2f} "
                        f"({figure['low']:.2f} to {figure['high']:.2f})"
                    )
            for note in conditions["notes"]:
                output.say(f"  {note}")
        output.result({"run": run.id, "models": rows})
        return DONE

    return serve(output, command)


def generate(
    *,
    models: Annotated[list[str], typer.Argument(help="Models that answer, the original first.")],
    prompt: Annotated[str, typer.Option("--prompt", help="What to answer.")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1)] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
    system: Annotated[str, typer.Option("--system", help="A system prompt.")] = "",
    plain: Annotated[bool, typer.Option("--plain", help="Continue the text, without the chat template.")] = False,
    as_json: Json = False,
) -> int:
    """Let models answer the same prompt, and say where they part."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.measurement import start_comparison

        sampling = Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed, system=system, chat=not plain)
        found = [engine.model(model) for model in models]
        run = await start_comparison(engine, models=found, prompt=prompt, sampling=sampling)
        result: dict[str, Any] = (await follow(engine, run, output)).result
        for one, first in zip(result["outputs"], result["first_difference"], strict=True):
            parting = "" if first is None else f", parts from the original at token {first + 1}"
            output.say(f"--- {one['name']} ({one['tokens_per_second']:.1f} tokens/s{parting})")
            output.say(one["text"])
        outputs = [
            {**one, "tokens": len(one["tokens"]), "token_ids": [token["id"] for token in one["tokens"]]}
            for one in result["outputs"]
        ]
        differences = result["first_difference"]
        output.result(
            {
                "run": run.id,
                "outputs": outputs,
                "first_difference": differences[1] if len(differences) == 2 else differences[1:] or None,
            }
        )
        return DONE

    return serve(output, command)


def sweep(
    model: Annotated[str, typer.Argument(help="The model to compress by every method.")],
    methods: Annotated[str, typer.Option("--methods", help="Entries of `bitpress methods`, with commas.")],
    samples: Annotated[int, typer.Option("--samples", min=1, help="Calibration samples.")] = 128,
    gate: Gate = None,
    as_json: Json = False,
) -> int:
    """Compress one model by several methods, measure all of them on the same text, and print the table."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.sweep import run_sweep

        rows = await run_sweep(
            engine,
            output,
            model=model,
            methods=[name.strip() for name in methods.split(",") if name.strip()],
            samples=samples,
            gate=gate,
        )
        output.result({"rows": rows})
        if all(row["output"] is None for row in rows):
            return FAILED
        return BLOCKED if gate and any(row.get("gate", {}).get("verdict") != "pass" for row in rows) else DONE

    return serve(output, command)
