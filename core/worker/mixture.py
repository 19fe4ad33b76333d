"""The samples of a job, from one source or several: drawn by weight, rendered, and checked against the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.calibration.builtin import prompts
from core.calibration.inspection import overlap_finding
from core.calibration.overlap import evaluation_texts, overlap
from core.calibration.shares import mixed
from core.calibration.sources import source_paths, source_samples
from core.calibration.spec import (
    BUILT_IN,
    SELF_CHAT,
    CalibrationFacts,
    CalibrationSample,
    CalibrationSpec,
    PartFacts,
)
from core.errors import BitpressError
from core.plan.finding import Severity
from core.worker.calibrate import Listener, Rendered, choose, facts


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of each part, in the order of the parts; one part where it is no mix."""

    spec: CalibrationSpec
    parts: tuple[tuple[Rendered, ...], ...]

    @property
    def chosen(self) -> tuple[Rendered, ...]:
        return tuple(rendered for part in self.parts for rendered in part)

    def facts(self) -> CalibrationFacts:
        """What was used."""
        paths = (path for part in self.spec.parts for path in source_paths(self.spec.part(part.source, 1)))
        shown = [
            PartFacts(
                source=part.source,
                weight=part.weight,
                samples=len(given),
                tokens=sum(len(one.ids) for one in given),
            )
            for part, given in zip(self.spec.mix, self.parts, strict=False)
        ]
        return facts(self.spec, self.chosen, [str(path) for path in paths], shown)


class Mixture:
    """Draws the samples of a choice: first what lies in files, then, once it is made, the model's own chat.

    Warns `calibration-short` and `calibration-skipped`. Everything raises BitpressError as `source_samples` and
    `calibrate.choose` do.
    """

    def __init__(self, tokenizer: Any, spec: CalibrationSpec, report: Listener) -> None:
        self._tokenizer = tokenizer
        self._spec = spec
        self._report = report
        self._read: dict[int, tuple[CalibrationSample, ...]] = {}
        self._warned: dict[int, list[tuple[str, str]]] = {}

    def chats_wanted(self) -> int:
        """How many chats the model has to make, now that it is known what the files give."""
        if not self._spec.has_self_chat:
            return 0
        there = len(prompts())
        drawn = self._mixed(lambda count: [None] * min(count, there))
        return next(len(given) for part, given in zip(self._spec.parts, drawn, strict=True) if part.source == SELF_CHAT)

    def draw(self, chats: Sequence[CalibrationSample] = ()) -> Drawn:
        """The samples of all parts; `chats` are those that the model made.

        Where it made fewer than wanted, or the template takes fewer, the other parts give more.
        """
        own = list(self._render_chats(chats)) if self._spec.has_self_chat else []
        parts = self._mixed(lambda count: own[:count])
        self._say(parts)
        return Drawn(self._spec, parts)

    def _mixed(self, chats: Any) -> tuple[tuple[Any, ...], ...]:
        parts = self._spec.parts

        def draw(place: int, count: int) -> Sequence[Any]:
            return chats(count) if parts[place].source == SELF_CHAT else self._draw(place, count)

        return mixed(self._spec.samples, [part.weight for part in parts], draw)

    def _draw(self, place: int, count: int) -> tuple[Rendered, ...]:
        source = self._spec.parts[place].source
        part = self._spec.part(source, count)
        if place not in self._read:
            # As many as the whole job takes: another part may have too few.
            self._read[place] = source_samples(self._spec.part(source, self._spec.samples))
        samples = self._read[place]
        heard = Heard(self._report)  # Of several drawings from one part, the last one counts.
        drawn = choose(
            self._tokenizer,
            samples[:count] if source == BUILT_IN else samples,
            part,
            heard,
            answer_next=source == BUILT_IN,
        )
        self._warned[place] = heard.warnings
        return drawn

    def _render_chats(self, chats: Sequence[CalibrationSample]) -> tuple[Rendered, ...]:
        if not chats:
            return ()
        place = next(place for place, part in enumerate(self._spec.parts) if part.source == SELF_CHAT)
        heard = Heard(self._report)
        rendered = choose(self._tokenizer, chats, self._spec.part(SELF_CHAT, len(chats)), heard, answer_next=True)
        self._warned[place] = heard.warnings
        return rendered

    def _say(self, parts: Sequence[Sequence[Rendered]]) -> None:
        for warnings in self._warned.values():
            for code, message in warnings:
                self._report.warn(code, message)
        found = sum(len(given) for given in parts)
        if not found:
            raise BitpressError(
                "calibration-empty",
                "There is no text in the calibration data.",
                "Choose a file that holds text or chats, or the built-in chat.",
            )
        if self._spec.mix:
            for part, given, wanted in zip(self._spec.parts, parts, self._spec.part_samples, strict=True):
                if len(given) < wanted:
                    rest = "the other parts give the rest" if found == self._spec.samples else "the others have no more"
                    self._report.warn(
                        "calibration-part-short",
                        f"{part.source} gives {len(given)} of the {wanted} samples that are its share; {rest}.",
                    )
        if found < self._spec.samples:
            self._report.warn(
                "calibration-short",
                f"The calibration data gives {found} samples, and {self._spec.samples} were asked for. All are used.",
            )


def refuse_overlap(drawn: Drawn, report: Listener) -> None:
    """Stops a job whose samples are in the texts that models are judged by; warns where a little is.

    Preflight saw how each source begins; this is what is really used. Raises BitpressError `calibration-overlap`.
    """
    samples = [one.sample for one in drawn.chosen if one.sample is not None]
    finding = overlap_finding(overlap(samples, evaluation_texts()).share)
    if finding is None:
        return
    if finding.severity is Severity.BLOCKS:
        raise BitpressError(
            finding.code, finding.message, "`bitpress calibration inspect` names the samples that are in them."
        )
    report.warn(finding.code, finding.message)


class Heard:
    """Keeps warnings instead of telling them."""

    def __init__(self, report: Listener) -> None:
        self.check = report.check
        self.warnings: list[tuple[str, str]] = []

    def warn(self, code: str, message: str) -> None:
        self.warnings.append((code, message))
