from teltonika_processor.processor.batch import (
    READ_MAX_BYTES,
    RECORDS_HARD_MAX,
    BatchLimits,
    BatchPolicy,
)

LIMITS = BatchLimits(frames=400, records=2000, interval_s=0.005)


def warm_policy() -> BatchPolicy:
    policy = BatchPolicy(LIMITS)
    for _ in range(10):
        policy.dispatched(now=100.0, n_entries=400, n_records=400, n_bytes=240_000)
    return policy


def test_the_first_read_after_a_quiet_spell_does_not_wait() -> None:
    policy = BatchPolicy(LIMITS)
    assert policy.wait_s(now=100.0, n_entries=1) == 0.0
    policy.dispatched(now=100.0, n_entries=1, n_records=1, n_bytes=100)
    assert policy.wait_s(now=100.006, n_entries=1) == 0.0


def test_a_trickle_waits_for_the_rest_of_the_interval() -> None:
    policy = BatchPolicy(LIMITS)
    policy.dispatched(now=100.0, n_entries=1, n_records=1, n_bytes=100)
    assert abs(policy.wait_s(now=100.002, n_entries=3) - 0.003) < 1e-9


def test_a_full_read_never_waits() -> None:
    policy = warm_policy()
    assert policy.wait_s(now=100.0, n_entries=399) > 0.0
    assert policy.wait_s(now=100.0, n_entries=400) == 0.0


def test_an_interval_of_zero_never_waits() -> None:
    policy = BatchPolicy(BatchLimits(frames=400, records=2000, interval_s=0.0))
    policy.dispatched(now=100.0, n_entries=1, n_records=1, n_bytes=100)
    assert policy.wait_s(now=100.0, n_entries=1) == 0.0


def test_the_count_starts_small_and_doubles() -> None:
    policy = BatchPolicy(LIMITS)
    counts = []
    for _ in range(7):
        counts.append(policy.read_count())
        policy.dispatched(now=0.0, n_entries=1, n_records=1, n_bytes=100)
    assert counts == [16, 32, 64, 128, 256, 400, 400]


def test_the_count_follows_the_records_of_a_frame() -> None:
    policy = BatchPolicy(LIMITS)
    for _ in range(100):
        policy.dispatched(now=0.0, n_entries=100, n_records=2500, n_bytes=100)
    assert policy.read_count() == 80
    for _ in range(100):
        policy.dispatched(now=0.0, n_entries=100, n_records=100, n_bytes=100)
    assert policy.read_count() == 400


def test_heavy_entries_shrink_the_next_read_at_once() -> None:
    policy = warm_policy()
    policy.dispatched(now=100.0, n_entries=1, n_records=0, n_bytes=READ_MAX_BYTES)
    assert policy.read_count() == 1
    for _ in range(200):
        policy.dispatched(now=100.0, n_entries=1, n_records=1, n_bytes=600)
    assert policy.read_count() == 400


def test_the_count_is_one_at_least() -> None:
    policy = BatchPolicy(BatchLimits(frames=400, records=1, interval_s=0.0))
    for _ in range(100):
        policy.dispatched(now=0.0, n_entries=1, n_records=255, n_bytes=1)
    assert policy.read_count() == 1


def test_a_read_is_cut_into_even_writes() -> None:
    policy = BatchPolicy(LIMITS)
    assert policy.records_per_write(0) == 1
    assert policy.records_per_write(2000) == 2000
    assert policy.records_per_write(2090) == 2090
    assert policy.records_per_write(4100) == 2050
    assert policy.records_per_write(102_000) == 2000


def test_a_write_never_passes_the_hard_bound() -> None:
    policy = BatchPolicy(BatchLimits(frames=400, records=10_000, interval_s=0.0))
    assert policy.records_per_write(14_000) == RECORDS_HARD_MAX
