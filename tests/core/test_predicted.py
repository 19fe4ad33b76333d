from __future__ import annotations

from report_runs import compress_run

from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.plan.estimates import Estimates
from core.plan.predicted import predicted
from core.telemetry.sample import GpuSample, HostSample, Sample
from core.value import Json, Range

EXPECTED = Estimates(
    artifact_bytes=100_000_000,
    device_bytes=Range(value=0, low=0, high=0),
    host_bytes=Range(value=1.2e9, low=1.0e9, high=1.5e9),
    disk_bytes=133_000_000,
    seconds=Range(value=60, low=40, high=90),
    run_bytes=200_000_000,
    basis="From arithmetic; no run of it has ended here yet.",
)


def run(estimates: Estimates | None = EXPECTED, **result: Json) -> Run:
    plain = {"bytes": 100_400_000, "seconds": 75.0, "host_peak_bytes": 1_600_000_000, "disk_bytes": 103_000_000}
    made = compress_run(7, "fp8-dynamic")
    kept = None if estimates is None else estimates.model_dump(mode="json")
    return made.model_copy(update={"settings": {**made.settings, "estimates": kept}, "result": plain | result})


def sample(ours: int) -> Sample:
    host = HostSample(cpu=1.0, memory_used=1, memory_total=2)
    return Sample(time=0.0, host=host, gpus=(GpuSample(index=0, name="GPU", memory_ours=ours),))


def test_that_every_quantity_stands_beside_what_was_expected_of_it():
    rows = {row.quantity: row for row in predicted(run())}
    assert list(rows) == ["size", "time", "host_memory", "disk"]
    assert rows["size"].inside
    assert rows["size"].ratio == 1.004
    assert rows["time"].inside
    assert not rows["host_memory"].inside
    assert rows["disk"].inside


def test_that_a_size_more_than_one_percent_off_is_not_as_expected():
    (size, *_) = predicted(run(bytes=101_100_000))
    assert not size.inside


def test_that_memory_of_a_run_that_left_the_proof_out_is_not_compared():
    assert "host_memory" not in {row.quantity for row in predicted(run(host_peak_bytes=None, peak_bytes=1e9))}


def test_that_the_drivers_figure_goes_before_torchs():
    expected = EXPECTED.model_copy(update={"device_bytes": Range(value=2e9, low=1.5e9, high=3e9)})
    done = run(expected, device_peak_bytes=1_600_000_000)
    (torchs,) = (row for row in predicted(done) if row.quantity == "device_memory")
    (drivers,) = (row for row in predicted(done, (sample(1_700_000_000), sample(2_100_000_000))) if "GPU" in row.title)
    assert torchs.actual == 1_600_000_000
    assert drivers.actual == 2_100_000_000


def test_that_a_run_without_estimates_or_without_an_end_has_nothing_to_compare():
    assert predicted(run(None)) == ()
    assert predicted(run().model_copy(update={"reason": FinishReason.CANCELLED})) == ()
    assert predicted(run().model_copy(update={"settings": {"estimates": {"nonsense": 1}}})) == ()
