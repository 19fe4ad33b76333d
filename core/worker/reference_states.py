"""What an original computed, kept on disk: the hidden states that go into its output head, at the scored positions.

Some hundred times smaller than its log-probabilities, and its logits come from them by the head alone. A reference is a
safetensors file (`states`: tokens x width, in the order of the batches; `probe`: a few tokens of which the logits are
known) and a JSON file beside it: with both, the reference is whole. Its SHA-256 is checked before it is used, so that a
damaged one never is. While it is made it may be kept batch by batch, and goes on where a killed worker was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from core.durable import write_whole
from core.measure.passages import Row, reference_bytes
from core.measure.results import Conditions
from core.value import Received
from core.worker.growing_file import GrowingFile
from core.worker.keeper import Keeper
from core.worker.reference_answers import fingerprint
from core.worker.reference_head import Head, HeadFacts, capturing
from core.worker.reference_known import KnownModel
from core.worker.scoring import forward, padded
from core.worker.versions import library_versions

LIMIT = 8 * 2**30
"""Most bytes that references may take together in one cache; the oldest give way."""

SPARE = 2**30
"""Bytes left free on the disk beside a reference."""

DTYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
PIECE = 2**24


class ReferenceFacts(Received):
    """What stands beside kept states."""

    key: str
    bytes: int
    sha256: str
    head: HeadFacts
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class Reading:
    """What an original reads: rows, the batches of their indices, and a name for all that its result depends on."""

    key: str
    rows: tuple[Row, ...]
    plan: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """How many are scored."""
        return sum(row.scored for row in self.rows)

    def window(self, done: int) -> str:
        """`window 120 of 400`: the first row that is not done when so many batches are."""
        rows = sum(len(batch) for batch in self.plan[:done])
        return f"window {min(rows + 1, len(self.rows))} of {len(self.rows)}"

    def starts(self) -> dict[tuple[int, ...], int]:
        """Scored tokens before each batch."""
        found, total = {}, 0
        for batch in self.plan:
            found[batch] = total
            total += sum(self.rows[index].scored for index in batch)
        return found


class ReferenceRefusedError(Exception):
    """The original cannot be kept this way; the message is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class KeptStates:
    """An open reference: `file` holds the tensors, `starts` says where each batch's states begin."""

    path: Path
    facts: ReferenceFacts
    rows: tuple[Row, ...]
    starts: dict[tuple[int, ...], int]
    file: Any

    @property
    def probe(self) -> torch.Tensor:
        """Hidden states (1, tokens, width) of which the logits' digest is known."""
        tensor: torch.Tensor = self.file.get_tensor("probe")
        return tensor


@dataclass(frozen=True, slots=True)
class FromStates:
    """Logits of an original that is not in memory: its kept states through its head."""

    path: str
    states: KeptStates
    head: Head
    device: torch.device

    def logits(self, batch: Sequence[int], ids: torch.Tensor, keep: int) -> torch.Tensor:
        """In the shape that the model itself would give them, because another shape may round otherwise.

        Only the scored positions mean something: the others' states are not kept.
        """
        start = self.states.starts[tuple(batch)]
        rows = [self.states.rows[index] for index in batch]
        kept = self.states.file.get_slice("states")[start : start + sum(row.scored for row in rows)].to(self.device)
        length = ids.shape[1] if self.head.facts.whole else keep
        hidden = torch.zeros((len(rows), length, kept.shape[1]), dtype=kept.dtype, device=self.device)
        skipped = ids.shape[1] - length
        taken = 0
        for place, row in enumerate(rows):
            hidden[place, row.first - 1 - skipped : len(row.ids) - 1 - skipped] = kept[taken : taken + row.scored]
            taken += row.scored
        return self.head(hidden)


def reading(known: KnownModel, rows: Sequence[Row], plan: Sequence[Sequence[int]], device: str) -> Reading:
    """Named by everything that what the original computes depends on: files, tokens, batches, device, libraries."""
    versions = library_versions()
    batches = tuple(tuple(batch) for batch in plan)
    facts = {
        "model": fingerprint(known.path),
        "rows": hashlib.sha256(repr([(row.ids, row.first) for row in rows]).encode()).hexdigest(),
        "plan": hashlib.sha256(repr(batches).encode()).hexdigest(),
        "dtype": str(known.dtype),
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": [versions.get(name) for name in ("torch", "transformers", "compressed-tensors")],
    }
    return Reading(hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(), tuple(rows), batches)


def open_states(folder: Path, reading: Reading) -> KeptStates | None:
    """The kept states of this reading, or None where there are none, or they are not whole."""
    from safetensors import SafetensorError, safe_open

    path, beside = _paths(folder, reading.key)
    try:
        facts = ReferenceFacts.model_validate_json(beside.read_bytes())
        sound = facts.key == reading.key and path.stat().st_size == facts.bytes and _sha256(path) == facts.sha256
        if not sound:
            return None
        file = safe_open(path, framework="pt")
        tokens, _ = file.get_slice("states").get_shape()
    except (OSError, ValidationError, SafetensorError, ValueError):
        return None
    if tokens != reading.tokens:
        return None
    # The last use decides which gives way when the disk's share is full.
    with suppress(OSError):
        os.utime(path)
    return KeptStates(path, facts, reading.rows, reading.starts(), file)


@torch.inference_mode()
def keep_states(
    folder: Path,
    reading: Reading,
    model: Any,
    *,
    head: Head,
    probe: torch.Tensor,
    conditions: Conditions,
    device: torch.device,
    after_batch: Callable[[int], None],
    keeper: Keeper | None = None,
) -> KeptStates:
    """Run the original once, its head spared, and keep what goes into the head.

    With a keeper, what a run before has left is taken up, and what is done so far stays when this one ends early.
    Raises ReferenceRefusedError where there is no room or the head is not called as in the probe. `after_batch` may
    raise; nothing half is left behind in the folder.
    """
    size = reference_bytes(reading.tokens, probe.shape[-1], probe.element_size())
    path, beside = _paths(folder, reading.key)
    header = _header(probe, reading.tokens)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _growing(path, reading.key, size, keeper) as file:
            file.take_up(_named(header, probe, conditions))
            make_room(folder, size, there=file.bytes)
            if not file.items:
                file.write(header)
            elif keeper is not None:
                keeper.took_up(f"at {reading.window(file.items)} that the original reads")
            after_batch(file.items)
            with capturing(model, empty=True) as capture:
                for done, batch in enumerate(reading.plan[file.items :], start=file.items + 1):
                    ids, keep = padded(reading.rows, batch)
                    capture.calls = 0
                    forward(model, ids.to(device), keep)
                    if capture.calls != 1 or capture.hidden is None or capture.hidden.shape[2:] != probe.shape[2:]:
                        raise ReferenceRefusedError("Its output head is not used in one and the same way.")
                    file.write(_raw(_scored(capture.hidden, [reading.rows[index] for index in batch])))
                    if keeper is not None:
                        keeper.stands(f"at {reading.window(done)} that the original reads")
                    file.reached(done)
                    after_batch(done)
            file.write(_raw(probe))
            file.sync()
            facts = ReferenceFacts(
                key=reading.key, bytes=file.bytes, sha256=file.sha256, head=head.facts, conditions=conditions
            )
            # Before the rename: else what a kill leaves between the two would have to be computed again.
            write_whole(beside, facts.model_dump_json().encode())
            os.replace(file.path, path)  # noqa: PTH105
    except OSError as error:
        raise ReferenceRefusedError(
            f"What the original computes could not be kept on disk: {error.strerror}."
        ) from error
    found = open_states(folder, reading)
    if found is None:
        raise ReferenceRefusedError("It came back from the disk otherwise than it was written.")
    return found


@contextmanager
def _growing(path: Path, key: str, size: int, keeper: Keeper | None) -> Iterator[GrowingFile]:
    """The file that becomes `path`. With a keeper it outlives this process, and a cancel, but no refusal."""
    file = None if keeper is None else keeper.growing(key, path.parent, size)
    lasting = file is not None
    if file is None:
        file = GrowingFile(path.with_name(f"{path.name}.{os.getpid()}.partial"), seconds=math.inf)
    try:
        yield file
    except (OSError, ReferenceRefusedError):
        file.remove()
        raise
    except BaseException:
        if lasting:
            with suppress(OSError):
                file.keep()
            file.close()
        else:
            file.remove()
        raise
    # It has its name now; what goes is the note of how far it was.
    file.remove()
    if keeper is not None:
        keeper.gone(file.path)


def make_room(folder: Path, size: int, limit: int | None = None, *, there: int = 0) -> None:
    """Delete the references longest unused until `size` more bytes are within the limit; `there` are on the disk.

    Raises ReferenceRefusedError where they never are, or the disk has no room for them.
    """
    allowed = LIMIT if limit is None else limit
    if size > allowed:
        raise ReferenceRefusedError(
            f"It takes {size / 2**30:.1f} GiB, more than the {allowed / 2**30:.1f} GiB that may be kept; "
            "score fewer tokens to have it kept."
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in kept)
    while kept and total + size > allowed:
        oldest = kept.pop(0)
        total -= oldest.stat().st_size
        oldest.with_suffix(".json").unlink(missing_ok=True)
        oldest.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if size - there + SPARE > free:
        raise ReferenceRefusedError(f"It takes {size / 2**30:.1f} GiB, and {folder} has {free / 2**30:.1f} GiB free.")


def _scored(hidden: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """The states (tokens, width) of a batch's scored positions, row by row, from (rows, positions, width)."""
    skipped = max(len(row.ids) for row in rows) - hidden.shape[1]
    return torch.cat(
        [hidden[place, row.first - 1 - skipped : len(row.ids) - 1 - skipped] for place, row in enumerate(rows)]
    )


def _header(probe: torch.Tensor, tokens: int) -> bytes:
    """The beginning of a safetensors file, whose data can then be written as they come."""
    kind = DTYPES.get(probe.dtype)
    if kind is None:
        raise ReferenceRefusedError(f"Its hidden states are {probe.dtype}.")
    width, item = probe.shape[-1], probe.element_size()
    end = tokens * width * item
    header = json.dumps(
        {
            "states": {"dtype": kind, "shape": [tokens, width], "data_offsets": [0, end]},
            "probe": {"dtype": kind, "shape": list(probe.shape), "data_offsets": [end, end + probe.numel() * item]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def _raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _named(header: bytes, probe: torch.Tensor, conditions: Conditions) -> str:
    """All that has to be the same beside the reading itself for one pass to go on where another was."""
    found = hashlib.sha256(header)
    found.update(_raw(probe))
    found.update(conditions.model_dump_json().encode())
    return found.hexdigest()


def _paths(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}.safetensors", folder / f"{key}.json"


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    for piece in _pieces(path):
        found.update(piece)
    return found.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
