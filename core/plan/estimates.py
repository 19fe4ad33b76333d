"""What a job is expected to need and to give."""

from __future__ import annotations

from core.value import Range, Value


class Estimates(Value):
    """Bytes and seconds; ranges are meant to hold the measured value nine times of ten."""

    artifact_bytes: int
    device_bytes: Range
    host_bytes: Range
    disk_bytes: int
    """Largest amount that the output's disk must hold at once, staging included."""
    checkpoint_bytes: int = 0
    """What checkpoints take beside that at the most, on the same disk; 0 where there are none."""
    seconds: Range
    run_bytes: int
    """Weights plus a KV cache of 8,192 tokens, for running the artifact in an engine with kernels."""
    host_least_bytes: int = 0
    """Main memory without which the job fails: files that are mapped count into the peak and can be given back."""
    basis: str = ""
    """On what time and memory rest, as a sentence: arithmetic, or how many earlier runs on this machine."""
