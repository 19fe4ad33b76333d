"""Facts about memory and power while a server is measured, with boards that say what a test wants."""

import os
import time
from collections.abc import Collection
from typing import Any

import pytest

from core.engines.readings import Readings
from core.telemetry.nvml import NoNvml
from core.telemetry.sample import GpuSample


class Boards:
    """Two boards; the server holds memory on the second."""

    reason = ""

    def __init__(self, ours: tuple[int | None, int | None] = (0, 5), power: float | None = 100.0) -> None:
        self._ours = ours
        self._power = power

    def read(self, ours: Collection[int] = ()) -> tuple[GpuSample, ...]:
        return tuple(
            GpuSample(index=index, name=f"board {index}", power=self._power, memory_ours=held)
            for index, held in enumerate(self._ours)
        )

    def close(self) -> None:
        pass


def read(boards: Any, **options: Any) -> tuple[Readings, float | None]:
    with Readings(os.getpid(), open_boards=lambda: boards, **options) as readings:
        started = time.perf_counter()
        time.sleep(0.35)
        ended = time.perf_counter()
    energy = readings.joules(started, ended)
    return readings, None if energy is None else energy / (ended - started)


def test_that_the_board_counts_on_which_the_server_is() -> None:
    readings, power = read(Boards())
    assert readings.board_names == ("board 1",)
    assert readings.device_peak == 5
    assert readings.host_peak > 0
    assert power == pytest.approx(100.0)


def test_that_a_chosen_board_counts_alone() -> None:
    assert read(Boards(), gpus=(0,))[0].board_names == ("board 0",)
    assert read(Boards(), gpus=())[0].board_names == ()


def test_that_boards_count_together_where_nobody_says_which_and_the_server_must_be_on_one() -> None:
    assert read(Boards(ours=(0, 0)))[1] is None
    assert read(Boards(ours=(None, None)), all_else=True)[1] == pytest.approx(200.0)


def test_that_a_machine_without_boards_or_power_has_no_energy() -> None:
    assert read(NoNvml("none"))[1] is None
    readings, power = read(Boards(power=None))
    assert (readings.board_names, power) == (("board 1",), None)
