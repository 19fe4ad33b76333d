"""Facts about the checks of this machine."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.care.check import Check, Outcome, as_text, well
from core.care.doctor import LEAST_PLACE, examine
from core.care.surroundings import (
    EngineFacts,
    Library,
    Place,
    Surroundings,
    TorchFacts,
    ask_torch,
    libraries,
    pins,
    qt_missing,
)
from core.engines.environment import State
from core.errors import Problem
from core.jobs.launch import WorkerLaunch, default_launch
from core.plan.machine import Gpu, Machine

ROOT = Path(__file__).resolve().parents[2]
GPU = Gpu(index=0, name="H200", memory_total=140 * 2**30, memory_free=139 * 2**30, capability=(9, 0))
MACHINE = Machine(
    cpu_name="c", cores=16, memory_total=2**37, memory_available=2**36, no_gpu_reason="No NVIDIA driver was found."
)
SOUND = Surroundings(
    python=(3, 12, 1),
    interpreter="/venv/bin/python",
    machine=MACHINE,
    driver="",
    torch=TorchFacts(version="2.13.0+cpu"),
    torch_said="",
    libraries=(Library("torch", "2.13.0+cpu", ">=2.10,<2.14", True),),
    qt_missing=(),
    display=True,
    places=(Place("Home folder", Path("/h"), 10**12),),
    store=Path("/h/runs.sqlite"),
    store_problem=None,
    leftover_bytes=0,
    engines=(EngineFacts("vllm", State.ABSENT),),
    font=True,
)
SEES = TorchFacts(version="2.13.0", cuda="13.0", available=True, kinds=("sm_80", "sm_90"), devices=(("H200", (9, 0)),))
WITH_GPU = replace(SOUND, machine=MACHINE.model_copy(update={"gpus": (GPU,)}), driver="580.1", torch=SEES)


def check(found: Surroundings, name: str) -> Check:
    return next(one for one in examine(found) if one.name == name)


def test_that_a_workstation_with_all_it_needs_is_well() -> None:
    checks = examine(WITH_GPU)
    assert {one.outcome for one in checks} == {Outcome.OK}
    assert all(not one.advice for one in checks)
    assert "H200" in check(WITH_GPU, "GPU").found
    assert "580.1" in check(WITH_GPU, "GPU").found


def test_that_a_machine_without_a_gpu_gets_advice_and_is_well() -> None:
    assert check(SOUND, "GPU").outcome is Outcome.ATTENTION
    assert check(SOUND, "torch").outcome is Outcome.OK
    assert well(examine(SOUND))


TROUBLE: list[tuple[str, dict[str, Any], Outcome, str]] = [
    ("Python", {"python": (3, 14, 0)}, Outcome.FAILED, "3.11"),
    ("Libraries", {"libraries": (Library("torch", "", ">=2", False),)}, Outcome.FAILED, "make install"),
    ("Libraries", {"libraries": (Library("torch", "3.0", ">=2", False),)}, Outcome.ATTENTION, "may differ"),
    ("Libraries", {"libraries": ()}, Outcome.ATTENTION, "make install"),
    ("torch", {"torch": None, "torch_said": "ImportError: libx.so"}, Outcome.FAILED, "make install"),
    ("torch", {"torch": TorchFacts(version="2.13.0+cpu")}, Outcome.ATTENTION, "build for CUDA"),
    ("torch", {"torch": SEES.model_copy(update={"available": False})}, Outcome.FAILED, "driver"),
    ("torch", {"torch": SEES.model_copy(update={"kinds": ("sm_70",)})}, Outcome.ATTENTION, "names this GPU"),
    ("Memory", {"machine": MACHINE.model_copy(update={"memory_available": 2**30})}, Outcome.ATTENTION, "Close"),
    ("P", {"places": (Place("P", Path("/p"), 10**12, "Read-only file system"),)}, Outcome.FAILED, "permissions"),
    ("P", {"places": (Place("P", Path("/p"), LEAST_PLACE - 1),)}, Outcome.FAILED, "bitpress clean"),
    ("P", {"places": (Place("P", Path("/p"), LEAST_PLACE),)}, Outcome.ATTENTION, "bitpress clean"),
    (
        "List of runs",
        {"store_problem": Problem(code="store-damaged", message="m", hint="h")},
        Outcome.FAILED,
        "--set-store-aside",
    ),
    ("Window", {"qt_missing": ("libxcb-cursor.so.0",)}, Outcome.ATTENTION, "Install"),
    ("Window", {"display": False}, Outcome.ATTENTION, "command line"),
    ("Report", {"font": False}, Outcome.FAILED, "make install"),
    ("Engine vllm", {"engines": (EngineFacts("vllm", State.UNFINISHED),)}, Outcome.ATTENTION, "engine install vllm"),
]


@pytest.mark.parametrize(("name", "changes", "outcome", "advice"), TROUBLE)
def test_that_each_trouble_is_told_with_what_to_do(
    name: str, changes: dict[str, Any], outcome: Outcome, advice: str
) -> None:
    found = check(replace(WITH_GPU, **changes), name)
    assert found.outcome is outcome
    assert advice in found.advice
    assert found.advice in as_text((found,))


def test_that_the_pins_of_the_project_are_what_this_environment_is_held_against() -> None:
    pinned = pins(ROOT / "pyproject.toml")
    assert any(one.startswith("llmcompressor==") for one in pinned)
    found = {one.name: one for one in libraries(pinned)}
    assert found["torch"].fits
    assert found["torch"].found
    other = {one.name: one for one in libraries(("numpy==0.1", "no-such-library>=1", "numpy>=1; python_version<'3'"))}
    assert (other["numpy"].fits, other["no-such-library"].found) == (False, "")


def test_that_torch_is_asked_in_the_worker_s_interpreter_and_its_refusal_is_told(tmp_path: Path) -> None:
    # A torch that says what the real one would, so that the test does not take its import's seconds.
    (tmp_path / "torch.py").write_text(
        "class cuda:\n is_available = staticmethod(lambda: False)\n"
        "class version: cuda = '13.0'\n__version__ = '2.13.0'\n"
    )
    launch = default_launch()
    faked = WorkerLaunch(launch.command, {**launch.environment, "PYTHONPATH": str(tmp_path)})
    assert ask_torch(faked) == (TorchFacts(version="2.13.0", cuda="13.0"), "")
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    facts, said = ask_torch(faked)
    assert facts is None
    assert "libcudart" in said
    missing = WorkerLaunch(("/nowhere/python",), {})
    assert ask_torch(missing)[0] is None


def test_that_libraries_which_the_loader_does_not_find_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "\tlibxcb-cursor.so.0 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said))
    assert qt_missing() == ("libxcb-cursor.so.0",)
