from teltonika_processor.tasks.backoff import Backoff
from teltonika_processor.tasks.ratelimit import RateLimit


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, base_s=0.1, cap_s=5.0)
    assert [backoff.next_s() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.attempts == 8


def test_jitter_takes_up_to_half() -> None:
    assert Backoff(lambda: 0.0, base_s=0.1).next_s() == 0.05


def test_a_week_of_attempts_stays_at_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, cap_s=5.0)
    backoff.attempts = 200_000
    assert backoff.next_s() == 5.0


def test_rate_limit_passes_a_burst_and_counts_the_rest() -> None:
    limit = RateLimit(burst=2, interval_s=10.0)
    assert [limit.admit(now) for now in (0.0, 0.1, 0.2, 0.3, 9.9)] == [0, 0, None, None, None]
    assert limit.admit(10.0) == 3
    assert limit.admit(10.1) == 0
