"""bitpress evaluate, bench, generate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.output import BLOCKED, DONE, Output
from app.cli.session import TrustCode, follow, serve
from app.cli.tasks import Items, Tasks, say_power, split_names, tell_tasks
from app.engine import Engine
from core.errors import BitpressError
from core.measure.evaluation_texts import asked_name
from core.measure.results import BenchmarkSuite, EvaluationResult, EvaluationSuite, Sampling

if TYPE_CHECKING:
    from core.measure.gates import Gate as GateValue

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Gate = Annotated[
    str | None,
    typer.Option("--gate", help="An entry of `bitpress gates`, or a YAML file: exit status 3 if it is not passed."),
]
_EVALUATION = EvaluationSuite()
_BENCHMARK = BenchmarkSuite()


def evaluate(
    *,
    original: Annotated[str, typer.Argument(help="The original model.")],
    others: Annotated[list[str], typer.Argument(help="Models to compare with it.")],
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="Score these instead: names from `bitpress texts`, files, or folders; `none` asks --tasks alone.",
        ),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=64, help="Most tokens scored per text.")] = _EVALUATION.tokens,
    tasks: Tasks = None,
    items: Items = None,
    gate: Gate = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> int:
    """Measure perplexity and KL divergence from the original on held-out text, and answers to tasks."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.cli.fidelity_words import fidelity_lines, room_line
        from app.measurement import start_evaluation
        from core.measure.gate_store import find_gate

        wanted = find_gate(engine.home, gate) if gate else None
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
        model = engine.model(original)
        if suite.texts and (line := room_line(model, suite)) is not None:
            output.say(line)
        run = await start_evaluation(
            engine, original=model, others=[engine.model(other) for other in others], suite=suite
        )
        result: dict[str, Any] = (await follow(engine, run, output)).result
        for line in fidelity_lines(EvaluationResult.model_validate(result)):
            output.say(line)
        if suite.tasks:
            tell_tasks(output, result)
        passed = tell_gate(output, engine, wanted, result) if wanted else True
        output.result({"run": run.id, **result})
        return DONE if passed else BLOCKED

    return serve(output, command, trust=trust_code)


def tell_gate(output: Output, engine: Engine, gate: GateValue, result: dict[str, Any]) -> bool:
    """Judge every model of an evaluation, say it, and put it into the result; whether all passed."""
    from core.measure.evidence import evidence_of
    from core.measure.judgement import Outcome, judge

    evaluation = EvaluationResult.model_validate(result)
    original = engine.model(evaluation.original)
    outcomes = []
    for other in result["others"]:
        model = engine.model(other["path"])
        evidence = evidence_of(
            other["path"], other["name"], evaluation, bytes=model.bytes, original_bytes=original.bytes
        )
        judged = judge(gate, evidence)
        other["gate"] = {"name": gate.name, "verdict": str(judged.outcome), **judged.model_dump(mode="json")}
        output.say(f"{other['name']}: {judged.sentence}")
        outcomes.append(judged.outcome)
    return all(outcome is Outcome.PASS for outcome in outcomes)


def texts_named(text: list[str], *, without: bool) -> tuple[str, ...]:
    """The files to score; none of them for `--text none`, which leaves something to do only where there are tasks."""
    if text == ["none"]:
        if not without:
            raise BitpressError(
                "wrong-usage", "--text none leaves nothing to judge.", "Add --tasks, and leave --gate out."
            )
        return ()
    return tuple(asked_name(one) for one in text)


def bench(
    *,
    models: Annotated[
        list[str] | None, typer.Argument(help="Models to measure, one after the other, the original first.")
    ] = None,
    engine_name: Annotated[
        str, typer.Option("--engine", help="transformers, or vllm, which `bitpress engine install vllm` sets up.")
    ] = "transformers",
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", help="Measure an OpenAI-compatible server on this machine: http://127.0.0.1:8000/v1"
        ),
    ] = None,
    served: Annotated[str, typer.Option("--model", help="The endpoint's name of the model.")] = "",
    key_variable: Annotated[str, typer.Option("--api-key-env", help="Variable that holds the endpoint's key.")] = "",
    batch: Annotated[
        list[int] | None,
        typer.Option("--batch", min=1, help="Batch sizes, in a server requests at once; may be given often."),
    ] = None,
    case: Annotated[
        str, typer.Option("--use-case", help="Lengths of a published use case: chat, rag, summarisation ...")
    ] = "",
    prompt_tokens: Annotated[int | None, typer.Option("--prompt-tokens", min=1)] = None,
    output_tokens: Annotated[int | None, typer.Option("--output-tokens", min=2)] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1)] = _BENCHMARK.repeats,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> int:
    """Measure load time, memory, time to first token, inter-token latency and throughput."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.cli.speed import bench_suite, show_speed
        from app.engines import api_key
        from app.measurement import start_benchmark

        suite = bench_suite(
            BenchmarkSuite(
                batches=tuple(batch or _BENCHMARK.batches),
                repeats=repeats,
                engine="endpoint" if endpoint is not None else engine_name,
                endpoint=endpoint,
                served_model=served,
            ),
            case,
            prompt_tokens,
            output_tokens,
        )
        if not models and endpoint is None:
            raise BitpressError("needs-model", "No model is named.", "Name a model, or an endpoint with --endpoint.")
        found = [engine.model(model) for model in models or ()]
        run = await start_benchmark(engine, models=found, suite=suite, api_key=api_key(key_variable))
        result: dict[str, Any] = (await follow(engine, run, output)).result
        return show_speed(output, run.id, result, str(found[0].path) if found else "")

    return serve(output, command, trust=trust_code)


def generate(
    *,
    models: Annotated[list[str], typer.Argument(help="Models that answer, the original first.")],
    prompt: Annotated[str, typer.Option("--prompt", help="What to answer.")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1)] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
    system: Annotated[str, typer.Option("--system", help="A system prompt.")] = "",
    plain: Annotated[bool, typer.Option("--plain", help="Continue the text, without the chat template.")] = False,
    trust_code: TrustCode = None,
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

    return serve(output, command, trust=trust_code)
