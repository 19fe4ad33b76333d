"""Finds the newest measurements of a compressed model beside its original, and brings them into the report's form."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.jobs.run import Run, RunKind
from core.measure.results import Comparison, EvaluationResult, Generation, ModelBenchmark
from core.report.data import Quality, SideBySide, SideText, Speed, TextQuality
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
                TextQuality(text=text.text, tokens=text.tokens, perplexity=text.perplexity, fidelity=one)
                for text in result.texts
                for one in text.others
                if _same(one.path, output)
            ),
            conditions=result.conditions,
            seconds=result.seconds,
        )
    return None


def speed(runs: Sequence[Run], original: str, output: str, preferred: frozenset[int], now: datetime) -> Speed | None:
    """The newest benchmark with both models; else the newest with the output alone; else None."""
    alone: Speed | None = None
    for run in _newest(runs, RunKind.BENCHMARK, preferred):
        result = _read(_Benchmarks, run.result)
        if result is None:
            continue
        compressed = next((one for one in result.models if _same(one.path, output)), None)
        if compressed is None:
            continue
        beside = next((one for one in result.models if _same(one.path, original)), None)
        found = Speed(run=run.id, created=local(run.created, now), original=beside, compressed=compressed)
        if beside is not None:
            return found
        alone = alone or found
    return alone


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
