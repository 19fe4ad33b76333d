"""One job's checkpoints: taken up at the start, written after finished layers, the newest whole one kept.

What a finished layer became is written once and shared by all later checkpoints; what passes from layer to layer is
written anew each time, and replaces the one before when `checkpoint.json` names it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import dropwhile
from pathlib import Path
from typing import Any

import torch
from llmcompressor.pipelines.cache import IntermediatesCache

from core.durable import sync, write_whole
from core.jobs.checkpoint import (
    CHECKPOINT_FILE,
    CHECKPOINT_LIMIT,
    STEPS,
    Checkpoint,
    KeptFile,
    KeptLayers,
    read_checkpoint,
)
from core.jobs.protocol import Checkpoints
from core.plan.words import size
from core.regular_file import read_regular
from core.value import Json
from core.worker.checkpoint_fingerprint import differences
from core.worker.checkpoint_model import (
    KNOWN,
    REPEATED,
    carried,
    carry_on,
    layers_finished,
    narrowed,
    pending,
    places,
    put_back,
    retained_experts,
    tensors_at,
    touched,
    without_experts,
)
from core.worker.checkpoint_tensors import CannotBeKeptError, DoesNotFitError, check, read_tensors, write_tensors
from core.worker.checkpoint_values import (
    Shelf,
    packed_activations,
    random_states,
    set_random_states,
    taker,
    unpacked_activations,
)
from core.worker.progress import CompressionProgress, modifier_stage
from core.worker.reporter import Reporter

FIRST_RATE = 300e6
"""Bytes a second that a disk is trusted to take until the first checkpoint has been timed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A checkpoint that is being taken up: how far it was, and what it kept beside the model."""

    point: Checkpoint
    state: Json
    tensors: Mapping[str, Mapping[str, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Step:
    """A modifier of the recipe: its class, its title for a person, and whether it looks at data."""

    name: str
    title: str
    calibrated: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """One modifier's way over the layers: the modules of each subgraph, and the values that each uses up."""

    index: int
    modifier: Any
    model: Any
    layers: Sequence[Any]
    subgraphs: Sequence[Sequence[Any]]
    used_up: Sequence[set[str]]

    @property
    def last(self) -> int:
        return len(self.subgraphs) - 1


@dataclass(slots=True)
class CheckpointBook:
    """Keeps the account of one job with these steps, in order."""

    wanted: Checkpoints
    fingerprint: Mapping[str, str]
    steps: Sequence[Step]
    report: Reporter
    progress: CompressionProgress
    resumed: Json = None
    """Of the checkpoint that was taken up: what the job's result says."""
    taken: Taken | None = None
    parts: list[KeptLayers] = field(default_factory=list)
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    """Of each part's file the tensors."""
    files: dict[str, KeptFile] = field(default_factory=dict)
    waiting: list[tuple[int, int, list[Any]]] = field(default_factory=list)
    """Finished and not yet written: modifier, subgraph, modules."""
    experts: dict[str, Json] = field(default_factory=dict)
    """By modifier, the experts that it left in the layers that are finished."""
    lasting: Shelf = field(default_factory=lambda: Shelf("", compared=True))
    serial: int = 0
    off: bool = False
    said: bool = False
    rate: float = FIRST_RATE
    repeated: float = 0.0
    """Seconds that went into what is written anew each time."""
    spent: float = 0.0
    """Seconds of finished layers in earlier tries."""
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    written: int = 0

    @property
    def folder(self) -> Path:
        return Path(self.wanted.folder)

    # At the start ---------------------------------------------------------------------------------------------------

    def take_up(self) -> None:
        """Look for a checkpoint of this very job. One that does not fit or is damaged is told, and removed."""
        point = read_checkpoint(self.folder)
        if point is None:
            if (self.folder / CHECKPOINT_FILE).exists():
                self._refuse("it is not whole")
            self._clear()
            return
        where = f"layer {point.layer} of {point.layers}"
        if other := differences(point.fingerprint, self.fingerprint):
            self._refuse(f"it was made with another {' and another '.join(other)}", where)
            self._clear()
            return
        self.report.progress(modifier_stage(0), 0, None, f"checkpoint at {where}")
        try:
            for name, kept in point.files.items():
                self.report.check()
                check(self.folder / name, kept)
            state = json.loads(read_regular(self.folder / point.state, CHECKPOINT_LIMIT * 16, follow=False))
            layers = {part.file for part in point.parts}
            tensors = {
                name: read_tensors(self.folder / name)
                for name in point.files
                if name not in layers and name.endswith(".safetensors")
            }
            figures = [dict(figure) for figure in state["metrics"]]
            experts = dict(state["experts"])
        except (OSError, ValueError, RecursionError, KeyError, TypeError, DoesNotFitError) as error:
            self._refuse(str(error) or "it is damaged", where)
            self._clear()
            return
        self.taken = Taken(point, state, tensors)
        self.experts = experts
        self.parts = list(point.parts)
        self.files = {name: kept for name, kept in point.files.items() if name in layers}
        self.names = {part.file: self._names_in(part.file) for part in self.parts}
        self.serial = 1 + max((int(n) for name in point.files for n in _serials(name)), default=0)
        self.spent = point.seconds
        self.progress.taken_up[point.modifier] = point.layer - 1
        self.resumed = {
            "layer": point.layer,
            "layers": point.layers,
            "step": point.modifier + 1,
            "steps": point.modifiers,
            "seconds": point.seconds,
        }
        for figure in figures:
            self.progress.figure(**figure)

    def finished_before(self, modifier: int) -> bool:
        """Whether the whole pass of a modifier is done in the checkpoint that is taken up."""
        if self.taken is None:
            return False
        point = self.taken.point
        return modifier < point.modifier or (modifier == point.modifier and point.subgraph >= point.subgraphs)

    def first_of(self, modifier: int) -> int:
        """The first subgraph of a modifier's pass that is yet to be done."""
        return self.taken.point.subgraph if self.taken is not None and self.taken.point.modifier == modifier else 0

    def put_back(self, here: Pass) -> None:
        """Bring the model to where the pass was, subgraph by subgraph. Raises DoesNotFitError."""
        if (retained := self.experts.get(str(here.index))) is not None:
            without_experts(here.modifier, here.model, retained)
        narrow = any(step.name == "NarrowModifier" for step in self.steps)
        for part in self.parts:
            if part.modifier == here.index:
                if part.subgraph >= len(here.subgraphs):
                    raise DoesNotFitError("it has more layers than the model")
                self.report.check()
                modules = touched(here.modifier, here.subgraphs[part.subgraph])
                kept = read_tensors(self.folder / part.file)
                if narrow:
                    narrowed(here.model, modules, kept)
                put_back(here.model, modules, kept)

    def carry_on(self, here: Pass, offload_device: torch.device) -> IntermediatesCache | None:
        """Bring modifier and random numbers to where the pass was; the activations, where a subgraph is left to do.

        Nothing happens, and None is given, for a pass that is not the checkpoint's last. Raises DoesNotFitError.
        """
        if self.taken is None or self.taken.point.modifier != here.index:
            return None
        point, state, tensors = self.taken.point, self.taken.state, self.taken.tensors
        self.taken = Taken(point, None, {})  # Given away: it may take gigabytes.
        if point.subgraphs != len(here.subgraphs):
            raise DoesNotFitError("it has another number of layers than the model")
        try:
            take = taker(tensors)
            carry_on(here.modifier, state["modifier"], take)
            activations = None
            if point.subgraph < point.subgraphs:
                activations = unpacked_activations(state["activations"], take, offload_device)
            set_random_states(state["random"], take)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise DoesNotFitError("what it kept between layers makes no sense") from error
        self.last = time.monotonic()
        return activations

    # After a layer --------------------------------------------------------------------------------------------------

    def finished(self, here: Pass, at: int, activations: IntermediatesCache) -> None:
        """A subgraph is done: write a checkpoint if it is time. Never raises for lack of room."""
        if self.off or not self._may(here.index):
            return
        self.waiting.append((here.index, at, touched(here.modifier, here.subgraphs[at])))
        if retained := retained_experts(here.modifier):
            self.experts[str(here.index)] = retained
        now = time.monotonic()
        if now - self.last < self.wanted.seconds or pending(here.modifier):
            return
        cost = 0 if at == here.last else _bytes(activations, here.used_up[at + 1])
        if self.wanted.seconds and self.repeated + cost / self.rate > self.wanted.share * (now - self.began):
            return
        done = layers_finished(here.layers, here.subgraphs)[at]
        try:
            self._write(here, at + 1, done, activations)
        except (OSError, CannotBeKeptError) as error:
            self.off = True
            self._discard_unnamed()
            why = f"it would hold {error}" if isinstance(error, CannotBeKeptError) else f"{error.strerror or error}"
            self.report.warn(
                "checkpoint-not-written",
                f"No checkpoint could be written after layer {done} of {len(here.layers)}: {why}. The job goes on "
                "without further ones; if it is interrupted, what was done since the last one is lost.",
            )

    def _write(self, here: Pass, following: int, done: int, activations: IntermediatesCache) -> None:
        over = following == len(here.subgraphs)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.serial += 1
        lasting = self.lasting.next(f"lasting-{self.serial}.safetensors")
        passing = Shelf(f"activations-{self.serial}.safetensors")
        used_up = set() if over else here.used_up[following]
        state = {
            "random": random_states(passing.keep),
            "modifier": carried(here.modifier, passing.keep, lasting.keep),
            "activations": [] if over else packed_activations(activations, used_up, lasting, passing),
            "metrics": self.progress.figures,
            "experts": self.experts,
        }
        fresh = [(index, at, places(here.model, modules)) for index, at, modules in self.waiting]
        words = json.dumps(state, separators=(",", ":")).encode()
        needed = lasting.bytes + passing.bytes + len(words)
        needed += sum(getattr(module, local).nbytes for _, _, found in fresh for module, local in found.values())
        if not self._has_room(needed):
            return
        started = time.monotonic()
        for index, at, found in fresh:
            self._write_part(index, at, tensors_at(found))
        self.waiting.clear()
        begun = time.monotonic()
        if lasting.tensors:
            self.files[lasting.file] = write_tensors(self.folder / lasting.file, lasting.tensors)
        named = f"state-{self.serial}.json"
        write_whole(self.folder / named, words)
        files = self.files | {
            passing.file: write_tensors(self.folder / passing.file, passing.tensors),
            named: KeptFile(bytes=len(words), sha256=hashlib.sha256(words).hexdigest()),
        }
        point = Checkpoint(
            fingerprint=dict(self.fingerprint),
            modifier=here.index,
            modifiers=len(self.steps),
            title=self.steps[here.index].title,
            subgraph=following,
            subgraphs=len(here.subgraphs),
            layer=done + 1,
            layers=len(here.layers),
            seconds=self.spent + started - self.began,
            saved=datetime.now(UTC),
            parts=tuple(self.parts),
            state=named,
            files=files,
        )
        sync(self.folder)
        write_whole(self.folder / CHECKPOINT_FILE, point.model_dump_json().encode())
        # The tensors are on the disk: from now on only where they lie is remembered.
        lasting.tensors.clear()
        self.lasting = lasting
        self._discard_unnamed(files)
        self.last = time.monotonic()
        self.written += 1
        self.repeated += self.last - begun
        self.rate = max(needed / max(self.last - started, 1e-3), 1e6)

    def _write_part(self, index: int, subgraph: int, tensors: dict[str, torch.Tensor]) -> None:
        file = f"layers-{index}-{subgraph}-{self.serial}.safetensors"
        kept = write_tensors(self.folder / file, tensors)
        names = frozenset(tensors)
        # A later pass over the same layers leaves nothing of the earlier one; see `_may` for what lies between.
        for part in [part for part in self.parts if self.names[part.file] <= names]:
            self.parts.remove(part)
            self.files.pop(part.file, None)
        self.parts.append(KeptLayers(modifier=index, subgraph=subgraph, file=file))
        self.names[file], self.files[file] = names, kept

    def _may(self, index: int) -> bool:
        """Whether a pass can be resumed: nothing before it was changed in a way that is not kept."""
        # What needs no data and comes first is done again, the same way.
        rest = dropwhile(lambda step: not step.calibrated or step.name in REPEATED, self.steps[: index + 1])
        return all(step.name in KNOWN for step in rest)

    def _has_room(self, needed: int) -> bool:
        free = shutil.disk_usage(self.folder).free
        if free >= needed + self.wanted.reserve:
            return True
        self.last = time.monotonic()
        if not self.said:
            self.said = True
            self.report.warn(
                "checkpoint-no-room",
                f"No checkpoint is written now: it takes {size(needed)}, the artifact up to "
                f"{size(self.wanted.reserve)}, and {size(free)} are free on the disk of {self.folder.parent}. The job "
                "goes on; if it is interrupted, it loses more than otherwise.",
            )
        return False

    def _refuse(self, why: str, where: str = "") -> None:
        place = f" at {where}" if where else ""
        self.report.warn("checkpoint-not-used", f"The checkpoint{place} is not used: {why}. The job begins anew.")

    def _names_in(self, file: str) -> frozenset[str]:
        from safetensors import safe_open

        with safe_open(self.folder / file, framework="pt") as opened:
            return frozenset(opened.keys())

    def _discard_unnamed(self, files: Mapping[str, KeptFile] | None = None) -> None:
        """Remove what the newest checkpoint does not name."""
        if files is None:
            point = read_checkpoint(self.folder)
            files = {} if point is None else point.files
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in files and path.name != CHECKPOINT_FILE and not path.name.startswith(STEPS):
                    path.unlink(missing_ok=True)

    def _clear(self) -> None:
        if self.folder.is_dir() and not self.folder.is_symlink():
            (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
            self._discard_unnamed({})
            with suppress(OSError):
                self.folder.rmdir()


def _bytes(activations: IntermediatesCache, names: set[str]) -> int:
    chosen = [{key: value for key, value in batch.items() if key in names} for batch in activations.batch_intermediates]
    return sum(IntermediatesCache(chosen).size().values())


def _serials(name: str) -> list[str]:
    """The number that a file's name ends with: later files get greater ones."""
    found = name.rpartition(".")[0].rpartition("-")[2]
    return [found] if found.isdigit() else []


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
