"""Turns a wish to measure, prove or compare into a job, the same way for window and command line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from app.calibration import answers_folder, pinned
from app.compression import survey_of
from app.engine import Engine
from app.engines import engine_place
from core.calibration.spec import CalibrationSpec
from core.engines.loopback import loopback_endpoint
from core.engines.offered import VLLM
from core.errors import BitpressError
from core.jobs import serving
from core.jobs.comparison import Contender, comparison
from core.jobs.order import BenchmarkOrder, EvaluateOrder, Order, ProveOrder, SensitivityOrder, kept_order
from core.jobs.protocol import MeasureSensitivity, Prove
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.task_evaluation import task_evaluation
from core.measure.assignment import budget_bytes, least_bytes, read_budget, require_room, uniform_bytes
from core.measure.fetched_texts import place
from core.measure.parts import parts_of, sizes_of, trial_scheme
from core.measure.results import BenchmarkSuite, EvaluationSuite, Sampling
from core.measure.task_files import find_tasks
from core.methods.catalogue import find
from core.methods.divisibility import default_group
from core.methods.method import Expected
from core.methods.parameters import default_ignore
from core.models.artifact import Manifest, read_manifest
from core.models.local_model import LocalModel

DEFAULT_SCHEMES = ("W4A16", "W8A16")
"""What a mix is made of where nothing else is said: weights alone, in formats that engines have kernels for."""

DEFAULT_BUDGET = "+10%"
SENSITIVITY_TOKENS, SENSITIVITY_SAMPLES = 2048, 32
FAST_TOKENS, FAST_SAMPLES = 768, 16

LOADED_OVER_STORED = 2.5
"""transformers decompresses INT8 to bf16 (2 times) and INT4 partly; the model's own activations come on top."""


async def start_evaluation(
    engine: Engine,
    *,
    original: LocalModel,
    others: Sequence[LocalModel],
    suite: EvaluationSuite,
    attended: bool = False,
) -> Run:
    """Score the original and the others on the same tokens, and let them answer the suite's tasks.

    `attended` is as in `start_compression`.
    Raises BitpressError for a task that cannot be asked and a text that was not fetched, before anything runs.
    """
    cache = str(engine.home.root / "cache" / "evaluation")
    paths = [str(model.path) for model in others]
    settings: dict[str, object] = {"suite": suite.model_dump(mode="json")}
    suite = suite.model_copy(update={"texts": tuple(place(text, engine.home) for text in suite.texts)})
    order = EvaluateOrder(
        original=str(original.path), others=tuple(paths), suite=suite, cache=cache, device=engine.settings.device
    )
    # A task's file may change before another window would read it.
    kept = None if any(Path(task).exists() for task in suite.tasks) else order
    asked = _asked(RunKind.EVALUATE, "Evaluation", (original, *others), settings, kept, attended=attended)
    if not suite.tasks:
        return await engine.submit(asked)
    tasks = await asyncio.to_thread(find_tasks, suite.tasks)
    return await engine.submit(
        asked, task_evaluation(str(original.path), paths, suite, tasks, cache=cache, device=order.device)
    )


async def start_benchmark(
    engine: Engine,
    *,
    models: Sequence[LocalModel],
    suite: BenchmarkSuite,
    api_key: str = "",
    attended: bool = False,
) -> Run:
    """Measure speed and memory in the suite's engine, one model after the other, each in a process of its own.

    At an endpoint `models` may be empty, or the one that is served there. Raises BitpressError `unknown-engine`,
    `engine-missing`, `engine-unfinished`, `bad-endpoint`, `endpoint-elsewhere`, `wrong-usage`.
    """
    if suite.engine == "endpoint":
        return await _start_endpoint(engine, models, suite, api_key)
    if suite.engine not in ("transformers", VLLM):
        raise BitpressError(
            "unknown-engine", f"There is no engine {suite.engine!r}.", f"Engines are transformers, {VLLM} and endpoint."
        )
    order = BenchmarkOrder(
        models=tuple(str(model.path) for model in models),
        suite=suite,
        place=engine_place(engine.home, VLLM) if suite.engine == VLLM else None,
        device=engine.settings.device,
    )
    settings: dict[str, object] = {"suite": suite.model_dump(mode="json")}
    return await engine.submit(_asked(RunKind.BENCHMARK, "Benchmark", models, settings, order, attended=attended))


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
    return await engine.submit(asked, serving.endpoint(path, suite, api_key=api_key))


async def start_sensitivity(
    engine: Engine,
    *,
    model: LocalModel,
    schemes: Sequence[str] = DEFAULT_SCHEMES,
    group_size: int | str | None = None,
    tokens: int = SENSITIVITY_TOKENS,
    calibration: CalibrationSpec | None = None,
    budget: str = DEFAULT_BUDGET,
) -> Run:
    """Measure what each part of the model loses in each scheme, and choose the best schemes within the budget.

    The group size is the largest that divides the model's layers where it is left out; no budget is an empty one.
    Raises BitpressError `unknown-scheme`, `bad-setting`, `budget-too-small`, `nothing-to-compress`, and what looking
    inside the model raises, all before anything runs.
    """
    await engine.launch_for(model.path)
    survey = await survey_of(engine, model) if model.quantization is None else None
    if survey is None:
        raise BitpressError(
            "not-measurable",
            f"{model.name} cannot be measured part by part: that takes safetensors weights in 16 or 32 bits.",
            "Import it first, or choose the model that it was made from.",
        )
    chosen = default_group(survey, default_ignore(survey)) if group_size is None else group_size
    wanted = [trial_scheme(name, chosen) for name in dict.fromkeys(name.strip().upper() for name in schemes)]
    ignore = tuple(str(pattern) for pattern in default_ignore(survey))
    parts = parts_of(survey, ignore)
    sizes = sizes_of(parts, survey, wanted)
    limit: int | None = None
    if budget.strip():
        limit = budget_bytes(read_budget(budget), uniform_bytes(parts, sizes))
        require_room(limit, least_bytes(parts, sizes))
    spec = pinned(engine, calibration or CalibrationSpec(samples=SENSITIVITY_SAMPLES))
    settings: dict[str, object] = {
        "schemes": [scheme.name for scheme in wanted],
        "group_size": chosen,
        "tokens": tokens,
        "calibration": spec.model_dump(mode="json"),
        "budget": budget.strip(),
        "budget_bytes": limit,
    }
    command = MeasureSensitivity(
        job="",
        model=str(model.path),
        schemes=tuple(wanted),
        group_size=chosen,
        ignore=ignore,
        calibration=spec,
        answers=str(answers_folder(engine, model)) if spec.has_self_chat else None,
        tokens=tokens,
        cache=str(engine.home.root / "cache" / "sensitivity"),
        device=engine.settings.device,
    )
    order = SensitivityOrder(command=command, budget=limit)
    return await engine.submit(_asked(RunKind.SENSITIVITY, "Sensitivity", (model,), settings, order))


async def start_comparison(engine: Engine, *, models: Sequence[LocalModel], prompt: str, sampling: Sampling) -> Run:
    """Let every model answer the prompt, the first being the original."""
    contenders = [
        Contender(path=model.path, name=model.name, bytes=int(model.bytes * LOADED_OVER_STORED)) for model in models
    ]
    return await engine.submit(
        _asked(RunKind.COMPARE, "Comparison", models, {"prompt": prompt, "sampling": sampling.model_dump(mode="json")}),
        comparison(engine.residents, contenders, prompt, sampling, device=engine.settings.device),
    )


async def start_proof(engine: Engine, *, artifact: LocalModel, original: LocalModel | None) -> Run:
    """Open an artifact in a fresh process and check it, against its original where that is known."""
    manifest = read_manifest(artifact.path)
    expected, bound = _promised(manifest)
    source = str(original.path) if original else (manifest.made_from if manifest else None)
    command = Prove(
        job="",
        original=source,
        artifact=str(artifact.path),
        expected_modules=manifest.expected_modules if manifest else (),
        pruned_modules=manifest.pruned_modules if manifest else (),
        dropped_blocks=manifest.dropped_blocks if manifest else (),
        recovered=manifest is not None and manifest.recovered is not None,
        expected=expected,
        kl_bound=bound,
        device=engine.settings.device,
    )
    models = (artifact,) if original is None else (original, artifact)
    return await engine.submit(_asked(RunKind.PROVE, "Proof", models, {}, ProveOrder(command=command)))


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


def _asked(
    kind: RunKind,
    title: str,
    models: Sequence[LocalModel],
    settings: dict[str, object],
    order: Order | None = None,
    *,
    attended: bool = False,
) -> NewRun:
    return NewRun(
        kind=kind,
        title=title,
        models=tuple(str(model.path) for model in models),
        model_name=models[0].name,
        settings=settings,
        order=None if order is None else kept_order(order),
        attended=attended,
    )
