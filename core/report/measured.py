"""Finds the newest measurements of a compressed model beside its original, and brings them into the report's form."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.jobs.run import Run, RunKind
from core.measure.results import Comparison, EvaluationResult, Generation, ModelBenchmark
from core.measure.sensitivity_values import SensitivityResult
from core.report.data import Quality, RunReport, SideBySide, SideText, Speed, TaskFound, TextQuality
from core.value import Json, Received

_Value = TypeVar("_Value", bound=BaseModel)


class _Benchmarks(Received):
    """A benchmark run's result."""

    models: tuple[ModelBenchmark, ...]


def local(moment: datetime, now: datetime) -> datetime:
    """The moment in the time zone of `now`; a naive one counts as UTC, which is what databases keep."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(now.tzinfo)


def quality(
    runs: Sequence[Run], original: str, output: str, preferred: frozenset[int], now: datetime
) -> Quality | None:
    """The newest evaluation of the output against this original, or None."""
    for run in _newest(runs, RunKind.EVALUATE, preferred):
        result = _read(EvaluationResult, run.result)
        if result is None or not _same(result.original, original):
            continue
        fidelity = next((one for one in result.others if _same(one.path, output)), None)
        if fidelity is None:
            continue
        return Quality(
            run=run.id,
            created=local(run.created, now),
            original_perplexity=result.original_perplexity,
            tokens=result.tokens,
            documents=result.documents,
            window=result.window,
            sha256=result.sha256,
            fidelity=fidelity,
            texts=tuple(
                TextQuality(
                    text=text.text, tokens=text.tokens, perplexity=text.perplexity, fidelity=one, noise=text.noise
                )
                for text in result.texts
                for one in text.others
                if _same(one.path, output)
            ),
            conditions=result.conditions,
            seconds=result.seconds,
            noise=result.noise,
            reference_bytes=result.reference_bytes,
            reference_reused=result.reference_reused,
        )
    return None


def tasks(
    runs: Sequence[Run],
    original: str,
    output: str,
    preferred: frozenset[int],
    now: datetime,
    *,
    folder_of: Callable[[int], Path],
) -> tuple[TaskFound, ...]:
    """Every task that this original and this output both answered, each from the newest evaluation that has it."""
    found: dict[str, TaskFound] = {}
    for run in _newest(runs, RunKind.EVALUATE, preferred):
        result = _read(EvaluationResult, run.result)
        if result is None or not _same(result.original, original):
            continue
        for task in result.tasks:
            other = next((one for one in task.others if _same(one.path, output)), None)
            if other is None or task.name in found:
                continue
            found[task.name] = TaskFound(
                run=run.id,
                created=local(run.created, now),
                task=task.model_copy(update={"others": (other,)}),
                other=other,
                items_file=str(folder_of(run.id) / task.items_file) if task.items_file else None,
                conditions=result.conditions,
            )
    return tuple(found.values())


def speeds(
    runs: Sequence[Run], original: str, output: str, preferred: frozenset[int], now: datetime
) -> tuple[Speed, ...]:
    """For every engine, device and set of lengths the newest benchmark with both models, else with the output alone.

    The first is the one to speak of: asked for by number, with the original beside it, in a serving engine, newest.
    """
    found: dict[tuple[object, ...], Speed] = {}
    for run in _newest(runs, RunKind.BENCHMARK, preferred):
        result = _read(_Benchmarks, run.result)
        if result is None:
            continue
        compressed = next((one for one in result.models if _same(one.path, output)), None)
        if compressed is None:
            continue
        beside = next((one for one in result.models if _same(one.path, original)), None)
        one = Speed(
            run=run.id,
            created=local(run.created, now),
            original=beside,
            compressed=compressed,
            use_case=_use_case(run),
        )
        key = _kind_of(one)
        if key not in found or (found[key].original is None and beside is not None):
            found[key] = one
    return tuple(sorted(found.values(), key=lambda one: _standing(one, preferred), reverse=True))


def in_one_engine(runs: Sequence[RunReport], preferred: frozenset[int]) -> tuple[RunReport, ...]:
    """The runs with `speed` in the engine that most of them were measured in, so that they can be compared."""
    votes: dict[str, tuple[bool, int, bool]] = {}
    for engine in {one.compressed.conditions.engine for run in runs for one in run.speeds}:
        having = [run for run in runs if any(one.compressed.conditions.engine == engine for one in run.speeds)]
        asked = any(
            one.run in preferred for run in having for one in run.speeds if one.compressed.conditions.engine == engine
        )
        votes[engine] = (asked, len(having), engine != "transformers")
    if not votes:
        return tuple(runs)
    chosen = max(votes, key=lambda engine: (*votes[engine], engine))
    return tuple(
        run.model_copy(
            update={
                "speed": next(
                    (one for one in run.speeds if one.compressed.conditions.engine == chosen),
                    run.speeds[0] if run.speeds else None,
                )
            }
        )
        for run in runs
    )


def sensitivity(runs: Sequence[Run], original: str, preferred: frozenset[int]) -> SensitivityResult | None:
    """The map of the original's sensitivity that was asked for by number, else the newest; None where there is none."""
    for run in _newest(runs, RunKind.SENSITIVITY, preferred):
        result = _read(SensitivityResult, run.result)
        if result is not None and _same(result.model, original):
            return result
    return None


def _kind_of(speed: Speed) -> tuple[object, ...]:
    how = speed.compressed.conditions
    lengths = frozenset((case.prompt_tokens, case.output_tokens) for case in speed.compressed.cases)
    return how.engine, how.device, lengths


def _standing(speed: Speed, preferred: frozenset[int]) -> tuple[bool, bool, bool, int]:
    engine = speed.compressed.conditions.engine
    return speed.run in preferred, speed.original is not None, engine != "transformers", speed.run


def _use_case(run: Run) -> str:
    """Id of the preset that the run's suite names."""
    suite = run.settings.get("suite")
    return str(suite.get("use_case") or "") if isinstance(suite, dict) else ""


def comparisons(
    about: Callable[[str], Iterable[Run]],
    original: str,
    outputs: Mapping[int, str],
    preferred: frozenset[int],
    now: datetime,
) -> tuple[SideBySide, ...]:
    """For each run's output the newest comparison with the original; one that several share appears once."""
    found: dict[int, SideBySide] = {}
    for output in outputs.values():
        for run in _newest(tuple(about(output)), RunKind.COMPARE, preferred):
            result = _read(Comparison, run.result)
            if result is None or len(result.outputs) < 2 or not _same(result.outputs[0].path, original):
                continue
            if any(_same(one.path, output) for one in result.outputs[1:]):
                found.setdefault(run.id, _side_by_side(run, result, outputs, now))
                break
    return tuple(found.values())


def _side_by_side(run: Run, result: Comparison, outputs: Mapping[int, str], now: datetime) -> SideBySide:
    known = {os.path.normpath(path): identity for identity, path in outputs.items()}
    sides = [_side(result.outputs[0], None, None)]
    for output, difference in zip(result.outputs[1:], result.first_difference[1:], strict=False):
        identity = known.get(os.path.normpath(output.path))
        if identity is not None:
            sides.append(_side(output, identity, difference))
    if len(sides) == 2 and sides[1].first_difference is not None:
        sides[0] = _side(result.outputs[0], None, sides[1].first_difference)
    return SideBySide(
        run=run.id,
        created=local(run.created, now),
        prompt=result.prompt,
        sampling=result.sampling,
        outputs=tuple(sides),
    )


def _side(output: Generation, run: int | None, difference: int | None) -> SideText:
    same, mark, rest = _parted(output, difference)
    return SideText(
        run=run,
        name=output.name,
        same=same,
        mark=mark,
        rest=rest,
        first_difference=difference,
        tokens=len(output.tokens),
        ttft_ms=output.ttft_ms,
        tokens_per_second=output.tokens_per_second,
        peak_bytes=output.peak_bytes,
        stopped=output.stopped,
        conditions=output.conditions,
    )


def _parted(output: Generation, difference: int | None) -> tuple[str, str, str]:
    """The text before, at and after the first differing token.

    A token's own text can be empty while a character is incomplete, so the mark reaches to the next one that shows;
    where the tokens' texts do not add up to the whole text, nothing is marked rather than the wrong place.
    """
    if difference is None:
        return output.text, "", ""
    same = "".join(token.text for token in output.tokens[:difference])
    mark = next((token.text for token in output.tokens[difference:] if token.text), "")
    if not output.text.startswith(same + mark):
        return output.text, "", ""
    return same, mark, output.text[len(same) + len(mark) :]


def _newest(runs: Iterable[Run], kind: RunKind, preferred: frozenset[int]) -> list[Run]:
    """Runs of a kind that left a result: those that were asked for by number first, then the newest."""
    fitting = [run for run in runs if run.kind is kind and run.result is not None]
    return sorted(fitting, key=lambda run: (run.id in preferred, run.id), reverse=True)


def _same(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


def _read(kind: type[_Value], kept: Json) -> _Value | None:
    try:
        return kind.model_validate(kept)
    except ValidationError:
        return None
