"""How a worker process is started: its command line, its environment, its priority."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from core.models.own_code import TrustedCode

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
        "LOGNAME",
        "TZ",
        "SSL_CERT_FILE",
    }
)
PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "XDG_", "BITPRESS_", "OMP_", "MKL_")
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
"""In names that stay behind whatever they begin with: NVIDIA_API_KEY is one."""

PARENT_VARIABLE = "BITPRESS_WORKER_PARENT"
"""Where a worker finds the process id of whoever started it."""

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The hub's library would read the token from its file otherwise.
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    # Threads sleep while they wait for each other. Spinning on two cores beside any other busy program (the window, a
    # browser) made a model's step up to thirteen times slower on the starter model; results stay the same.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""The worker never uses the network, its log never waits in a buffer, and its threads leave the desktop alone."""

BACKGROUND_NICE = 10
"""Keeps the window fluent on two cores; fewer threads would too, but they change GPTQ's bytes."""


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """What starts a worker. `nice` is added to the priority number of this process (0 to 19).

    A worker that holds more than `memory_limit` bytes, its children's included, is ended. Every command to it may run
    `code` that came with models, and no other.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    nice: int = 0
    memory_limit: int | None = None
    code: tuple[TrustedCode, ...] = ()


def default_launch(
    *,
    nice: int = 0,
    threads: int = 0,
    memory_limit: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> WorkerLaunch:
    """Start `core.worker` with this interpreter, in an environment without credentials and without the network.

    `threads` above 0 sets the number of torch threads. A frozen build, which has no `-m`, makes its own WorkerLaunch.
    """
    passed = {
        name: value
        for name, value in environment.items()
        if (name in PASSED or name.startswith(PASSED_PREFIXES)) and not SECRET.search(name)
    }
    # CUDA's own order is fastest first; NVML's, which the window shows, is by bus.
    passed.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if threads > 0:
        passed["OMP_NUM_THREADS"] = str(threads)
    return WorkerLaunch(
        # -P: a folder named core in the current folder must not win over ours.
        command=(os.path.abspath(sys.executable), "-P", "-m", "core.worker"),  # noqa: PTH100
        environment=passed | OFFLINE,
        nice=nice,
        memory_limit=memory_limit,
    )
