"""Sets up and looks at engines' environments, the same way for window and command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from core.engines.environment import Environment, Ready, State
from core.engines.install import Told, import_engine, install
from core.engines.offered import OFFERS, Build, build_for, engines, offer
from core.errors import BitpressError, Problem
from core.jobs.protocol import EnginePlace
from core.paths import Home
from core.value import Value


class EngineState(Value):
    """What there is of one engine; `said` in words."""

    engine: str
    state: State
    said: str
    folder: str
    build: Build | None = None
    version: str = ""
    bytes: int = 0


class EngineCheck(Value):
    """Whether an installed engine can be imported; `problems` may stand beside one that works."""

    engine: str
    working: bool
    build: Build
    versions: dict[str, str]
    problems: tuple[Problem, ...]


def every_engine(home: Home) -> tuple[EngineState, ...]:
    """All engines that can be set up, from their markers alone."""
    return tuple(engine_state(name, home) for name in engines())


def engine_state(name: str, home: Home) -> EngineState:
    """One engine, from its marker alone."""
    environment = Environment.of(name, home)
    state, marker = environment.state(), environment.ready()
    if marker is not None:
        said = f"{marker.package} {marker.version}, Python {marker.python}, {marker.bytes / 1e9:.1f} GB"
    elif state is State.UNFINISHED:
        said = f"not finished; `bitpress engine install {name}` makes it anew"
    else:
        said = f"`bitpress engine install {name}` makes its environment"
    return EngineState(
        engine=name,
        state=state,
        said=said,
        folder=str(environment.root),
        build=marker.build if marker else None,
        version=marker.version if marker else "",
        bytes=marker.bytes if marker else 0,
    )


async def install_engine(home: Home, name: str, build: str = "auto", *, told: Told) -> Ready:
    """Make an engine's environment. Raises BitpressError `unknown-engine`, `unknown-build`, and as `install` does."""
    environment = Environment.of(name, home)
    if build not in ("auto", *Build):
        raise BitpressError("unknown-build", f"There is no build {build!r}.", "Builds are auto, gpu and cpu.")
    chosen = build_for(await asyncio.to_thread(_gpus)) if build == "auto" else Build(build)
    return await install(environment, offer(name, chosen), told)


async def check_installed(home: Home, name: str) -> EngineCheck:
    """Import it, and compare with what was tested. Raises BitpressError `engine-missing`, `engine-unfinished`."""
    environment = Environment.of(name, home)
    marker = environment.needed()
    problems: list[Problem] = []
    versions, working, cuda = dict(marker.versions), True, False
    try:
        imported = await import_engine(environment, name)
        versions, cuda = imported.versions, imported.cuda
    except BitpressError as error:
        working = False
        problems.append(error.problem)
    gpus = await asyncio.to_thread(_gpus)
    tested = next(one for one in OFFERS if one.engine == name and one.build is marker.build)
    found = versions.get(tested.package, "")
    if found != tested.version:
        problems.append(
            Problem(
                code="engine-untested",
                message=f"{tested.package} is {found or 'missing'}; {tested.version} was tested.",
                hint=f"`bitpress engine install {name}` installs the tested one.",
            )
        )
    if marker.build is Build.CPU and gpus:
        problems.append(
            Problem(
                code="engine-without-gpu",
                message="This machine has an NVIDIA GPU, and the build for CPUs is installed.",
                hint=f"`bitpress engine install {name} --build gpu` makes it anew.",
            )
        )
    if working and marker.build is Build.GPU and not cuda:
        working = False
        problems.append(
            Problem(
                code="engine-sees-no-gpu",
                message="The build for GPUs is installed, and it sees no GPU.",
                hint=f"Update the NVIDIA driver, or `bitpress engine install {name} --build cpu`.",
            )
        )
    return EngineCheck(engine=name, working=working, build=marker.build, versions=versions, problems=tuple(problems))


def engine_place(home: Home, name: str) -> EnginePlace:
    """Where a worker finds an installed engine. Raises BitpressError `engine-missing`, `engine-unfinished`."""
    environment = Environment.of(name, home)
    marker = environment.needed()
    return EnginePlace(
        interpreter=str(environment.interpreter),
        home=str(environment.own_home),
        version=marker.version,
        cpu=marker.build is Build.CPU,
    )


def api_key(variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """The key in a variable, empty where none is named. Raises BitpressError `no-api-key`."""
    if not variable:
        return ""
    if not (found := environment.get(variable, "")):
        raise BitpressError(
            "no-api-key", f"The variable {variable} is not set.", "Set it to the server's key, or leave it out."
        )
    return found


def _gpus() -> int:
    from core.telemetry.nvml import read_gpus

    return len(read_gpus()[0])
