"""Turns a wish to measure, prove or compare into a job, the same way for window and command line."""

from __future__ import annotations

from collections.abc import Sequence

from app.engine import Engine
from app.engines import engine_place
from core.engines.loopback import loopback_endpoint
from core.engines.offered import VLLM
from core.errors import BitpressError
from core.jobs import serving, work
from core.jobs.comparison import Contender, comparison
from core.jobs.protocol import Prove
from core.jobs.run import NewRun, Run, RunKind
from core.measure.results import BenchmarkSuite, EvaluationSuite, Sampling
from core.methods.catalogue import find
from core.methods.method import Expected
from core.models.artifact import Manifest, read_manifest
from core.models.local_model import LocalModel

LOADED_OVER_STORED = 2.5
"""transformers decompresses INT8 to bf16 (2 times) and INT4 partly; the model's own activations come on top."""


async def start_evaluation(
    engine: Engine, *, original: LocalModel, others: Sequence[LocalModel], suite: EvaluationSuite
) -> Run:
    """Score the original and the others on the same tokens."""
    return await engine.queue.submit(
        _asked(RunKind.EVALUATE, "Evaluation", (original, *others), {"suite": suite.model_dump(mode="json")}),
        work.evaluation(
            str(original.path),
            [str(model.path) for model in others],
            suite,
            cache=str(engine.home.root / "cache" / "evaluation"),
            device=engine.settings.device,
        ),
    )


async def start_benchmark(
    engine: Engine, *, models: Sequence[LocalModel], suite: BenchmarkSuite, api_key: str = ""
) -> Run:
    """Measure speed and memory in the suite's engine, one model after the other, each in a process of its own.

    At an endpoint `models` may be empty, or the one that is served there. Raises BitpressError `unknown-engine`,
    `engine-missing`, `engine-unfinished`, `bad-endpoint`, `endpoint-elsewhere`, `wrong-usage`.
    """
    if suite.engine == "endpoint":
        return await _start_endpoint(engine, models, suite, api_key)
    paths, device = [str(model.path) for model in models], engine.settings.device
    if suite.engine == "transformers":
        job = work.benchmark(paths, suite, device=device)
    elif suite.engine == VLLM:
        job = serving.serving(paths, suite, engine_place(engine.home, VLLM), device=device)
    else:
        raise BitpressError(
            "unknown-engine", f"There is no engine {suite.engine!r}.", f"Engines are transformers, {VLLM} and endpoint."
        )
    return await engine.queue.submit(
        _asked(RunKind.BENCHMARK, "Benchmark", models, {"suite": suite.model_dump(mode="json")}), job
    )


async def _start_endpoint(engine: Engine, models: Sequence[LocalModel], suite: BenchmarkSuite, api_key: str) -> Run:
    if len(models) > 1:
        raise BitpressError("wrong-usage", "An endpoint serves one model at a time.", "Name one model, or none.")
    address = loopback_endpoint(suite.endpoint or "")
    asked = NewRun(
        kind=RunKind.BENCHMARK,
        title="Benchmark",
        models=tuple(str(model.path) for model in models) or (address,),
        model_name=models[0].name if models else suite.served_model or address,
        settings={"suite": suite.model_dump(mode="json")},
    )
    path = str(models[0].path) if models else None
    return await engine.queue.submit(asked, serving.endpoint(path, suite, api_key=api_key))


async def start_comparison(engine: Engine, *, models: Sequence[LocalModel], prompt: str, sampling: Sampling) -> Run:
    """Let every model answer the prompt, the first being the original."""
    contenders = [
        Contender(path=model.path, name=model.name, bytes=int(model.bytes * LOADED_OVER_STORED)) for model in models
    ]
    return await engine.queue.submit(
        _asked(RunKind.COMPARE, "Comparison", models, {"prompt": prompt, "sampling": sampling.model_dump(mode="json")}),
        comparison(engine.residents, contenders, prompt, sampling, device=engine.settings.device),
    )


async def start_proof(engine: Engine, *, artifact: LocalModel, original: LocalModel | None) -> Run:
    """Open an artifact in a fresh process and check it, against its original where that is known."""
    manifest = read_manifest(artifact.path)
    expected, bound = _promised(manifest)
    source = str(original.path) if original else (manifest.made_from if manifest else None)
    return await engine.queue.submit(
        _asked(RunKind.PROVE, "Proof", (artifact,) if original is None else (original, artifact), {}),
        work.single_command(
            lambda context: Prove(
                job=context.job,
                original=source,
                artifact=str(artifact.path),
                expected_modules=manifest.expected_modules if manifest else (),
                pruned_modules=manifest.pruned_modules if manifest else (),
                expected=expected,
                kl_bound=bound,
                device=engine.settings.device,
            )
        ),
    )


def _promised(manifest: Manifest | None) -> tuple[Expected, float]:
    """What the recipe promised, and the divergence that it allows; what is not known is not demanded."""
    if manifest is not None:
        try:
            method = find(manifest.recipe.method)
            return method.expected(manifest.recipe.parameters), method.kl_bound
        except (BitpressError, KeyError, TypeError, ValueError):
            # Made by another version, which had other methods or parameters.
            pass
    return Expected(), 1.0


def _asked(kind: RunKind, title: str, models: Sequence[LocalModel], settings: dict[str, object]) -> NewRun:
    return NewRun(
        kind=kind,
        title=title,
        models=tuple(str(model.path) for model in models),
        model_name=models[0].name,
        settings=settings,
    )
