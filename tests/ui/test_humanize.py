"""Values in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.jobs.protocol import FinishReason
from core.jobs.snapshot import Phase
from ui.humanize import (
    GROUP,
    ago_text,
    bytes_text,
    count_text,
    duration_text,
    memory_pair_text,
    memory_text,
    number_text,
    percent_text,
    phase_text,
)
from ui.tone import Tone


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (269_030_016, "269 MB"),
        (999_600_000, "1.0 GB"),
        (5_700_000_000, "5.7 GB"),
        (2_500_000_000_000, "2.5 TB"),
        (None, "–"),
    ],
)
def test_that_sizes_on_disk_are_decimal(count: int | None, text: str) -> None:
    assert bytes_text(count) == text


def test_that_memory_is_binary() -> None:
    assert memory_text(7 * 2**30) == "7.0 GiB"
    assert memory_text(512 * 2**20) == "512 MiB"
    assert memory_pair_text(17.2 * 2**30, 24 * 2**30) == "17.2 / 24 GiB"
    assert memory_pair_text(1.5 * 2**30, 23.6 * 2**30) == "1.5 / 23.6 GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (12.3, "12 s"),
        (59.7, "1 min"),
        (100, "1 min 40 s"),
        (360, "6 min"),
        (3599, "1 h"),
        (4800, "1 h 20 min"),
        (300_000, "3 days"),
        (None, "–"),
    ],
)
def test_that_durations_get_coarser_as_they_get_longer(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999"), (134_515_008, "134.5 M"), (999_960_000, "1.00 B"), (8_030_000_000, "8.03 B"), (None, "–")],
)
def test_that_counts_have_their_unit(count: int | None, text: str) -> None:
    assert count_text(count) == text


def test_that_percent_never_says_all_or_nothing_too_early() -> None:
    assert percent_text(0.58) == "58 %"
    assert percent_text(0.9999) == "99 %"
    assert percent_text(0.0001) == "1 %"
    assert percent_text(0.9999, 1) == "99.9 %"
    assert (percent_text(0), percent_text(1)) == ("0 %", "100 %")


def test_that_thousands_are_grouped() -> None:
    assert number_text(131072) == f"131{GROUP}072"
    assert number_text(0.0214, 3) == "0.021"


def test_that_the_past_is_told_from_now() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert ago_text(now - timedelta(seconds=20), now) == "just now"
    assert ago_text(now - timedelta(minutes=12), now) == "12 min ago"
    assert ago_text(now - timedelta(hours=3), now) == "3 h ago"
    assert ago_text(now - timedelta(hours=20), now) == "yesterday"
    assert ago_text(now - timedelta(days=3), now) == "3 days ago"
    assert ago_text(now - timedelta(days=30), now) == "23 Oct 2026"


def test_that_a_finished_job_says_why_it_is_over() -> None:
    assert phase_text(Phase.RUNNING) == ("running", Tone.ACCENT)
    assert phase_text(Phase.FINISHED, FinishReason.FAILED) == ("failed", Tone.FAILED)
    assert phase_text(Phase.FINISHED, FinishReason.COMPLETED) == ("done", Tone.DONE)
