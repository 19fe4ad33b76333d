from core.telemetry.sample import GpuSample, HostSample, Sample
from ui.widgets.telemetry_series import TelemetrySeries, gpu_of


def sample(*gpus: GpuSample) -> Sample:
    return Sample(time=1.0, host=HostSample(cpu=1.0, memory_used=1, memory_total=2), gpus=gpus)


def test_that_a_missing_reading_stays_a_gap() -> None:
    series = TelemetrySeries(2)
    series.append(0.0, (1.0, None))
    series.append(1.0, (None, None))
    assert series.columns() == ([0.0, 1.0], ([1.0, None], [None, None]))


def test_that_a_day_of_readings_is_bounded_and_keeps_its_peak() -> None:
    series = TelemetrySeries(1, most=100)
    for second in range(86_400):
        series.append(float(second), (99.0 if second == 40_001 else 1.0,))
    seconds, (values,) = series.columns()
    assert len(seconds) <= 201
    assert max(value or 0.0 for value in values) == 99.0
    assert seconds == sorted(seconds)
    assert seconds[-1] == 86_399.0


def test_that_a_clock_set_back_does_not_draw_backwards() -> None:
    series = TelemetrySeries(1)
    series.append(5.0, (1.0,))
    series.append(3.0, (2.0,))
    assert series.columns() == ([5.0], ([1.0],))


def test_that_the_gpu_of_the_job_is_drawn_among_several() -> None:
    first = GpuSample(index=0, name="a", memory_used=20)
    second = GpuSample(index=1, name="b", memory_used=10, memory_ours=9)
    assert gpu_of((sample(first, second),)) == 1
    assert gpu_of((sample(first),)) == 0
    assert gpu_of((sample(),)) is None
