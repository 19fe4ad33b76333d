"""The samples of a calibration source, whatever kind it is; chat that the model makes itself comes from the job."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from core.calibration.builtin import choose, prompts
from core.calibration.overlap import text_of
from core.calibration.read import first_samples, read_samples, source_files
from core.calibration.sets import set_samples
from core.calibration.shares import mixed
from core.calibration.spec import BUILT_IN, SELF_CHAT, SET_PREFIX, CalibrationSample, CalibrationSpec, PinnedSet
from core.errors import BitpressError


def source_samples(spec: CalibrationSpec) -> tuple[CalibrationSample, ...]:
    """All samples of one source (no mix), or a fair choice where there are very many.

    Raises BitpressError as `read_samples` and `set_samples` do.
    """
    if spec.source == BUILT_IN:
        return tuple(
            CalibrationSample(kind="chat", messages=prompt.messages, origin=prompt.id)
            for prompt in choose(prompts(), len(prompts()), spec.seed)
        )
    if spec.source.startswith(SET_PREFIX):
        return set_samples(_pin(spec))
    return read_samples(spec)


def source_beginning(spec: CalibrationSpec, characters: int = 250_000) -> tuple[CalibrationSample, ...]:
    """The first samples of one source, of about this much text together. Raises as `source_samples`."""
    if not spec.source.startswith(SET_PREFIX) and spec.source != BUILT_IN:
        return first_samples(spec, characters)
    found = []
    for sample in source_samples(spec):
        found.append(sample)
        characters -= len(text_of(sample))
        if characters <= 0:
            break
    return tuple(found)


def source_paths(spec: CalibrationSpec) -> tuple[Path, ...]:
    """The files that one source is read from; none for the built-in ones. Raises as `source_samples`."""
    if spec.source in (SELF_CHAT, BUILT_IN):
        return ()
    return (Path(_pin(spec).file),) if spec.source.startswith(SET_PREFIX) else source_files(spec)


def chosen_samples(
    spec: CalibrationSpec, chats: Sequence[CalibrationSample] = ()
) -> tuple[tuple[CalibrationSample, ...], ...]:
    """What a set of this choice holds, by part: samples drawn by weight and seed, in the order of their source.

    `chats` are the model's own answers, where a part asks for them. Raises as `source_samples`.
    """
    parts = spec.parts
    known = [
        tuple(chats) if part.source == SELF_CHAT else source_samples(spec.part(part.source, spec.samples))
        for part in parts
    ]

    def draw(place: int, count: int) -> Sequence[CalibrationSample]:
        samples = known[place]
        if parts[place].source in (SELF_CHAT, BUILT_IN):
            return samples[:count]  # In the seed's order already.
        generator = random.Random(spec.seed)  # noqa: S311
        places = sorted(generator.sample(range(len(samples)), min(count, len(samples))))
        return [samples[index] for index in places]

    return mixed(spec.samples, [part.weight for part in parts], draw)


def _pin(spec: CalibrationSpec) -> PinnedSet:
    pinned = spec.pinned(spec.source)
    if pinned is None:
        raise BitpressError(
            "calibration-set-unknown",
            f"There is no calibration set {spec.source.removeprefix(SET_PREFIX)!r} here, or nobody has looked it up.",
            "`bitpress calibration list` names the sets. Choose one of them, or other data.",
        )
    return pinned
