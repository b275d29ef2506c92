"""Quantiles of reply times, 3 % too much at most."""

import pytest

from teltonika_processor.simulate.latency import Latencies


def latencies_of(*seconds: float) -> Latencies:
    latencies = Latencies()
    for one in seconds:
        latencies.count(one)
    return latencies


def test_no_reply_took_no_time() -> None:
    assert (Latencies().quantile_s(0.99), Latencies().max_s) == (0.0, 0.0)


@pytest.mark.parametrize("seconds", [0.0, 31e-6, 64e-6, 0.001, 0.0501, 1.0, 59.0, 3600.0])
def test_one_duration_is_every_quantile(seconds: float) -> None:
    latencies = latencies_of(seconds)
    assert latencies.quantile_s(0.5) == latencies.quantile_s(1.0) == latencies.max_s == seconds


def test_quantiles_split_the_durations() -> None:
    latencies = latencies_of(*(n / 1000 for n in range(1, 1001)))
    assert latencies.n_counted == 1000
    assert 0.5 <= latencies.quantile_s(0.5) <= 0.516
    assert 0.99 <= latencies.quantile_s(0.99) <= 1.0
    assert latencies.quantile_s(1.0) == 1.0


def test_what_takes_longer_than_the_last_bucket_is_counted_there() -> None:
    latencies = latencies_of(1e9)
    assert latencies.quantile_s(0.5) == pytest.approx(2**36 / 1e6)
    assert latencies.max_s == 1e9


def test_what_is_forgotten_is_in_no_quantile() -> None:
    latencies = latencies_of(9.0, 9.0)
    latencies.forget()
    assert (latencies.n_counted, latencies.quantile_s(0.5), latencies.max_s) == (2, 0.0, 0.0)
    latencies.count(0.001)
    assert (latencies.n_counted, latencies.quantile_s(0.5), latencies.max_s) == (3, 0.001, 0.001)
