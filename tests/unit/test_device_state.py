"""What earlier commits said of each device, and what that spares Postgres."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

import teltonika_processor as tp
from telemetry import BASE_MS, IMEI, RECEIVED_MS, frame_at, record
from teltonika_processor.codec.native import DecodedBatch, DeviceState, Rows, decode_entries

OTHER = 356_307_042_441_014
DAY_MS = 86_400_000
# Suspect as received at RECEIVED_MS, sane as received a millisecond later.
AHEAD_MS = RECEIVED_MS + DAY_MS + 1

Found = tuple[int, int, int, float, float]


def batch_of(*frames: bytes, imei: int = IMEI, received_at_ms: int = RECEIVED_MS) -> DecodedBatch:
    received = str(received_at_ms).encode()
    fields = [b"imei", f"{imei:015d}".encode(), b"received_at_ms", received, b"frame"]
    return decode_entries([[received + b"-0", [*fields, frame]] for frame in frames])


def batch_from(*imeis: int) -> DecodedBatch:
    """One frame of one record of each device."""
    fields = [b"frame", frame_at(BASE_MS), b"imei"]
    return decode_entries([[b"1-0", [*fields, f"{imei:015d}".encode()]] for imei in imeis])


def hydrated(batch: DecodedBatch, *found: Found, devices_max: int = 10) -> DeviceState:
    state = DeviceState(devices_max)
    state.hydrate(state.cold(batch), found)
    return state


def counts(rows: Rows) -> tuple[int, int, int]:
    """Storable records, rows, and retransmitted records."""
    return (rows.n_records, rows.n_rows, rows.n_retransmitted)


def n_newest(rows: Rows) -> int:
    return rows.copy_last_positions().n_rows


def test_only_devices_with_a_record_that_are_not_held_are_cold() -> None:
    state = DeviceState(10)
    assert state.cold(batch_from(9, 3, 9, 5)) == [3, 5, 9]
    state.hydrate([3, 9], [])
    assert state.cold(batch_from(9, 3, 9, 5)) == [5]
    assert state.cold(batch_of(b"damaged", tp.encode_frame([])), 0, 1) == []
    assert (state.hits, state.misses) == (2, 4)


def test_cold_looks_at_the_entries_asked_for() -> None:
    batch, state = batch_from(1, 2, 3, 4), DeviceState(10)
    assert state.cold(batch, 1, 3) == [2, 3]
    assert state.cold(batch, 3) == [4]
    with pytest.raises(ValueError, match=r"stop is 5, expected 0 to 4"):
        state.cold(batch, 0, 5)


def test_a_committed_frame_that_comes_again_makes_no_rows() -> None:
    batch = batch_of(frame_at(BASE_MS, BASE_MS + 1000))
    state = hydrated(batch)
    rows = batch.rows(state=state)
    assert counts(rows) == (2, 2, 0)
    assert counts(batch.rows(state=state)) == (2, 2, 0), "nothing is known before the commit"
    state.committed(rows)
    again = batch.rows(state=state)
    assert counts(again) == (2, 0, 2)
    assert (again.days, again.imeis, list(again.entry)) == ([], [], [])
    assert (again.copy_positions().n_rows, n_newest(again)) == (0, 0)
    assert counts(batch.rows()) == (2, 2, 0)


def test_retransmitted_frames_go_and_the_others_of_the_batch_stay() -> None:
    old, new = frame_at(BASE_MS), frame_at(BASE_MS + 1000, BASE_MS + 2000)
    state = hydrated(batch_of(old))
    state.committed(batch_of(old).rows())
    rows = batch_of(new, old, old).rows(state=state)
    assert counts(rows) == (4, 2, 2)
    assert list(rows.recorded_at_ms) == [1_790_000_001_000, 1_790_000_002_000]


def test_four_frames_of_a_device_are_remembered() -> None:
    frames = [frame_at(BASE_MS + n) for n in range(5)]
    state = hydrated(batch_of(*frames))
    for frame in frames:
        state.committed(batch_of(frame).rows(state=state))
    retransmitted = [batch_of(frame).rows(state=state).n_retransmitted for frame in frames]
    assert retransmitted == [0, 1, 1, 1, 1]


def test_of_a_device_that_is_not_held_nothing_is_left_out_or_learnt() -> None:
    batch, state = batch_of(frame_at(BASE_MS)), DeviceState(10)
    state.committed(batch.rows(state=state))
    rows = batch.rows(state=state)
    assert (counts(rows), n_newest(rows)) == ((1, 1, 0), 1)
    assert (state.holds(IMEI), state.n_devices) == (False, 0)


def test_a_sane_copy_of_a_frame_that_was_suspect_is_let_through() -> None:
    frame = frame_at(AHEAD_MS)
    suspect, sane = batch_of(frame), batch_of(frame, received_at_ms=RECEIVED_MS + 1)
    state = hydrated(suspect)
    state.committed(suspect.rows(state=state))
    assert counts(suspect.rows(state=state)) == (1, 1, 0)
    rows = sane.rows(state=state)
    assert (counts(rows), rows.n_suspect, n_newest(rows)) == ((1, 1, 0), 0, 1)
    state.committed(rows)
    assert counts(sane.rows(state=state)) == (1, 0, 1)


def test_a_suspect_copy_of_a_frame_that_was_sane_is_left_out() -> None:
    frame = frame_at(AHEAD_MS)
    suspect, sane = batch_of(frame), batch_of(frame, received_at_ms=RECEIVED_MS + 1)
    state = hydrated(sane)
    state.committed(sane.rows(state=state))
    assert counts(suspect.rows(state=state)) == (1, 0, 1)


def test_one_suspect_record_lets_the_whole_frame_through_again() -> None:
    batch = batch_of(frame_at(BASE_MS, AHEAD_MS))
    state = hydrated(batch)
    state.committed(batch.rows(state=state))
    assert counts(batch.rows(state=state)) == (2, 2, 0)


def test_a_rejected_entry_is_not_remembered_though_its_records_are_stored() -> None:
    batch = batch_of(frame_at(BASE_MS, 9_224_318_016_000_000))
    assert [code for _, code, _, _ in batch.rejects()] == ["timestamp_out_of_range"]
    state = hydrated(batch)
    state.committed(batch.rows(state=state))
    assert counts(batch.rows(state=state)) == (1, 1, 0)
    assert state.position(IMEI) is not None


def test_a_fix_that_does_not_beat_the_committed_one_is_no_last_position() -> None:
    frames = [frame_at(BASE_MS + n) for n in range(3)]
    state = hydrated(batch_of(*frames))
    state.committed(batch_of(frames[1]).rows(state=state))
    rows = [batch_of(frame).rows(state=state) for frame in frames]
    assert [one.n_rows for one in rows] == [1, 0, 1]
    assert [n_newest(one) for one in rows] == [0, 0, 1]


def test_of_one_millisecond_the_greater_signed_digest_wins() -> None:
    twins = [frame_at(BASE_MS, altitude_m=metres) for metres in range(16)]
    by_digest = {batch_of(frame).rows().digest[0]: frame for frame in twins}
    lowest, highest = min(by_digest), max(by_digest)
    assert lowest < 0 < highest, "as unsigned numbers they are the other way round"
    state = hydrated(batch_of(*twins))
    state.committed(batch_of(by_digest[lowest]).rows(state=state))
    rows = batch_of(by_digest[highest]).rows(state=state)
    assert n_newest(rows) == 1
    state.committed(rows)
    assert state.position(IMEI) == (1_790_000_000_000_000, highest, 25.2798, 54.6872)
    others = [frame for digest, frame in by_digest.items() if digest not in (lowest, highest)]
    assert n_newest(batch_of(*others).rows(state=state)) == 0


def test_what_last_position_has_is_compared_in_microseconds() -> None:
    batch = batch_of(frame_at(BASE_MS))
    digest = batch.rows().digest[0]
    recorded_at_us = 1_790_000_000_000_000
    for found, wins in [
        ((recorded_at_us - 1, 2**63 - 1), 1),
        ((recorded_at_us, digest - 1), 1),
        ((recorded_at_us, digest), 0),
        ((recorded_at_us, digest + 1), 0),
        ((recorded_at_us + 1, -(2**63)), 0),
    ]:
        state = hydrated(batch, (IMEI, *found, 25.2798, 54.6872))
        rows = batch.rows(state=state)
        assert (rows.n_rows, n_newest(rows)) == (1, wins), found


def test_a_held_device_without_a_last_position_gets_its_first() -> None:
    batch = batch_of(frame_at(BASE_MS))
    state = hydrated(batch)
    assert (state.holds(IMEI), state.position(IMEI)) == (True, None)
    assert n_newest(batch.rows(state=state)) == 1


def test_records_without_a_fix_or_with_a_suspect_clock_move_no_device() -> None:
    frame = tp.encode_frame([record(BASE_MS, satellites=0), record(AHEAD_MS)])
    state = hydrated(batch_of(frame))
    state.committed(batch_of(frame).rows(state=state))
    assert state.position(IMEI) is None


def test_a_look_older_than_a_commit_does_not_lower_the_position() -> None:
    batch = batch_of(frame_at(BASE_MS))
    state = hydrated(batch)
    state.committed(batch.rows(state=state))
    committed = state.position(IMEI)
    state.hydrate([IMEI], [(IMEI, 1_789_000_000_000_000, 1, 0.0, 0.0)])
    state.hydrate([IMEI], [])
    assert state.position(IMEI) == committed
    state.hydrate([IMEI], [(IMEI, 1_790_000_000_000_001, 1, -180.0, -90.0)])
    assert state.position(IMEI) == (1_790_000_000_000_001, 1, -180.0, -90.0)


def test_a_dropped_device_is_cold_and_what_was_known_of_it_is_gone() -> None:
    batch = batch_of(frame_at(BASE_MS))
    state = hydrated(batch)
    state.committed(batch.rows(state=state))
    assert (state.drop(IMEI), state.drop(IMEI), state.drop(OTHER)) == (True, False, False)
    assert state.cold(batch) == [IMEI]
    state.hydrate([IMEI], [])
    assert (counts(batch.rows(state=state)), state.position(IMEI)) == ((1, 1, 0), None)


def test_clearing_forgets_every_device_and_keeps_the_counts() -> None:
    state = hydrated(batch_from(1, 2, 3), devices_max=2)
    state.clear()
    assert (state.n_devices, state.n_bytes) == (0, 0)
    assert (state.hits, state.misses, state.evictions) == (0, 3, 1)


def test_who_has_not_sent_for_longest_is_forgotten_first() -> None:
    state = hydrated(batch_from(1, 2), devices_max=2)
    state.cold(batch_from(1))
    state.hydrate([3], [])
    assert [state.holds(imei) for imei in (1, 2, 3)] == [True, False, True]
    assert (state.n_devices, state.evictions) == (2, 1)


def test_a_batch_of_more_devices_than_are_held_is_stored_whole() -> None:
    batch = batch_from(*range(1, 10))
    state = hydrated(batch, devices_max=2)
    for _ in range(2):
        rows = batch.rows(state=state)
        assert rows.n_rows + rows.n_retransmitted == 9
        assert rows.n_rows >= 7
        state.committed(rows)
        state.hydrate(state.cold(batch), [])
    assert state.n_devices == 2


def test_a_device_that_was_found_but_not_asked_for_is_the_callers_bug() -> None:
    state = DeviceState(10)
    with pytest.raises(ValueError, match="not asked for"):
        state.hydrate([1], [(1, 5, 5, 0.0, 0.0), (2, 5, 5, 0.0, 0.0)])
    with pytest.raises(OverflowError):
        state.hydrate([1, 2**63], [])
    assert state.n_devices == 0


@pytest.mark.parametrize("devices_max", [0, -1, 10_000_001, 2**70])
def test_the_number_of_devices_has_bounds(devices_max: int) -> None:
    with pytest.raises(ValueError, match=f"devices_max is {devices_max}, expected 1 to 10000000"):
        DeviceState(devices_max)


def test_frames_alone_say_no_device() -> None:
    with pytest.raises(ValueError, match="decode_entries"):
        DeviceState(1).cold(tp.decode_batch([frame_at(BASE_MS)]))


def newest_in(rows: Rows) -> list[Found]:
    """What the rows send to `last_position`, read by hand."""
    copy, n_bytes = bytes(memoryview(rows.copy_last_positions())), 116
    assert (len(copy) - 21) % n_bytes == 0
    read = []
    for at in range(19, len(copy) - 2, n_bytes):
        _, _, imei, _, postgres_us, _, digest, _, _, _, longitude, _, latitude = struct.unpack_from(
            ">hiqiqiqiqidid", copy, at
        )
        read.append((imei, postgres_us + 946_684_800_000_000, digest, longitude, latitude))
    return read


def after_restart(batches: Sequence[DecodedBatch], *, before: int) -> tuple[dict[int, Found], int]:
    """Fold batches; what `last_position` then has, and how many rows were written to it."""
    state, n_upserts = DeviceState(10), 0
    last_position: dict[int, Found] = {}
    for index, batch in enumerate(batches):
        if index == before:
            state = DeviceState(10)
        cold = state.cold(batch)
        state.hydrate(cold, [last_position[imei] for imei in cold if imei in last_position])
        rows = batch.rows(state=state)
        for found in newest_in(rows):
            n_upserts += 1
            imei = found[0]
            last_position[imei] = max(last_position.get(imei, found), found)
        state.committed(rows)
        for imei in batch.imei:
            assert state.position(imei) == last_position[imei][1:]
    return last_position, n_upserts


def test_state_after_a_restart_equals_state_without_it() -> None:
    batches = [
        batch_of(frame_at(BASE_MS + 5000)),
        batch_of(frame_at(BASE_MS + 9000, longitude_e7=-1, latitude_e7=5), imei=OTHER),
        batch_of(frame_at(BASE_MS + 4000)),
        batch_of(frame_at(BASE_MS + 5000), frame_at(BASE_MS + 4500)),
        batch_of(frame_at(BASE_MS + 8000), imei=OTHER),
    ]
    expected = {
        IMEI: (IMEI, 1_790_000_005_000_000, -8_445_597_636_772_230_575, 25.2798, 54.6872),
        OTHER: (OTHER, 1_790_000_009_000_000, 7_167_521_107_498_112_277, -1e-07, 5e-07),
    }
    for before in range(6):
        assert after_restart(batches, before=before) == (expected, 2)


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_million_devices_take_less_than_150_mb() -> None:
    state = DeviceState(1_000_000)
    before = rss_bytes()
    for first in range(0, 1_000_000, 1000):
        imeis = range(350_000_000_000_000 + first, 350_000_000_001_000 + first)
        found = [(imei, 1_790_000_000_000_000, imei, 25.0, 54.0) for imei in imeis]
        state.hydrate(imeis, found)
    grown = rss_bytes() - before
    assert state.n_devices == 1_000_000
    assert 80_000_000 < state.n_bytes < 150_000_000
    assert 80_000_000 < grown < 150_000_000
