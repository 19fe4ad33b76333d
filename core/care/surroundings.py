"""What the application finds itself in, as one value, and the reader that fills it. Nothing leaves the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from core.care.known_runs import known_runs
from core.care.leftovers import ground, leftovers
from core.care.store_file import store_problem
from core.engines.environment import Environment, State
from core.engines.offered import engines
from core.errors import Problem
from core.jobs.keep_awake import Sleep, can_stay_awake
from core.jobs.launch import WorkerLaunch
from core.jobs.memory_group import fence
from core.paths import Home
from core.plan.machine import Machine
from core.plan.read_machine import read_machine
from core.telemetry.nvml import open_nvml
from core.value import Received

TORCH_SECONDS = 180.0
"""A cold import of torch from a slow disk."""
PAGE_FONT = "Inter"

_ASK_TORCH = """
import json, torch
found = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__,
    "cuda": torch.version.cuda,
    "available": found,
    "kinds": list(torch.cuda.get_arch_list()) if found else [],
    "devices": [
        [torch.cuda.get_device_name(i), list(torch.cuda.get_device_capability(i))]
        for i in range(torch.cuda.device_count() if found else 0)
    ],
}))
"""


class TorchFacts(Received):
    """What torch says of itself in the worker's environment. `cuda` is None in a build for processors."""

    version: str
    cuda: str | None = None
    available: bool = False
    kinds: tuple[str, ...] = ()
    """GPU kinds that the build holds code for, such as `sm_90`."""
    devices: tuple[tuple[str, tuple[int, int]], ...] = ()
    """Name and compute capability."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library, what is installed of it (empty: nothing) and the versions that were tested."""

    name: str
    found: str
    tested: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is written to; `free` bytes of its disk, None where it cannot be asked. `problem` says why not."""

    title: str
    path: Path
    free: int | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """One serving engine's environment."""

    name: str
    state: State
    version: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything that the checks look at."""

    python: tuple[int, int, int]
    interpreter: str
    machine: Machine
    driver: str
    torch: TorchFacts | None
    torch_said: str
    """The last line of a torch that could not be imported."""
    libraries: tuple[Library, ...]
    qt_missing: tuple[str, ...]
    """System libraries that the window's platform plugin lacks."""
    display: bool
    places: tuple[Place, ...]
    store: Path
    store_problem: Problem | None
    leftover_bytes: int
    engines: tuple[EngineFacts, ...]
    font: bool
    memory_limit: str = ""
    """Of a job's worker, with who keeps it; empty without one."""
    sleep: Sleep | None = None
    """Whether a job would keep this machine awake; None where the settings do not ask for it."""


def read_surroundings(
    home: Home, artifacts: Path | None, launch: WorkerLaunch, project: Path, *, keep_awake: bool = True
) -> Surroundings:
    """Look at everything; seconds, most of them for importing torch in a process of its own.

    `project` is the pyproject.toml that holds the pins where the application runs from a folder without being
    installed.
    """
    torch, said = ask_torch(launch)
    places = (
        _place("Home folder", home.root),
        _place("Compressed models", artifacts or home.artifacts),
        _place("Temporary files", Path(tempfile.gettempdir())),
    )
    where = ground(home, () if artifacts is None else (artifacts,), known_runs(home.store_file))
    nvml = open_nvml()
    try:
        driver = nvml.driver
    finally:
        nvml.close()
    return Surroundings(
        python=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        interpreter=sys.executable,
        machine=read_machine(home.root),
        driver=driver,
        torch=torch,
        torch_said=said,
        libraries=libraries(pins(project)),
        qt_missing=qt_missing(),
        display=sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
        places=places,
        store=home.store_file,
        store_problem=store_problem(home.store_file),
        leftover_bytes=sum(found.bytes for found in leftovers(where)),
        engines=tuple(_engine(name, home) for name in engines()),
        font=_font(),
        memory_limit=_memory_limit(launch),
        sleep=can_stay_awake() if keep_awake else None,
    )


def ask_torch(launch: WorkerLaunch) -> tuple[TorchFacts | None, str]:
    """What torch says in the interpreter and the environment that workers get, or None and its last words."""
    command = [launch.command[0], "-P", "-c", _ASK_TORCH]
    try:
        asked = subprocess.run(
            command, env=dict(launch.environment), capture_output=True, text=True, timeout=TORCH_SECONDS, check=False
        )
        return TorchFacts.model_validate(json.loads(asked.stdout.splitlines()[-1])), ""
    except subprocess.TimeoutExpired:
        return None, f"it did not answer within {TORCH_SECONDS:.0f} s"
    except OSError as error:
        return None, str(error)
    except (ValueError, IndexError):
        lines = asked.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"it ended with status {asked.returncode}"


def pins(project: Path) -> tuple[str, ...]:
    """The requirements that this version was tested with: of the installed package, else of its pyproject.toml."""
    try:
        found = requires("bitpress")
    except PackageNotFoundError:
        found = None
    if found is None and project.is_file():
        import tomllib

        found = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return tuple(found or ())


def libraries(pinned: tuple[str, ...]) -> tuple[Library, ...]:
    """What is installed of each requirement, and whether it is within what was tested."""
    from packaging.requirements import Requirement

    found = []
    for text in pinned:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            have = version(wanted.name)
        except PackageNotFoundError:
            have = ""
        # Of a build such as 2.13.0+cpu the first part is the version.
        fits = bool(have) and wanted.specifier.contains(have.partition("+")[0], prereleases=True)
        found.append(Library(wanted.name, have, str(wanted.specifier), fits))
    return tuple(found)


def qt_missing() -> tuple[str, ...]:
    """System libraries that Qt's X11 plugin asks for and the loader does not find; () where nobody can tell."""
    found = find_spec("PySide6")
    if sys.platform != "linux" or found is None or not found.submodule_search_locations:
        return ()
    plugin = Path(found.submodule_search_locations[0], "Qt", "plugins", "platforms", "libqxcb.so")
    try:
        said = subprocess.run(["ldd", str(plugin)], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(sorted(line.split()[0] for line in said.splitlines() if line.rstrip().endswith("not found")))


def _memory_limit(launch: WorkerLaunch) -> str:
    """Tried out as for a worker; a group that was made for it goes again."""
    kept = fence(launch.memory_limit)
    kept.remove()
    return kept.words


def _place(title: str, path: Path) -> Place:
    """Whether a file can be made there is found out by making one."""
    from core.plan.read_machine import existing_parent
    from core.telemetry.host import disk_free

    problem = ""
    try:
        with tempfile.NamedTemporaryFile(prefix=".bitpress-doctor-", dir=existing_parent(path)) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        problem = error.strerror or str(error)
    return Place(title, path, disk_free(path), problem)


def _engine(name: str, home: Home) -> EngineFacts:
    environment = Environment.of(name, home)
    marker = environment.ready()
    return EngineFacts(name, environment.state(), f"{marker.package} {marker.version}" if marker else "")


def _font() -> bool:
    """Whether typst can be loaded and reads the report's own font."""
    try:
        import typst

        folder = str(files("resources") / "report" / "fonts")
        return PAGE_FONT in typst.Fonts(include_system_fonts=False, font_paths=[folder]).families()
    except (ImportError, OSError, RuntimeError):
        return False
