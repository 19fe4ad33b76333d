"""How a worker process is started: its command line, its environment, its priority."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

PASSED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "TMPDIR",
        "TEMP",
        "TMP",
        "SYSTEMROOT",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "OMP_NUM_THREADS",
    }
)
PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "XDG_", "BITPRESS_")

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
"""The worker never uses the network, and its log never waits in a buffer."""

BACKGROUND_NICE = 10
"""Keeps the window fluent on two cores; fewer threads would too, but they change GPTQ's bytes."""


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """What starts a worker. `nice` is added to the priority number of this process (0 to 19)."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    nice: int = 0


def default_launch(*, nice: int = 0, threads: int = 0, environment: Mapping[str, str] = os.environ) -> WorkerLaunch:
    """Start `core.worker` with this interpreter, in an environment without credentials and without the network.

    `threads` above 0 sets the number of torch threads. A frozen build, which has no `-m`, makes its own WorkerLaunch.
    """
    passed = {name: value for name, value in environment.items() if name in PASSED or name.startswith(PASSED_PREFIXES)}
    # CUDA's own order is fastest first; NVML's, which the window shows, is by bus.
    passed.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if threads > 0:
        passed["OMP_NUM_THREADS"] = str(threads)
    return WorkerLaunch(
        # -P: a folder named core in the current folder must not win over ours.
        command=(os.path.abspath(sys.executable), "-P", "-m", "core.worker"),  # noqa: PTH100
        environment=passed | OFFLINE,
        nice=nice,
    )
