"""Looks at calibration data from every side, with the tokenizer alone: nothing of the model's weights is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.calibration.builtin import prompts
from core.calibration.duplicates import Repeat, repeats
from core.calibration.inspection import (
    CalibrationInspection,
    Offender,
    Part,
    Share,
    ShownSample,
    ShownToken,
    findings_of,
    histogram,
    lengths_of,
)
from core.calibration.kept_answers import in_order, kept_answers, samples_of
from core.calibration.languages import guessed_language, scripts
from core.calibration.overlap import Overlap, evaluation_texts, overlap, text_of
from core.calibration.spec import SELF_CHAT, CalibrationSample, CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import InspectCalibration, Stage
from core.value import Json
from core.worker.calibrate import Rendered
from core.worker.mixture import Drawn, Heard, Mixture
from core.worker.reporter import Reporter

NOT_ANSWERED = "The model answers this prompt when the job starts; the answer becomes part of the sample."

_OFFENDERS = 10
"""Of each kind."""
_EXCERPT = 160
_READ, _LOOK = "read", "look"


def run(command: InspectCalibration, report: Reporter) -> Json:
    """The result is a CalibrationInspection.

    Raises BitpressError `no-tokenizer`, `calibration-empty`, and what reading the data raises.
    """
    report.plan(
        (Stage(id=_READ, title="Read and tokenize the samples"), Stage(id=_LOOK, title="Look at them", unit="step"))
    )
    spec = command.calibration
    heard = Heard(report)
    with report.stage(_READ):
        tokenizer = _tokenizer(command.model)
        mixture = Mixture(tokenizer, spec, heard)
        folder = Path(command.answers) if command.answers else None
        drawn = mixture.draw(_chats(spec, folder, mixture.chats_wanted()))
    with report.stage(_LOOK):
        return _inspected(tokenizer, drawn, heard.warnings, command.shown, report).model_dump(mode="json")


def _chats(spec: CalibrationSpec, folder: Path | None, count: int) -> tuple[CalibrationSample, ...]:
    """The job's own chat in its order: with the answer where there is one already, else up to where it begins."""
    kept = kept_answers(folder, spec.seed)
    found: list[CalibrationSample] = []
    for prompt in in_order(prompts(), spec.seed) if count else ():
        if len(found) == count:
            break
        answer = kept.get(prompt.id)
        if answer is None or answer.messages != prompt.messages:
            found.append(CalibrationSample(kind="chat", messages=prompt.messages, origin=prompt.id))
        elif answer.usable:
            found += samples_of([answer])
    return tuple(found)


def _inspected(
    tokenizer: Any, drawn: Drawn, warnings: Sequence[tuple[str, str]], shown: int, report: Reporter
) -> CalibrationInspection:
    spec, chosen = drawn.spec, drawn.chosen
    samples = [one.sample for one in chosen if one.sample is not None]
    texts = [text_of(sample) for sample in samples]
    counts = [len(one.ids) for one in chosen]
    lost = sum(one.lost for one in chosen)
    unanswered = {id(one) for one in _self_chat(drawn) if one.sample is not None and not _answered(one.sample)}
    report.progress(_LOOK, 0, 3, "duplicates")
    repeated = repeats(texts)
    report.progress(_LOOK, 1, 3, "evaluation text")
    shared = overlap(samples, evaluation_texts())
    report.progress(_LOOK, 2, 3, "languages")
    letters: Counter[str] = Counter()
    for text in texts:
        letters += scripts(text)
    found = CalibrationInspection(
        source=spec.source,
        samples=len(chosen),
        wanted=spec.samples,
        max_length=spec.max_length,
        parts=tuple(
            Part(source=part.source, weight=part.weight, wanted=wanted, samples=len(given))
            for part, wanted, given in zip(spec.parts, spec.part_samples, drawn.parts, strict=True)
        ),
        tokens=sum(counts),
        lengths=lengths_of(counts),
        histogram=histogram(counts, max(counts)),
        truncated=sum(one.truncated for one in chosen),
        tokens_lost=lost,
        tokens_lost_share=lost / (sum(counts) + lost),
        exact_duplicates=sum(repeat.exact for repeat in repeated),
        near_duplicates=sum(not repeat.exact for repeat in repeated),
        chats=sum(sample.kind == "chat" for sample in samples),
        roles=dict(Counter(message["role"] for sample in samples for message in sample.messages)),
        unanswered=len(unanswered),
        scripts=_ranked(letters),
        languages=_ranked(Counter(guessed_language(text) for text in texts)),
        overlap=shared.share,
        overlaps=tuple(Share(name=name, share=share) for name, share in shared.by_text.items()),
        offenders=_offenders(chosen, texts, repeated, shared),
        shown=tuple(
            _shown(tokenizer, one, NOT_ANSWERED if id(one) in unanswered else "") for one in _spread(drawn, shown)
        ),
    )
    report.progress(_LOOK, 3, 3)
    return found.model_copy(update={"findings": findings_of(found, warnings)})


def _self_chat(drawn: Drawn) -> list[Rendered]:
    parts = zip(drawn.spec.parts, drawn.parts, strict=True)
    return [one for part, given in parts if part.source == SELF_CHAT for one in given]


def _answered(sample: CalibrationSample) -> bool:
    return sample.messages[-1].get("role") == "assistant"


def _spread(drawn: Drawn, count: int) -> list[Rendered]:
    """The first samples of each part in turn."""
    longest = max(len(part) for part in drawn.parts)
    turns = [part[place] for place in range(longest) for part in drawn.parts if place < len(part)]
    return turns[:count]


def _offenders(
    chosen: Sequence[Rendered], texts: Sequence[str], repeated: Sequence[Repeat], shared: Overlap
) -> tuple[Offender, ...]:
    def offender(kind: str, place: int, share: float, other: str = "") -> Offender:
        excerpt = " ".join(texts[place][: 4 * _EXCERPT].split())[:_EXCERPT]
        return Offender(kind=kind, origin=chosen[place].origin, share=share, other=other, excerpt=excerpt)

    cut = sorted((place for place, one in enumerate(chosen) if one.lost), key=lambda place: -chosen[place].lost)
    alike = sorted(repeated, key=lambda repeat: -repeat.likeness)
    return (
        *(offender("overlap", one.place, one.share, one.text) for one in shared.by_sample[:_OFFENDERS]),
        *(
            offender("copy" if one.exact else "near-copy", one.place, one.likeness, chosen[one.of].origin)
            for one in alike[:_OFFENDERS]
        ),
        *(
            offender("cut", place, chosen[place].lost / (len(chosen[place].ids) + chosen[place].lost))
            for place in cut[:_OFFENDERS]
        ),
    )


def _ranked(counts: Counter[str]) -> tuple[Share, ...]:
    total = counts.total()
    return tuple(Share(name=name, share=count / total) for name, count in counts.most_common() if count)


def _shown(tokenizer: Any, item: Rendered, note: str) -> ShownSample:
    return ShownSample(
        text=item.text,
        tokens=tuple(ShownToken(id=token, text=tokenizer.decode([token])) for token in item.ids),
        truncated=item.truncated,
        origin=item.origin,
        note=note,
    )


def _tokenizer(model: str) -> Any:
    from core.worker.tokenizer_files import load_tokenizer

    try:
        return load_tokenizer(model)
    except BitpressError as error:
        raise BitpressError(
            "no-tokenizer",
            f"transformers finds no tokenizer in {model}: {error.problem.message}",
            "Choose a model folder that holds its tokenizer files.",
        ) from error
