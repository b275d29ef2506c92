import pytest

from teltonika_processor.processor.breaker import Breaker, Evidence

CODE = "refused_by_postgres"


def refused(n: int, *, first: int = 1, code: str = CODE) -> list[tuple[int, str]]:
    """Failures of `n` devices, one each."""
    return [(imei, code) for imei in range(first, first + n)]


def opened() -> Breaker:
    """A breaker that opened at 100 s."""
    breaker = Breaker()
    assert breaker.note(20, refused(20), now=100.0) is not None
    assert breaker.is_open
    return breaker


@pytest.mark.parametrize("code", ["decoder_bug", "refused_by_postgres", "unsupported_version"])
def test_twenty_devices_that_fail_for_a_cause_not_theirs_open_it(code: str) -> None:
    breaker = Breaker()
    evidence = breaker.note(20, refused(20, code=code), now=0.0)
    assert evidence == Evidence(n_entries=20, n_devices=20, codes={code: 20})
    assert evidence.n_failed == 20
    assert breaker.is_open


@pytest.mark.parametrize(
    "code", ["crc_mismatch", "truncated", "payload_trimmed", "crashed_processor", "missing_field"]
)
def test_failures_that_are_the_frames_own_never_open_it(code: str) -> None:
    breaker = Breaker()
    for second in range(120):
        assert breaker.note(1000, refused(1000, code=code), now=float(second)) is None
    assert not breaker.is_open


def test_nineteen_devices_do_not_open_it_however_often_they_fail() -> None:
    breaker = Breaker()
    for second in range(50):
        assert breaker.note(19, refused(19), now=float(second)) is None


@pytest.mark.parametrize(("n_entries", "opens"), [(40, True), (41, False)])
def test_half_of_the_entries_have_to_fail(n_entries: int, *, opens: bool) -> None:
    breaker = Breaker()
    assert (breaker.note(n_entries, refused(20), now=0.0) is not None) is opens
    assert breaker.is_open is opens


def test_devices_of_several_batches_count_together_and_each_once() -> None:
    breaker = Breaker()
    assert breaker.note(10, refused(10), now=0.0) is None
    assert breaker.note(10, refused(10), now=10.0) is None
    evidence = breaker.note(10, refused(10, first=11, code="decoder_bug"), now=20.0)
    assert evidence == Evidence(30, 20, {"decoder_bug": 10, "refused_by_postgres": 20})


def test_only_the_last_sixty_seconds_count() -> None:
    breaker = Breaker()
    assert breaker.note(10, refused(10), now=0.0) is None
    assert breaker.note(10, refused(10, first=11), now=60.0) is None
    assert breaker.note(10, refused(10, first=1), now=119.9) is not None


def test_good_entries_of_a_minute_ago_do_not_keep_it_shut() -> None:
    breaker = Breaker()
    assert breaker.note(10_000, [], now=0.0) is None
    assert breaker.note(20, refused(20), now=59.9) is None
    assert breaker.note(0, [], now=60.0) is None  # nothing failed now
    assert breaker.note(1, refused(1), now=60.5) is not None


def test_nothing_opens_it_but_a_failure() -> None:
    breaker = Breaker()
    assert breaker.note(100, refused(20), now=0.0) is None
    assert breaker.note(0, [], now=30.0) is None
    assert not breaker.is_open


def test_it_opens_once() -> None:
    breaker = opened()
    assert breaker.note(50, refused(50), now=101.0) is None


def test_a_probe_is_due_every_ten_seconds() -> None:
    breaker = opened()
    assert breaker.wait_s(now=100.0) == 10.0
    assert breaker.wait_s(now=108.0) == 2.0
    assert breaker.wait_s(now=111.0) == 0.0
    assert breaker.probed(stored=False, now=112.0) is None
    assert breaker.is_open
    assert breaker.wait_s(now=112.0) == 10.0


def test_a_probe_that_is_stored_closes_it_and_says_how_long_it_was_open() -> None:
    breaker = opened()
    assert breaker.probed(stored=False, now=110.0) is None
    assert breaker.probed(stored=True, now=120.0) == 20.0
    assert not breaker.is_open
    assert breaker.probes == 2


def test_what_opened_it_is_forgotten_when_it_closes() -> None:
    breaker = opened()
    breaker.probed(stored=True, now=110.0)
    assert breaker.note(1, refused(1), now=110.5) is None
    assert breaker.note(20, refused(20, first=2), now=111.0) is not None
    assert breaker.probes == 0


def test_a_probe_of_a_closed_breaker_changes_nothing() -> None:
    assert Breaker().probed(stored=True, now=5.0) is None


def test_what_it_remembers_is_bounded() -> None:
    breaker = Breaker()
    for tenth in range(700):
        breaker.note(5000, refused(1100, first=tenth), now=tenth / 10)
    assert len(breaker._slices) <= 61
    assert all(len(part.devices) <= 1000 for part in breaker._slices)
