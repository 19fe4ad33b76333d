"""A job's checkpoint as a folder beside its output: what it holds, whether it is whole, and where it would go on.

`checkpoint.json` is the only thing that counts: it names every file with its size and hash, and is written last, beside
and renamed. What it does not name is rubbish of a write that did not end, and is removed by the next one.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import Field, ValidationError

from core.jobs.run import Run, RunKind
from core.jobs.snapshot import BROKEN, Phase
from core.models.artifact import staging_beside
from core.regular_file import read_regular
from core.value import Received, Value

CHECKPOINT_FILE = "checkpoint.json"
MEASURED, TRAINING = "measured", "training"
"""What is kept of jobs that go step by step: what blocks are worth, and a recovery's training."""
STEPS = (TRAINING, MEASURED)
PRESSED_FILE = "pressed.json"
"""What is kept of an artifact that is saved and not yet proved."""
CHECKPOINT_LIMIT = 64 << 20
"""Bytes of either file; a thousand layers take some hundred thousand."""
FORM = 1
"""Of the folder's contents; another one is not read."""

FILE_NAME = re.compile(r"[a-z]+(-\d+)*\.(safetensors|json)")
"""What a file of a checkpoint may be called: no name leads out of the folder."""


class KeptFile(Received):
    """A file as it was written."""

    bytes: int = Field(ge=0)
    sha256: str


class KeptLayers(Received):
    """The tensors that one pass of one modifier left in the modules of one subgraph."""

    modifier: int
    subgraph: int
    file: str


class Checkpoint(Received):
    """How far a job was: all modifiers before `modifier` are done, and of its pass all subgraphs before `subgraph`.

    `layer` is the first decoder layer that is not finished, counted from 1; `layers` + 1 where the pass is over.
    """

    form: int = FORM
    fingerprint: dict[str, str]
    """What the job rests on, by name; a job that differs in any of them does not take it up."""
    modifier: int = Field(ge=0)
    modifiers: int = 1
    title: str = ""
    """The modifier's, as the run's page shows it."""
    subgraph: int = Field(ge=0)
    subgraphs: int
    layer: int
    layers: int
    seconds: float = 0.0
    """Spent on what is finished, over all tries, set-up apart."""
    saved: datetime
    parts: tuple[KeptLayers, ...] = ()
    state: str
    """The file that says how the tensors of the other files belong together."""
    files: dict[str, KeptFile]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


class KeptSteps(Received):
    """How far a job was that goes step by step, and which files say what it knew then."""

    form: int = FORM
    fingerprint: dict[str, str]
    """As a checkpoint's."""
    step: int = Field(ge=0)
    at: str
    """Where it goes on, for a person: `after step 40 of its recovery`."""
    serial: int = Field(ge=0)
    saved: datetime
    state: str
    files: dict[str, KeptFile]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


class KeptArtifact(Received):
    """An artifact that is saved whole and waits for its proof, and the result of the worker that made it."""

    form: int = FORM
    order: str
    """SHA-256 of what was asked."""
    files: dict[str, int]
    """Bytes of every file in the staging folder, by name."""
    result: dict[str, object]
    saved: datetime


class ResumePoint(Value):
    """Where an interrupted run would go on."""

    layer: int | None = None
    """The first decoder layer that is not finished, from 1; None where it goes on elsewhere."""
    layers: int | None = None
    step: int = 1
    steps: int = 1
    """A recipe of several modifiers goes over the layers once for each."""
    title: str = ""
    """Of the modifier, or of the stage."""
    saved: datetime
    bytes: int = 0
    """What the checkpoint takes on the disk."""
    at: str = ""
    """Of a job that goes step by step: where, in words."""
    pressed: bool = False
    """Whether the artifact lies saved in its staging folder, which is then part of what is kept."""

    @property
    def words(self) -> str:
        """`from layer 17 of 30`, `from layer 17 of 30 in step 2 of 2`, `at the proof` or `after step 40 of its ...`."""
        if self.at:
            return self.at
        if self.layer is None or self.layers is None:
            return "at the proof"
        step = f" in step {self.step} of {self.steps}" if self.steps > 1 else ""
        if self.layer > self.layers:
            return f"after layer {self.layers} of {self.layers}{step}"
        return f"from layer {self.layer} of {self.layers}{step}"


def checkpoint_beside(output: Path, run: int | str) -> Path:
    """The hidden folder of a run's checkpoint, on the disk that takes its artifact."""
    return output.parent / f".{output.name}.checkpoint-{run}"


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, if all of its files have their size; their hashes are not looked at."""
    if folder.is_symlink():
        return None
    try:
        found = Checkpoint.model_validate_json(read_regular(folder / CHECKPOINT_FILE, CHECKPOINT_LIMIT, follow=False))
    except (OSError, ValidationError, RecursionError):
        return None
    named = {found.state, *(part.file for part in found.parts)}
    if found.form != FORM or not named <= set(found.files):
        return None
    return found if all(_is_there(folder / name, file.bytes) for name, file in found.files.items()) else None


def steps_file(name: str) -> str:
    """The file that counts of what is kept under a name."""
    return f"{name}.json"


def read_steps(folder: Path, name: str) -> KeptSteps | None:
    """What is kept under a name in a folder, if all of its files have their size; their hashes are not looked at."""
    if folder.is_symlink():
        return None
    try:
        found = KeptSteps.model_validate_json(read_regular(folder / steps_file(name), CHECKPOINT_LIMIT, follow=False))
    except (OSError, ValidationError, RecursionError):
        return None
    if found.form != FORM or found.state not in found.files:
        return None
    return found if all(_is_there(folder / file, kept.bytes) for file, kept in found.files.items()) else None


def read_pressed(folder: Path, staging: Path) -> KeptArtifact | None:
    """What is kept of an artifact that waits for its proof, if all of it still lies in `staging`."""
    if folder.is_symlink() or staging.is_symlink():
        return None
    try:
        found = KeptArtifact.model_validate_json(read_regular(folder / PRESSED_FILE, CHECKPOINT_LIMIT, follow=False))
    except (OSError, ValidationError, RecursionError):
        return None
    if found.form != FORM or not found.files:
        return None
    whole = all("/" not in name and _has(staging / name, count) for name, count in found.files.items())
    return found if whole else None


def resume_point(run: Run) -> ResumePoint | None:
    """Where a run that broke would go on; None where it can only start again. Reads the disk: names and sizes."""
    if run.phase is not Phase.FINISHED or run.reason not in BROKEN or run.order is None or run.output is None:
        return None
    return point_at(Path(run.output), run.id) if run.kind in (RunKind.COMPRESS, RunKind.RECOVER) else None


def point_at(output: Path, run: int) -> ResumePoint | None:
    """Where the run with this output would go on, whatever its state. Reads the disk."""
    folder = checkpoint_beside(output, run)
    pressed = read_pressed(folder, staging_beside(output, run))
    training = read_steps(folder, TRAINING)
    if pressed is not None:
        count = sum(pressed.files.values())
        if training is None:
            return ResumePoint(title="Proof", saved=pressed.saved, bytes=count, pressed=True)
        return _stepwise("Recovery", training, count, pressed=True)
    found, measured = read_checkpoint(folder), read_steps(folder, MEASURED)
    if found is not None:
        return ResumePoint(
            layer=found.layer,
            layers=found.layers,
            step=found.modifier + 1,
            steps=found.modifiers,
            title=found.title,
            saved=found.saved,
            bytes=found.bytes + (0 if measured is None else measured.bytes),
        )
    if training is not None:
        return _stepwise("Recovery", training)
    return None if measured is None else _stepwise("Measuring", measured)


def _stepwise(title: str, kept: KeptSteps, more: int = 0, *, pressed: bool = False) -> ResumePoint:
    return ResumePoint(title=title, saved=kept.saved, bytes=more + kept.bytes, at=kept.at, pressed=pressed)


def remove_checkpoint(output: Path, run: int) -> None:
    """Remove a run's checkpoint; nothing happens where there is none, or where it cannot be removed."""
    folder = checkpoint_beside(output, run)
    if folder.is_symlink() or not folder.is_dir():
        return
    # What counts goes first: who dies on the way leaves rubbish and no half checkpoint.
    for name in (PRESSED_FILE, CHECKPOINT_FILE, *map(steps_file, STEPS)):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _is_there(path: Path, count: int) -> bool:
    return FILE_NAME.fullmatch(path.name) is not None and _has(path, count)


def _has(path: Path, count: int) -> bool:
    try:
        return not path.is_symlink() and path.is_file() and path.stat().st_size == count
    except OSError:
        return False
