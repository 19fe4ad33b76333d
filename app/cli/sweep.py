"""bitpress sweep: one model by several methods and grids of parameters, unattended, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.device import use_device
from app.cli.measure import texts_named
from app.cli.output import BLOCKED, DONE, FAILED, Output
from app.cli.session import TrustCode, followed, serve
from app.cli.tasks import Items, Tasks, say_power, split_names
from app.engine import Engine
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite, EvaluationSuite

if TYPE_CHECKING:
    from core.jobs.run import Run
    from core.jobs.snapshot import JobSnapshot
    from core.jobs.sweep_plan import SweepPlan
    from core.jobs.sweep_store import SweepRecord
    from core.measure.sweep_values import SweepResult
    from core.methods.recovery import RecoverySpec

_EVALUATION = EvaluationSuite()
_BENCHMARK = BenchmarkSuite()


Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; default as in Settings.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the newest unfinished sweep, or with the one whose number is given."),
]
Listed = Annotated[
    bool, typer.Option("--list", help="List the sweeps, or show the one whose number is given; nothing runs.")
]


def sweep(
    *,
    model: Annotated[
        str | None, typer.Argument(help="The model to compress by every method; with --resume, a sweep's number.")
    ] = None,
    methods: Annotated[str, typer.Option("--methods", help="Entries of `bitpress methods`, with commas.")] = "",
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", help="NAME=VALUE,VALUE for all methods that have it, or METHOD:NAME=VALUE,VALUE."),
    ] = None,
    calibration: Annotated[
        list[str] | None, typer.Option("--calibration", help="Calibration data, as `bitpress compress` takes it.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Calibration samples.")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", min=16, help="Most tokens per sample.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1)] = 0,
    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            help="An entry of `bitpress gates`, or a YAML file: exit status 3 if no method passes it. Left out, rows "
            "are judged by production. With --resume, what is there is judged by it.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="Score these instead: names from `bitpress texts`, files, or folders."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=64, help="Most tokens scored per text.")] = _EVALUATION.tokens,
    tasks: Tasks = None,
    items: Items = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Each method also with recovery afterwards, as a row of its own.")
    ] = False,
    recover_method: Annotated[
        list[str] | None, typer.Option("--recover-method", help="The same for this method alone; may be given often.")
    ] = None,
    recovery: Annotated[
        list[str] | None, typer.Option("--recovery", help="A setting of it, as `bitpress compress` takes it.")
    ] = None,
    bench: Annotated[bool, typer.Option("--bench", help="Measure speed too.")] = False,
    engine_name: Annotated[
        str, typer.Option("--engine", help="Where speed is measured: transformers or vllm.")
    ] = "transformers",
    fix: Annotated[bool, typer.Option("--fix", help="Take over what mends each finding that blocks a method.")] = False,
    device: Device = None,
    resume: Resume = False,
    retry: Annotated[bool, typer.Option("--retry", help="With --resume, try failed methods again.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Start over, even where the same sweep is unfinished.")] = False,
    listed: Listed = False,
    trust_code: TrustCode = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Compress one model by several methods, measure all on the same text, and say which one to take.

    The same command again goes on with a sweep that was interrupted; what is pressed and proved is not made again.
    """
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from core.jobs.sweep_store import SweepStore

        use_device(engine, device)
        store = SweepStore(engine.home)
        if listed:
            return _list(output, store.all()) if model is None else _ended(output, store.get(model))
        if resume:
            record = store.get(model) if model is not None else store.unfinished()
            if record is None:
                raise BitpressError("unknown-sweep", "No sweep is unfinished.", "`bitpress sweep --list` lists them.")
            if gate is not None:
                from core.measure.gate_store import find_gate

                # Another gate judges what is there; nothing is measured again for it.
                plan = record.plan.model_copy(update={"gate": find_gate(engine.home, gate), "gated": True})
                record = record.model_copy(update={"plan": plan})
                store.save(record)
            return await _carried_out(engine, output, record, retry=retry)
        if model is None:
            raise BitpressError("wrong-usage", "No model is named.", "bitpress sweep MODEL --methods NAME,NAME")
        plan = await _plan(
            engine,
            output,
            model=model,
            methods=list(_listed_names(methods)),
            grid=grid or [],
            recovery=_recovery(recover, recover_method, recovery),
            calibration=_calibration(calibration or [], samples, max_length, seed),
            seed=seed,
            gate=gate,
            evaluation=_evaluation(output, text, tokens, tasks, items),
            benchmark=_benchmark(engine, engine_name) if bench else None,
            fix=fix,
        )
        known = None if new else store.unfinished(plan)
        if known is not None:
            done = sum(row.state not in ("waiting", "failed") for row in known.result.rows)
            output.say(
                f"Sweep {known.id} of the same plan is unfinished ({done} of {len(known.result.rows)} pressed): it "
                "goes on. --new starts over."
            )
        from core.models.inspect import inspect

        if known is None:
            from app.sweep_cost import sweep_cost

            output.note((await sweep_cost(engine, inspect(Path(plan.model)), plan)).words)
        record = known or store.create(plan, inspect(Path(plan.model)).bytes)
        return await _carried_out(engine, output, record, retry=retry)

    return serve(output, command, trust=trust_code)


async def _plan(
    engine: Engine,
    output: Output,
    *,
    model: str,
    methods: list[str],
    grid: list[str],
    gate: str | None,
    recovery: tuple[RecoverySpec, list[str]] | None,
    **rest: Any,
) -> SweepPlan:
    """Everything that was typed as a plan, checked before anything runs."""
    from app.starter import ensure_starter
    from app.sweep import plan_sweep
    from core.jobs.sweep_plan import SweepPlan, also_recovered, entries_of, why_not_recovered
    from core.measure.gate_store import find_gate
    from core.measure.gates import USUAL

    entries = entries_of(methods, grid)
    if recovery is not None:
        spec, named = recovery
        for why in dict.fromkeys(filter(None, map(why_not_recovered, entries if not named else ()))):
            output.note(f"Not recovered: {why}")
        entries = also_recovered(entries, spec, named)
    wanted = find_gate(engine.home, gate or USUAL)
    if model == "starter":
        original = await ensure_starter(engine, lambda text, _: output.note(text))
    else:
        original = engine.model(model)
    plan = SweepPlan(
        model=str(original.path),
        model_name=original.name,
        entries=entries,
        gate=wanted,
        gated=gate is not None,
        **rest,
    )
    return await plan_sweep(engine, original, plan)


def _calibration(sources: list[str], samples: int | None, max_length: int | None, seed: int) -> Any:
    from core.calibration.spec import CalibrationSpec

    given: dict[str, Any] = {"samples": samples, "max_length": max_length}
    if sources:
        from app.calibration import typed_sources

        given["mix"] = [part.model_dump(mode="json") for part in typed_sources(sources)]
    found = {name: value for name, value in given.items() if value is not None}
    return CalibrationSpec.model_validate({"seed": seed, **found}) if found else None


def _recovery(
    recover: bool, methods: list[str] | None, settings: list[str] | None
) -> tuple[RecoverySpec, list[str]] | None:
    """What is recovered, and of which methods: all where none is named. Raises BitpressError `bad-recovery`."""
    if not (recover or methods or settings):
        return None
    from core.methods.recovery import recovery_settings

    return recovery_settings(settings or ()), [] if recover else list(methods or ())


def _evaluation(
    output: Output, texts: list[str] | None, tokens: int, tasks: list[str] | None, items: int | None
) -> EvaluationSuite:
    named = split_names(tasks)
    if named:
        say_power(output, named, items)
    update: dict[str, Any] = {"tokens": tokens, "tasks": named, "task_items": items}
    if texts:
        update["texts"] = texts_named(texts, without=False)
    return _EVALUATION.model_copy(update=update)


def _listed_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _benchmark(engine: Engine, name: str) -> BenchmarkSuite:
    """The usual benchmark in an engine that is there: told now, and not after hours of pressing."""
    if name not in ("transformers", "vllm"):
        raise BitpressError("unknown-engine", f"A sweep cannot measure in {name}.", "Use transformers or vllm.")
    if name == "vllm":
        from app.engines import engine_place

        engine_place(engine.home, name)
    return _BENCHMARK.model_copy(update={"engine": name})


async def _carried_out(engine: Engine, output: Output, record: SweepRecord, *, retry: bool) -> int:
    from app.sweep import SweepWatch, run_sweep, stopped
    from core.jobs.sweep_store import SweepStore

    output.line("sweep", id=record.id, rows=[row.key for row in record.result.rows])
    output.say(f"Sweep {record.id}: {record.plan.model_name} by {len(record.plan.entries)} methods.")

    def told(result: SweepResult, sentence: str) -> None:
        output.line("row", sentence=sentence, states={row.key: str(row.state) for row in result.rows})
        output.say(sentence)

    async def watched(run: Run) -> JobSnapshot:
        try:
            return await followed(engine, run, output)
        except BitpressError as error:
            if error.problem.code != "cancelled":
                raise
            raise stopped(record.id) from error

    await run_sweep(engine, record.id, SweepWatch(rows=told, run=watched), retry=retry)
    return _ended(output, SweepStore(engine.home).get(record.id))


def _list(output: Output, records: tuple[SweepRecord, ...]) -> int:
    for record in records:
        states = [str(row.state) for row in record.result.rows]
        output.line(
            "sweep",
            id=record.id,
            created=record.created.isoformat(),
            model=record.plan.model,
            states=states,
            finished=record.finished,
        )
        measured = states.count("measured")
        state = "finished" if record.finished else "unfinished"
        output.say(
            f"{record.id:>4}  {record.created:%Y-%m-%d %H:%M}  {state:<10}  {record.plan.model_name}: {measured} of "
            f"{len(states)} measured"
        )
    return DONE


def _ended(output: Output, record: SweepRecord) -> int:
    """Print the result, and give its exit status: 3 where a gate was asked for and nothing passed it."""
    from app.cli.sweep_words import chart_values, said

    result = record.result
    output.result({**result.model_dump(mode="json"), "chart": chart_values(result)})
    for line in said(result):
        output.say(line)
    if all(row.state == "failed" for row in result.rows):
        return FAILED
    passed = any(row.gate == "pass" for row in result.rows)
    return BLOCKED if record.plan.gated and result.finished and not passed else DONE
