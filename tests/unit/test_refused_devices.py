import pytest

from teltonika_processor.gateway import refused
from teltonika_processor.gateway.refused import RefusedDevices
from teltonika_processor.store.admission import Refusal

NOW_MS = 1_790_000_000_000
IMEI = 356307042441013
OTHER = 490154203237518
MISTYPED = IMEI + 1


def test_who_was_refused_is_watched_for_a_minute_after_the_last_time() -> None:
    devices = RefusedDevices()
    devices.note(IMEI, NOW_MS)
    devices.note(OTHER, NOW_MS + 1)
    devices.note(IMEI, NOW_MS + 30_000)
    assert devices.watched(NOW_MS + 60_000) == [OTHER, IMEI]
    assert devices.watched(NOW_MS + 60_001) == [IMEI]
    assert devices.watched(NOW_MS + 89_999) == [IMEI]
    assert devices.watched(NOW_MS + 90_000) == []
    assert devices.n_refused == 3


def test_who_is_let_in_is_watched_no_more() -> None:
    devices = RefusedDevices()
    devices.note(IMEI, NOW_MS)
    devices.forget([IMEI, OTHER])
    assert devices.watched(NOW_MS) == []


def test_those_refused_longest_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "WATCHED_MAX", 3)
    devices = RefusedDevices()
    for imei in (1, 2, 3, 1, 4):
        devices.note(imei, NOW_MS)
    assert devices.watched(NOW_MS) == [3, 1, 4]


def test_an_unknown_device_gets_a_row_that_says_when_it_was_seen() -> None:
    devices = RefusedDevices()
    devices.note(IMEI, NOW_MS)
    devices.note(IMEI, NOW_MS + 400)
    refusals = devices.to_record({}, now_s=0.0)
    assert refusals == [Refusal(IMEI, NOW_MS, NOW_MS + 400)]
    devices.recorded(refusals, {})
    assert devices.n_rows_made == 1
    assert devices.to_record({IMEI: False}, now_s=1.0) == []


def test_a_row_is_touched_once_a_minute_while_the_device_comes_again() -> None:
    devices = RefusedDevices()
    known = {IMEI: False}
    devices.note(IMEI, NOW_MS)
    refusals = devices.to_record(known, now_s=0.0)
    devices.recorded(refusals, known)
    devices.note(IMEI, NOW_MS + 59_999)
    assert devices.to_record(known, now_s=59.9) == []
    devices.note(IMEI, NOW_MS + 60_000)
    assert devices.to_record(known, now_s=60.0) == [Refusal(IMEI, NOW_MS, NOW_MS + 60_000)]
    assert devices.n_rows_made == 0


def test_what_could_not_be_written_is_tried_again() -> None:
    devices = RefusedDevices()
    devices.note(IMEI, NOW_MS)
    assert devices.to_record({}, now_s=0.0) == devices.to_record({}, now_s=60.0) != []


def test_a_number_without_its_check_digit_is_counted_once_and_gets_no_row() -> None:
    devices = RefusedDevices()
    devices.note(MISTYPED, NOW_MS)
    assert devices.to_record({}, now_s=0.0) == devices.to_record({}, now_s=1.0) == []
    assert devices.n_without_check_digit == 1
    assert devices.watched(NOW_MS) == [MISTYPED]


def test_a_row_that_is_there_is_touched_whatever_its_last_digit() -> None:
    devices = RefusedDevices()
    devices.note(MISTYPED, NOW_MS)
    (refusal,) = devices.to_record({MISTYPED: False}, now_s=0.0)
    assert refusal.imei == MISTYPED
    assert devices.n_without_check_digit == 0


def test_so_many_rows_are_made_in_a_minute_and_the_rest_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refused, "ROWS_PER_MINUTE", 2)
    devices = RefusedDevices()
    sound = [356307042441013, 490154203237518, 352093081452251, 0]
    for imei in sound:
        devices.note(imei, NOW_MS)
    first = devices.to_record({}, now_s=0.0)
    devices.recorded(first, {})
    assert [one.imei for one in first] == sound[:2]
    known = dict.fromkeys(sound[:2], False)
    assert devices.to_record(known, now_s=59.0) == []
    assert devices.n_held_back == 2
    assert [one.imei for one in devices.to_record(known, now_s=60.0)] == sound[2:]
    assert devices.n_held_back == 2


def test_no_rows_are_made_once_there_are_many_that_nobody_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refused, "UNASKED_ROWS_MAX", 10)
    devices = RefusedDevices()
    devices.table_seen(n_unasked=9)
    devices.note(IMEI, NOW_MS)
    first = devices.to_record({}, now_s=0.0)
    assert len(first) == 1
    devices.recorded(first, {})
    devices.note(OTHER, NOW_MS)
    assert devices.to_record({IMEI: False}, now_s=1.0) == []
    assert devices.n_held_back == 1
    devices.table_seen(n_unasked=3)
    assert [one.imei for one in devices.to_record({IMEI: False}, now_s=2.0)] == [OTHER]
