"""The report's title and verdict in plain words: only what was measured, and what was not."""

from __future__ import annotations

from collections.abc import Sequence

from core.report.data import GateFacts, Level, ModelFacts, Quality, RunReport, Speed, Verdict
from core.report.wording import NO_BREAK, counted, interval, nats, percent, significant, size, spelled, whole

GOOD = ("near-lossless", "production")
"""Levels of closeness that need no second thought."""
GATE_LEVELS = {"pass": Level.DONE, "fail": Level.FAILED, "inconclusive": Level.ATTENTION}
"""Colour of a gate's verdict."""
SCATTER = 1.5
"""Largest repeat over smallest from which on a median says little."""
SCATTERED = "The repeats lie far apart: measure again while the machine does nothing else."
NOT_SERVING = "Here transformers decompresses the weights before it computes: this is not serving speed."


def title_of(original: ModelFacts, runs: Sequence[RunReport]) -> str:
    """`Llama-3.1-8B-Instruct, three ways smaller`, or by how much for a single run."""
    shares = [_saved(run) for run in runs]
    if len(runs) > 1:
        every_one = all(share is not None and share > 0 for share in shares)
        return f"{original.name}, {spelled(len(runs))} ways {'smaller' if every_one else 'compressed'}"
    share = shares[0]
    if share is None or round(share, 2) <= 0:
        return f"{original.name}, {runs[0].label}"
    return f"{original.name}, {percent(share, 0)} smaller"


def verdict_of(original: ModelFacts, runs: Sequence[RunReport]) -> Verdict:
    """One sentence to take home, the sentences behind it, and how good it looks: as good as the worst of the runs."""
    levels = [level_of(run) for run in runs]
    level = next(level for level in (Level.FAILED, Level.ATTENTION, Level.DONE) if level in levels)
    if len(runs) == 1:
        return Verdict(level=level, headline=_headline(runs[0]), sentences=tuple(_sentences(original, runs[0])))
    return Verdict(level=level, headline=_choice(runs), sentences=tuple(_line(run) for run in runs))


def level_of(run: RunReport) -> Level:
    """Failed where run or proof failed or the model is damaged; attention where something is missing or noticeable.

    A gate that was asked for decides instead of Bitpress's own levels.
    """
    judgement = run.quality.judgement if run.quality else None
    if _failed(run):
        return Level.FAILED
    if run.gate and run.proof is not None:
        return GATE_LEVELS.get(run.gate.verdict, Level.ATTENTION)
    if judgement and judgement.level == "damaged":
        return Level.FAILED
    if run.proof is None or run.quality is None or (judgement and judgement.level not in GOOD):
        return Level.ATTENTION
    return Level.DONE


def gate_words(gate: GateFacts) -> str:
    """`Production: passed`."""
    said = {"pass": "passed", "fail": "not passed", "inconclusive": "cannot be told yet"}
    return f"{gate.title or gate.name}: {said.get(gate.verdict, gate.verdict)}"


def gate_sentence(gate: GateFacts) -> str:
    """What the gate says, in the gate's own words where it has some."""
    if gate.sentence:
        return gate.sentence
    return f"{gate_words(gate)}."


def _failed(run: RunReport) -> bool:
    return not run.completed or (run.proof is not None and not run.proof.passed)


def _saved(run: RunReport) -> float | None:
    """Share of the original's bytes that is gone; None where a size is not known."""
    if not run.bytes or not run.original_bytes:
        return None
    return 1 - run.bytes / run.original_bytes


def _smaller(run: RunReport) -> str:
    share = _saved(run)
    if share is None:
        return "has an unknown size"
    if abs(share) < 0.005:
        return "is as large as the original"
    return f"is {percent(abs(share), 0)} {'smaller' if share > 0 else 'larger'} than the original"


def _headline(run: RunReport) -> str:
    if _failed(run):
        return f"{run.label} {_smaller(run)}, but its proof did not pass: do not use it."
    if run.quality is None:
        return f"{run.label} {_smaller(run)}. Its quality was not measured."
    if run.quality.judgement:
        return run.quality.judgement.sentence
    same = percent(run.quality.fidelity.same_top1.value)
    return f"{run.label} {_smaller(run)}, and picks the same most likely token {same} of the time."


def _sentences(original: ModelFacts, run: RunReport) -> list[str]:
    said = []
    if run.bytes and run.original_bytes:
        said.append(f"{run.label} {_smaller(run)}: {size(run.bytes)} on disk instead of {size(run.original_bytes)}.")
    said.append(_quality(run.quality) if run.quality else _unmeasured(run))
    if run.gate:
        said.append(gate_sentence(run.gate))
    said += _tasks(run)
    said.append(_speed(run.speed) if run.speed else "Speed and memory were not measured.")
    said.append(_proof(run))
    return said


def _quality(quality: Quality) -> str:
    fidelity = quality.fidelity
    under = " That is under the noise floor: no measurable difference." if fidelity.measurable is False else ""
    return (
        f"Over {whole(quality.tokens)} held-out tokens the mean KL divergence from the original is "
        f"{nats(fidelity.kl_interval.value)} nats per token (95{NO_BREAK}% interval {interval(fidelity.kl_interval)}), "
        f"and the perplexity is {significant(fidelity.perplexity_ratio.value, 4)} times the original's.{under}"
    )


def _tasks(run: RunReport) -> list[str]:
    """Accuracy against the original's, task by task, in one sentence."""
    said = [
        f"{task.task.title or task.task.name} {percent(task.other.accuracy.value)} against "
        f"{percent(task.task.accuracy.value)}"
        for task in run.tasks
    ]
    return [f"Accuracy: {', '.join(said)}."] if said else []


def _unmeasured(run: RunReport) -> str:
    if run.proof is None or run.proof.kl is None:
        return "Quality was not measured."
    return (
        "Quality was not measured; the short text of the proof gave a mean KL divergence of "
        f"{nats(run.proof.kl)} nats per token."
    )


def _speed(speed: Speed) -> str:
    case = min(speed.compressed.cases, key=lambda one: one.batch, default=None)
    if case is None:
        return "Speed was not measured."
    conditions = speed.compressed.conditions
    where = f"in {conditions.engine} on {conditions.device} at batch {case.batch}"
    honest = f" {NOT_SERVING}" if conditions.engine == "transformers" else ""
    if scattered(speed):
        honest = f" {SCATTERED}{honest}"
    beside = next((one for one in speed.original.cases if one.batch == case.batch), None) if speed.original else None
    if beside is None or not beside.tokens_per_second.value:
        return f"It gives {significant(case.tokens_per_second.value, 3)} tokens per second {where}.{honest}"
    ratio = case.tokens_per_second.value / beside.tokens_per_second.value
    return f"It gives {significant(ratio, 2)} times the original's tokens per second {where}.{honest}"


def scattered(speed: Speed) -> bool:
    """Whether any repeat of either model took more than SCATTER times another of the same case."""
    cases = (*speed.compressed.cases, *(speed.original.cases if speed.original else ()))
    return any(
        quantity.high > SCATTER * quantity.low
        for case in cases
        for quantity in (case.ttft_ms, case.itl_ms, case.tokens_per_second)
    )


def _proof(run: RunReport) -> str:
    if run.proof is None:
        return "The saved model was not proved."
    failed = [check for check in run.proof.checks if not check.passed]
    if run.proof.passed:
        return f"Opened again in a fresh process, it passed {counted(len(run.proof.checks), 'check')}."
    if failed:
        return f"Opened again in a fresh process, it failed at: {failed[0].name} ({failed[0].detail})."
    return "Opened again in a fresh process, it did not pass."


def _choice(runs: Sequence[RunReport]) -> str:
    """Which one is smallest and which one closest; a tie within the intervals is called a tie."""
    sound = [run for run in runs if not _failed(run)]
    sized = [run for run in sound if _saved(run) is not None]
    if not sized:
        return "None of these models passed its proof: do not use them."
    smallest = min(sized, key=lambda run: run.bytes or 0)
    first = f"{smallest.label} is the smallest: it {_smaller(smallest)}"
    judged = sorted((run for run in sound if run.quality), key=_kl)
    if not judged:
        return f"{first}. Quality was not measured."
    closest = judged[0]
    tied = [run for run in judged[1:] if _low(run) <= _high(closest)]
    if tied:
        names = " and ".join([closest.label, *(run.label for run in tied)])
        return f"{first}. {names} stay closest to it, too near each other to tell apart."
    return f"{first}. {closest.label} stays closest to it, at {nats(_kl(closest))} nats per token."


def _kl(run: RunReport) -> float:
    return run.quality.fidelity.kl_interval.value if run.quality else float("inf")


def _low(run: RunReport) -> float:
    return run.quality.fidelity.kl_interval.low if run.quality else float("inf")


def _high(run: RunReport) -> float:
    return run.quality.fidelity.kl_interval.high if run.quality else float("inf")


def _line(run: RunReport) -> str:
    taken = f", {size(run.bytes)}" if run.bytes else ""
    if _failed(run):
        return f"{run.label} {_smaller(run)}{taken}. {_proof(run)}"
    if run.quality is None:
        return f"{run.label} {_smaller(run)}{taken}. {_unmeasured(run)}"
    if run.quality.judgement:
        gate = f" {gate_words(run.gate)}." if run.gate else ""
        return f"{run.label}: {run.quality.judgement.sentence}{gate}"
    fidelity = run.quality.fidelity
    return (
        f"{run.label} {_smaller(run)}{taken}; mean KL divergence {nats(fidelity.kl_interval.value)} nats per token, "
        f"the same most likely token {percent(fidelity.same_top1.value)} of the time."
    )
