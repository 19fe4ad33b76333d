"""A run in words: its recipe, its state and its results as short plain sentences, without Qt."""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.calibration.spec import SELF_CHAT
from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import JobSnapshot, Phase
from core.measure.rehearsed import Rehearsed
from core.measure.results import Comparison, EvaluationResult, ModelBenchmark, ProofResult
from core.measure.sensitivity_values import SensitivityResult
from core.methods.recovery import Recovered
from core.models.consent import LEAST_DIGITS
from core.plan.history import kept_recipe, reductions_of
from core.value import Json
from ui.humanize import bytes_text, duration_text, memory_text, number_text, percent_text, phase_text
from ui.models.calibration_words import joined
from ui.tone import Tone

_MOST_FIGURES = 6

_DONE = {
    RunKind.IMPORT: "imported",
    RunKind.COMPRESS: "saved",
    RunKind.PROVE: "proved",
    RunKind.EVALUATE: "measured",
    RunKind.BENCHMARK: "measured",
    RunKind.COMPARE: "compared",
    RunKind.REHEARSE: "rehearsed",
    RunKind.SENSITIVITY: "measured",
    RunKind.EXPORT: "exported",
    RunKind.RECOVER: "not helped",
}


def state_words(run: Run) -> tuple[str, Tone]:
    """A tag's word and its tone."""
    if run.phase is Phase.FINISHED and run.reason is FinishReason.FAILED:
        code = run.problem.code if run.problem is not None else ""
        return ("failed proof" if "proof" in code or "unproved" in code else "failed"), Tone.FAILED
    if run.phase is not Phase.FINISHED or run.reason is not FinishReason.COMPLETED:
        return phase_text(run.phase, run.reason)
    proof = proof_of(run)
    if proof is not None:
        return ("proved", Tone.DONE) if proof.passed else ("failed proof", Tone.FAILED)
    return _DONE[run.kind], Tone.DONE


def proof_of(run: Run) -> ProofResult | None:
    """The proof in a run's result, where it has one that can be read."""
    result = run.result
    if not isinstance(result, dict):
        return None
    found = result.get("proof") if run.kind is not RunKind.PROVE else result
    if not isinstance(found, dict) or "passed" not in found:
        return None
    try:
        return ProofResult.model_validate(found)
    except ValueError:
        return None


def recipe_words(run: Run) -> str:
    """The settings in one line: group 128, static ordering, 256 samples of self-made chat."""
    settings = kept_recipe(run)
    parts = [f"with code of {model}, {fingerprint[:LEAST_DIGITS]}" for model, fingerprint in run.own_code]
    if not isinstance(settings, dict):
        return " · ".join(parts)
    parameters = settings.get("parameters")
    if run.kind in (RunKind.COMPRESS, RunKind.REHEARSE) and isinstance(parameters, dict):
        parts.extend(_parameter_words(parameters))
    calibration = settings.get("calibration")
    if isinstance(calibration, dict):
        parts.append(_calibration_words(calibration))
    if reductions := reductions_of(run):
        parts.append(f"made smaller: {', '.join(reduction.words for reduction in reductions)}")
    prompt = settings.get("prompt")
    if run.kind is RunKind.COMPARE and isinstance(prompt, str):
        parts.append(f"“{shortened(prompt, 60)}”")
    return " · ".join(part for part in parts if part)


def _parameter_words(parameters: Mapping[str, Json]) -> list[str]:
    words: list[str] = []
    group = parameters.get("group_size")
    if isinstance(group, int) and group > 0:
        words.append(f"group {group}")
    ordering = next((parameters[name] for name in ("actorder", "activation_ordering") if name in parameters), None)
    if isinstance(ordering, str) and ordering not in {"", "none"}:
        words.append(f"{ordering} ordering")
    strength = parameters.get("smoothing_strength")
    if isinstance(strength, int | float):
        words.append(f"smoothing {strength:g}")
    return [", ".join(words)] if words else []


def _calibration_words(calibration: Mapping[str, Json]) -> str:
    samples = calibration.get("samples")
    source = calibration.get("source", SELF_CHAT)
    if not isinstance(samples, int) or not isinstance(source, str):
        return ""
    mix = calibration.get("mix")
    parts = [part.get("source") for part in mix if isinstance(part, dict)] if isinstance(mix, list) else []
    sources = [part for part in parts if isinstance(part, str)] or [source]
    data = joined(sources) if sources != [SELF_CHAT] else "self-made chat"
    return f"{number_text(samples)} samples of {data}"


def subtitle(run: Run) -> str:
    """Model, recipe and number under a run's title."""
    return " · ".join(part for part in (run.model_name, recipe_words(run), f"run {run.id}") if part)


def running_fraction(snapshot: JobSnapshot | None) -> float | None:
    """Share of the running stage that is done, for the thin bar in the list; None where it cannot say.

    The stage's own, as beside its title: how long the stages after it will take is not known before they run.
    """
    current = snapshot.current if snapshot is not None else None
    return current.fraction if current is not None else None


def running_step(snapshot: JobSnapshot) -> tuple[int | None, Phase]:
    """What has to change before the list says something else: whole percent, rounded down, and the phase."""
    fraction = running_fraction(snapshot)
    return None if fraction is None else int(fraction * 100), snapshot.phase


def figures(run: Run) -> tuple[tuple[str, str], ...]:
    """The few figures that sum up a finished run: value with unit, and what it is. Empty where the result has none."""
    result = run.result
    if not isinstance(result, dict):
        return ()
    match run.kind:
        case RunKind.EVALUATE:
            return _evaluation_figures(run, result)
        case RunKind.BENCHMARK:
            return _benchmark_figures(run, result)
        case RunKind.COMPARE:
            return _comparison_figures(run, result)
        case RunKind.REHEARSE:
            return _rehearsal_figures(result)
        case RunKind.SENSITIVITY:
            return _sensitivity_figures(result)
        case RunKind.RECOVER:
            return _recovery_figures(result)
        case _:
            return _artifact_figures(run, result)


def _rehearsal_figures(result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    try:
        rehearsed = Rehearsed.model_validate(result)
    except ValueError:
        return ()
    passed = sum(check.passed for check in rehearsed.checks)
    tried = () if rehearsed.recovery is None else ((str(rehearsed.recovery.steps), "steps of recovery tried"),)
    return (
        (f"{passed} of {len(rehearsed.checks)}", "checks passed"),
        (f"{len(rehearsed.layers)} of {rehearsed.of}", "layers rehearsed"),
        (duration_text(rehearsed.seconds), "time taken"),
        (memory_text(rehearsed.peak_bytes), "peak memory"),
        *tried,
    )


def _sensitivity_figures(result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    try:
        found = SensitivityResult.model_validate(result)
    except ValueError:
        return ()
    figures = [
        (number_text(len(found.parts)), f"parts in {joined(list(found.schemes))}"),
        (number_text(found.tokens), "tokens scored"),
        (duration_text(found.seconds), "time taken"),
    ]
    if found.assignment is not None:
        figures.insert(1, (bytes_text(found.assignment.bytes), "the best mix of them, for the same layers"))
    return tuple(figures)


def _artifact_figures(run: Run, result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    size, before = result.get("bytes"), result.get("original_bytes")
    if isinstance(size, int):
        caption = "on disk"
        # On its way an export was plain, which is no size of anything that somebody has.
        if isinstance(before, int) and before > 0 and run.kind is not RunKind.EXPORT:
            caption = f"was {bytes_text(before)}"
            share = 1 - size / before
            caption += f", {percent_text(abs(share))} {'smaller' if share >= 0 else 'larger'}" if share else ""
        found.append((bytes_text(size), caption))
    seconds = result.get("seconds")
    if isinstance(seconds, int | float):
        found.append((duration_text(float(seconds)), "time taken"))
    peak = result.get("peak_bytes")
    if isinstance(peak, int) and peak > 0:
        found.append((memory_text(peak), "peak memory"))
    proof = proof_of(run)
    if proof is not None and proof.kl is not None:
        origin = "artifact" if run.kind is RunKind.EXPORT else "original"
        found.append((significant(proof.kl), f"KL from the {origin}, in nats"))
    return (*found, *_gain(result, "training"), *_gain(result))


def _recovery_figures(result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    found = list(_gain(result))
    seconds = result.get("seconds")
    if isinstance(seconds, int | float):
        found.append((duration_text(float(seconds)), "time taken"))
    return tuple(found)


def _gain(result: Mapping[str, Json], of: str = "recovery") -> tuple[tuple[str, str], ...]:
    """What a recovery, or the training of weights, changed on samples that it had not seen."""
    try:
        found = Recovered.model_validate(result.get(of))
    except ValueError:
        return ()
    if of == "training":
        change = "not trained: no gain beyond its interval"
        helped = f"KL on unseen samples, {significant(found.before.value)} by rounding alone"
    else:
        change = "not recovered: no gain beyond its interval"
        helped = f"KL on unseen samples, was {significant(found.before.value)}"
    return (
        (significant(found.after.value if found.helped else found.before.value), helped if found.helped else change),
        (number_text(sum(found.trained.values())), "parameters trained"),
    )


def made(run: Run) -> bool:
    """Whether a run left an artifact that can be looked at and recovered."""
    result = run.result
    kept = run.kind in (RunKind.COMPRESS, RunKind.RECOVER) and isinstance(result, dict)
    return kept and isinstance(result.get("output"), str)


def _evaluation_figures(run: Run, result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    try:
        evaluation = EvaluationResult.model_validate(result)
    except ValueError:
        return ()
    found = [
        (significant(other.kl.mean), f"mean KL, {part_of_name(other.name, run.model_name)}")
        for other in evaluation.others[:_MOST_FIGURES]
    ]
    if evaluation.tokens:
        found.append((number_text(evaluation.tokens), "tokens scored"))
    answered = [
        (
            f"{100 * other.difference.value:+.1f}",
            f"points in {task.title}, {part_of_name(other.name, run.model_name)}",
        )
        for task in evaluation.tasks
        for other in task.others
    ]
    return (*found, *answered[:_MOST_FIGURES])


def _benchmark_figures(run: Run, result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    models = result.get("models")
    found: list[tuple[str, str]] = []
    for model in models if isinstance(models, list) else ():
        try:
            benchmark = ModelBenchmark.model_validate(model)
        except ValueError:
            continue
        if benchmark.cases:
            case = benchmark.cases[0]
            found.append(
                (
                    f"{case.tokens_per_second.value:.1f}",
                    f"tokens/s, batch {case.batch}, {part_of_name(benchmark.name, run.model_name)}",
                )
            )
    return tuple(found[:_MOST_FIGURES])


def _comparison_figures(run: Run, result: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    try:
        comparison = Comparison.model_validate(result)
    except ValueError:
        return ()
    pairs = list(zip(comparison.outputs, comparison.first_difference, strict=False))[1:]
    return tuple(
        (
            "same answer" if index is None else f"token {index + 1}",
            name if index is None else f"where {name} parts",
        )
        for name, index in ((part_of_name(output.name, run.model_name), index) for output, index in pairs)
    )


def significant(value: float) -> str:
    """A small measure with three significant digits: 0.00312, 0.214, 1.05; 0 stays 0."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"


def part_of_name(name: str, original: str) -> str:
    """What tells a model from its original: `fp8-dynamic` of `Tiny-fp8-dynamic` made from `Tiny`; else the name."""
    line = " ".join(name.split())
    begin = f"{' '.join(original.split())}-"
    return line[len(begin) :] if original and line.startswith(begin) and len(line) > len(begin) else line


def shortened(text: str, most: int) -> str:
    """The text in one line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
