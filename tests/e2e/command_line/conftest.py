"""A tiny model, its artifacts and their home, made once; and folders in which nothing can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from bitpress_process import Bitpress, Ended
from tiny_llama import write_tiny_llama

TEXT = """The harbour lies under fog in the morning, and the boats wait for the wind.
A miller keeps his grain dry, or the whole winter's bread is lost to him.
When two numbers are added, their order makes no difference to the sum."""


@pytest.fixture(scope="session")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight Llama of 6 MB with the starter's tokenizer. Read only: copy it to change it."""
    return write_tiny_llama(tmp_path_factory.mktemp("original") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one's own with eight short texts."""
    path = tmp_path_factory.mktemp("calibration") / "own.jsonl"
    lines = [f'{{"text": "Letter {number}. {" ".join(TEXT.split())}"}}' for number in range(8)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def bitpress(tmp_path_factory: pytest.TempPathFactory) -> Bitpress:
    """The command line in the home that holds the compressions of this session. Leave its runs as they are."""
    return Bitpress(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture(scope="session")
def pressed(bitpress: Bitpress, tiny: Path) -> Ended:
    """Run 1: FP8."""
    return bitpress("compress", tiny, "--method", "fp8-dynamic", "--json")


@pytest.fixture(scope="session")
def pressed_with_data(bitpress: Bitpress, pressed: Ended, tiny: Path, calibration: Path) -> Ended:
    """Run 2: GPTQ in eight bits, calibrated on a file; noise has no structure that four bits could keep."""
    return bitpress(
        *("compress", tiny, "--method", "smoothquant-gptq-w8a8", "--calibration", calibration),
        *("--samples", 4, "--max-length", 32, "--json"),
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Bitpress:
    """The command line in an empty home."""
    return Bitpress(tmp_path / "home")


@pytest.fixture
def surveyed(fresh: Bitpress, bitpress: Bitpress, pressed: Ended) -> Bitpress:
    """The command line in a home without runs that knows the tiny model's layers already."""
    assert pressed.status == 0
    surveys = Path("cache", "surveys")
    shutil.copytree(bitpress.home / surveys, fresh.home / surveys)
    return fresh


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path | None]]:
    """Mounts a disk of a few megabytes of memory; None where this user may not mount."""
    mounted: list[Path] = []

    def mount(size: str) -> Path | None:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode:
            return None
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def read_only(small_disk: Callable[[str], Path | None], tmp_path: Path) -> Iterator[Path]:
    """A folder that may be read and not written, for root as well."""
    place = small_disk("1m")
    if place is not None:
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place
        return
    place = tmp_path / "read-only"
    place.mkdir()
    place.chmod(0o555)
    if os.geteuid() == 0:
        # Permissions do not hold root back; this attribute does.
        subprocess.run(["chattr", "+i", str(place)], check=True)
    try:
        yield place
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", str(place)], check=True)
        place.chmod(0o755)
