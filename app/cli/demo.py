"""bitpress demo: the main job on the starter model, ending with a PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import follow, serve
from app.engine import Engine
from core.measure.results import BenchmarkSuite, EvaluationSuite, Sampling

PROMPT = "Explain to a ten-year-old why the sky is blue, in four sentences."


def demo(
    output_folder: Annotated[Path, typer.Option("--output", help="Where the PDF goes.")] = Path("bitpress-demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> int:
    """Compress the starter model to FP8, prove it, compare, evaluate, benchmark, and print the report."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.compression import plan_compression, start_compression
        from app.measurement import start_benchmark, start_comparison, start_evaluation
        from app.starter import ensure_starter
        from core.models.inspect import inspect
        from core.models.local_model import Origin
        from core.report.collect import collect
        from core.report.export import export

        original = await ensure_starter(engine, lambda text, _: output.note(text))
        planned = await plan_compression(engine, model=original, method="fp8-dynamic", overrides={})
        run = await start_compression(engine, planned)
        await follow(engine, run, output)
        pressed = inspect(planned.output, Origin.ARTIFACT)
        for started in (
            start_comparison(engine, models=[original, pressed], prompt=PROMPT, sampling=Sampling(max_tokens=96)),
            start_evaluation(
                engine,
                original=original,
                others=[pressed],
                suite=EvaluationSuite(
                    texts=("chat", "prose"), tokens=2048, chat_prompts=8, chat_tokens=64, noise_floor=False
                ),
            ),
            start_benchmark(
                engine,
                models=[original, pressed],
                suite=BenchmarkSuite(prompt_tokens=64, output_tokens=16, batches=(1, 4), repeats=3),
            ),
        ):
            await follow(engine, await started, output)
        pdf = output_folder.absolute() / f"report-run-{run.id}.pdf"
        pdf.parent.mkdir(parents=True, exist_ok=True)
        export(collect([run.id], engine.store, engine.home), pdf)
        output.result({"run": run.id, "artifact": str(planned.output), "output": str(pdf)})
        output.say(str(pdf))
        return DONE

    return serve(output, command)
