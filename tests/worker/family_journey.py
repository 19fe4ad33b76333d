"""One model of a family with one method, from preflight to evaluation, in this process."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tiny_families import Family
from tiny_llama import Memory, reporter

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import Compress, Evaluate, Prove
from core.measure.results import EvaluationResult, EvaluationSuite, ProofCheck, ProofResult
from core.methods.catalogue import METHODS
from core.methods.method import Method
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.inspect import inspect
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.estimate import estimate
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.preflight import preflight
from core.worker.modifiers import ALLOWED

RUNNABLE = tuple(
    method for method in METHODS if all(spec.name in ALLOWED for spec in method.modifiers(method.defaults(None)))
)
"""Methods whose modifiers the worker builds."""

MACHINE = Machine(cpu_name="a processor", cores=2, memory_total=16 << 30, memory_available=12 << 30, disk_free=1 << 40)

QUICK: dict[str, object] = {"iters": 2, "compile": False, "n_grid": 3, "minutes": 0.05, "passes": 1}
"""Settings of methods that search or learn, which are not to search long here."""

FORTUNE = frozenset({"close to the original", "generated text"})
"""Checks of the proof that say little about random weights."""

PASSAGE = 64
"""Tokens of held-out text from which the error of each layer is measured."""


@dataclass(slots=True)
class Journey:
    """What became of one pair. `blocking` are findings that stopped it; everything after is empty then."""

    family: str
    method: str
    blocking: tuple[Finding, ...] = ()
    mended: dict[str, object] = field(default_factory=dict)
    """Settings that findings offered and that were taken."""
    bits: int = 8
    """The fewest bits of any compressed weight."""
    bytes: int = 0
    estimated: int = 0
    seconds: float = 0.0
    checks: tuple[ProofCheck, ...] = ()
    kl: float = math.nan
    ratio: float = math.nan
    """Perplexity of the artifact over that of the original."""
    module_error: float = 0.0
    layer_error: float = 0.0

    @property
    def size_error(self) -> float:
        """How far the estimated size is off, relative to the file's."""
        return self.estimated / self.bytes - 1


@dataclass(frozen=True, slots=True)
class Planned:
    """A recipe, what still blocks it, and the settings that were taken from findings."""

    recipe: Recipe
    blocking: tuple[Finding, ...]
    mended: dict[str, object]


def travel(member: Family, method: Method, model: Path, work: Path) -> Journey:
    """Preflight with what it offers, compression, proof, module and layer errors, evaluation; leaves no artifact."""
    from core.worker import compress, evaluate, prove
    from core.worker.survey import survey

    started = time.perf_counter()
    journey = Journey(member.id, method.id)
    local = inspect(model)
    seen = None if local.remote_code else survey(model)
    planned = plan(method, local, seen, work)
    recipe, journey.blocking, journey.mended = planned.recipe, planned.blocking, planned.mended
    if journey.blocking:
        return journey
    journey.bits = min(method.expected(recipe.parameters).weight_bits, default=16)
    journey.estimated = estimate(local, seen, recipe, MACHINE, ()).artifact_bytes
    artifact = work / f"{member.id}-{method.id}"
    try:
        made = compress.run(
            Compress(
                job="job",
                model=str(model),
                output=str(artifact),
                modifiers=method.modifiers(recipe.parameters),
                calibration=recipe.calibration,
                stream=method.streams(recipe.parameters),
                device="cpu",
            ),
            reporter(Memory()),
        )
        journey.bytes = made["bytes"]
        asked = Prove(
            job="job",
            original=str(model),
            artifact=str(artifact),
            expected_modules=tuple(made["expected_modules"]),
            pruned_modules=tuple(made.get("pruned_modules", ())),
            dropped_blocks=tuple(made.get("dropped_blocks", ())),
            tokens=8,
            expected=method.expected(recipe.parameters),
            device="cpu",
        )
        journey.checks = ProofResult.model_validate(prove.run(asked, reporter(Memory()))).checks
        if asked.expected.comparable:
            _compare(journey, model, artifact)
        scored = Evaluate(
            job="job",
            original=str(model),
            others=(str(artifact),),
            suite=EvaluationSuite(texts=("technical",), tokens=512, window=128),
            device="cpu",
        )
        result = EvaluationResult.model_validate(evaluate.run(scored, reporter(Memory())))
        journey.kl = result.others[0].kl.mean
        journey.ratio = result.others[0].perplexity_ratio.value
    finally:
        shutil.rmtree(artifact, ignore_errors=True)
    journey.seconds = time.perf_counter() - started
    return journey


def covering(members: Sequence[Family], methods: Sequence[Method], each: int = 1) -> list[tuple[Family, Method]]:
    """Every family with `each` methods and every method with some families, spread evenly."""
    pairs = max(len(members) * each, len(methods))
    chosen = {}
    for place in range(pairs):
        member = members[place % len(members)]
        # The second round meets other methods than the first.
        method = methods[(place + place // len(members)) % len(methods)]
        chosen[member.id, method.id] = (member, method)
    return list(chosen.values())


def write_calibration(folder: Path) -> Path:
    """Sixteen plain texts that are not among those of the evaluation."""
    topics = "bread rivers engines letters maps clocks gardens storms paper bridges songs salt wool glass snow harbours"
    lines = [
        {"text": " ".join(f"Part {part * place} tells who needs {topic}, and what {topic} cost." for part in range(9))}
        for place, topic in enumerate(topics.split())
    ]
    path = folder / "calibration.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def plan(method: Method, local: LocalModel, seen: Survey | None, work: Path) -> Planned:
    """The recipe with everything that findings offer, and the findings that block it all the same."""
    settings = {name: value for name, value in QUICK.items() if method.parameter(name) is not None}
    for _ in range(4):
        recipe = resolve_recipe(method.id, settings, None, seen)
        if method.calibrates(recipe.parameters):
            spec = CalibrationSpec(source=str(write_calibration(work)), samples=16, max_length=96)
            recipe = resolve_recipe(method.id, settings, spec, seen)
        findings = preflight(local, seen, recipe, MACHINE, work / "output")
        blocking = tuple(finding for finding in findings if finding.severity is Severity.BLOCKS)
        # A fix may also be another method, which is another journey.
        offered = [finding.fix for finding in blocking if finding.fix and all(map(method.parameter, finding.fix))]
        if not blocking or len(offered) < len(blocking):
            break
        settings = settings | {name: value for fix in offered for name, value in fix.items()}
    return Planned(recipe=recipe, blocking=blocking, mended=settings)


def _compare(journey: Journey, model: Path, artifact: Path) -> None:
    from core.measure.held_out import held_out_documents
    from core.worker.layer_error import layer_errors, record
    from core.worker.loading import load
    from core.worker.module_error import module_errors

    journey.module_error = max((error.relative for error in module_errors(model, artifact)), default=0.0)
    original, other = load(str(model), "cpu"), load(str(artifact), "cpu")
    ids = original.tokenizer(held_out_documents()[0][1])["input_ids"][:PASSAGE]
    # The first forward unpacks the weights, and hooks are to see what comes after.
    other.model(input_ids=other.model.dummy_inputs["input_ids"])
    journey.layer_error = max(layer_errors(original.model, ids, record(other.model, ids)))
