"""A run's telemetry as lines of JSON beside its log."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from core.telemetry.sample import Sample

TELEMETRY_FILE = "telemetry.jsonl"


class Recording:
    """Appends samples to a run's folder; a disk that is full makes a gap, not an error."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the file cannot be opened."""
        self._stream = (folder / TELEMETRY_FILE).open("ab", buffering=0)

    def append(self, sample: Sample) -> None:
        with suppress(OSError, ValueError):  # ValueError: closed meanwhile
            self._stream.write(sample.model_dump_json(exclude_none=True).encode() + b"\n")

    def close(self) -> None:
        self._stream.close()


def read_samples(folder: Path) -> tuple[Sample, ...]:
    """The samples of a run's folder in order; a line torn by a power cut is left out."""
    try:
        lines = (folder / TELEMETRY_FILE).read_bytes().splitlines()
    except OSError:
        return ()
    samples = []
    for line in lines:
        with suppress(ValidationError):
            samples.append(Sample.model_validate_json(line))
    return tuple(samples)
