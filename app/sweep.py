"""Compresses one model by several methods, one failure stopping nothing, and measures them all on the same text."""

from __future__ import annotations

from typing import Any

from app.cli.output import Output
from app.cli.session import follow
from app.compression import plan_compression, start_compression
from app.engine import Engine
from app.measurement import start_evaluation
from app.starter import ensure_starter
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.measure.results import EvaluationResult, EvaluationSuite
from core.measure.verdict import gate_named, gate_verdict, verdict
from core.methods.catalogue import find
from core.models.inspect import inspect
from core.models.local_model import LocalModel, Origin


async def run_sweep(
    engine: Engine, output: Output, *, model: str, methods: list[str], samples: int, gate: str | None = None
) -> list[dict[str, Any]]:
    """One row per method: {method, run, output, bytes, seconds, kl, perplexity_ratio, same_top1, level, problem}.

    With a gate also `gate`: {name, verdict}, where the method was measured. Raises BitpressError `unknown-method`,
    `unknown-gate` or `bad-setting` before anything runs.
    """
    if not methods:
        raise BitpressError("bad-setting", "No method is named.", "Name some of `bitpress methods`, with commas.")
    for method in methods:
        find(method)
    wanted = gate_named(gate) if gate else None
    original = (
        await ensure_starter(engine, lambda text, _: output.note(text)) if model == "starter" else engine.model(model)
    )
    rows: list[dict[str, Any]] = []
    pressed: list[LocalModel] = []
    for method in methods:
        row: dict[str, Any] = {"method": method, "output": None, "problem": None}
        rows.append(row)
        try:
            planned = await plan_compression(
                engine, model=original, method=method, overrides={}, calibration=CalibrationSpec(samples=samples)
            )
            run = await start_compression(engine, planned)
            result = (await follow(engine, run, output)).result
        except BitpressError as error:
            if error.problem.code == "cancelled":
                raise
            row["problem"] = error.problem.model_dump(mode="json")
            output.say(f"{method}: {error.problem.message}")
            continue
        row.update(run=run.id, output=result["output"], bytes=result["bytes"], seconds=result["seconds"])
        pressed.append(inspect(planned.output, Origin.ARTIFACT))
    if not pressed:
        return rows
    run = await start_evaluation(engine, original=original, others=pressed, suite=EvaluationSuite())
    found = EvaluationResult.model_validate((await follow(engine, run, output)).result)
    for row in rows:
        fidelity = next((one for one in found.others if one.path == row["output"]), None)
        if fidelity is None:
            continue
        judged = verdict(fidelity, original.bytes, row["bytes"])
        row.update(
            kl=fidelity.kl.mean,
            perplexity_ratio=fidelity.perplexity_ratio.value,
            same_top1=fidelity.same_top1.value,
            level=str(judged.level),
        )
        if wanted is not None:
            row["gate"] = {"name": str(wanted.level), "verdict": gate_verdict(fidelity, wanted)}
        output.say(f"{row['method']:<26} {row['bytes'] / 1e6:8.1f} MB  {judged.sentence}")
    return rows
