"""`decode_entries`: stream entries of version 1 to columns, each fault with its code."""

import sys
from typing import Any

import pytest

import teltonika_processor as tp
from teltonika_processor.codec.native import DecodedBatch, decode_entries

RECORD: dict[str, Any] = {"recorded_at_ms": 1_560_161_136_000, "satellites": 9, "io": {21: 3}}
FRAME = tp.encode_frame([RECORD, RECORD | {"satellites": 8}])
IMEI = b"356307042441013"
FIELDS = {b"imei": IMEI, b"frame": FRAME}
STORABLE_UNTIL_MS = 9_224_318_016_000_000


def entry(fields: dict[bytes, bytes], entry_id: bytes = b"1700000000000-0") -> list[Any]:
    return [entry_id, [part for pair in fields.items() for part in pair]]


def decoded(fields: dict[bytes, bytes], entry_id: bytes = b"1700000000000-0") -> DecodedBatch:
    return decode_entries([entry(fields, entry_id)])


def codes(batch: DecodedBatch) -> list[str]:
    return [code for _, code, _, _ in batch.rejects()]


def test_an_entry_gives_its_records_its_device_and_its_receive_time() -> None:
    batch = decoded(FIELDS | {b"received_at_ms": b"1700000000123", b"v": b"1"})
    assert codes(batch) == []
    assert list(batch.satellites) == [9, 8]
    assert list(batch.imei) == [356_307_042_441_013]
    assert list(batch.received_at_ms) == [1_700_000_000_123]


def test_fields_stand_in_any_order_and_unknown_ones_are_ignored() -> None:
    batch = decoded({b"gateway": b"a", b"frame": FRAME, b"\xff": b"", b"imei": IMEI})
    assert (codes(batch), batch.n_records) == ([], 2)


def test_tuples_serve_as_well_as_lists() -> None:
    batch = decode_entries(((b"1-0", (b"imei", IMEI, b"frame", FRAME)),))
    assert (codes(batch), batch.n_records) == ([], 2)


def test_udp_carries_the_avl_packet_alone() -> None:
    batch = decoded({b"imei": IMEI, b"frame": FRAME[8:-4], b"transport": b"udp"})
    assert (codes(batch), batch.n_records) == ([], 2)


@pytest.mark.parametrize("fields", [None, [], ()])
def test_an_entry_without_fields_was_trimmed(fields: object) -> None:
    batch = decode_entries([[b"1700000000000-0", fields]])
    assert codes(batch) == ["payload_trimmed"]
    assert list(batch.received_at_ms) == [1_700_000_000_000]


@pytest.mark.parametrize("field", [b"imei", b"frame"])
def test_a_missing_field_is_named(field: bytes) -> None:
    batch = decoded({name: value for name, value in FIELDS.items() if name != field})
    assert batch.rejects() == [
        (0, "missing_field", 0, f"the entry has no field {field.decode()}"),
    ]


@pytest.mark.parametrize(
    "imei", [b"", b"35630704244101", b"3563070424410133", b"35630704244101x", b"+56307042441013"]
)
def test_an_imei_is_15_digits_and_is_never_shown(imei: bytes) -> None:
    batch = decoded(FIELDS | {b"imei": imei})
    text = f"{len(imei)} byte(s) that are not an IMEI, expected 15 ASCII digits"
    assert batch.rejects() == [(0, "bad_imei", 0, text)]
    assert list(batch.imei) == [0]


@pytest.mark.parametrize(
    ("field", "value"),
    [(b"v", b"2"), (b"v", b""), (b"v", b"01"), (b"transport", b"mqtt"), (b"transport", b"TCP")],
)
def test_a_later_contract_is_refused_before_anything_else_is_read(
    field: bytes, value: bytes
) -> None:
    assert codes(decoded({field: value})) == ["unsupported_version"]


def test_an_imei_is_known_though_the_frame_is_missing_or_bad() -> None:
    batch = decode_entries([entry({b"imei": IMEI}), entry(FIELDS | {b"frame": FRAME[:-1]})])
    assert codes(batch) == ["missing_field", "truncated"]
    assert list(batch.imei) == [356_307_042_441_013] * 2


@pytest.mark.parametrize(
    "received",
    [
        *(b"", b"0", b"-5", b"+1700000000123", b"soon", b"9" * 30),
        *(b"1700000000", b"1262303999999", b"1700086400778"),
    ],
)
def test_an_implausible_receive_time_gives_way_to_the_entry_id(received: bytes) -> None:
    batch = decoded(FIELDS | {b"received_at_ms": received}, b"1700000000777-12")
    assert codes(batch) == []
    assert list(batch.received_at_ms) == [1_700_000_000_777]


@pytest.mark.parametrize("received", [b"1262304000000", b"1700086400777"])
def test_a_receive_time_from_2010_until_a_day_behind_the_entry_id_is_kept(received: bytes) -> None:
    batch = decoded(FIELDS | {b"received_at_ms": received}, b"1700000000777-12")
    assert list(batch.received_at_ms) == [int(received)]


def test_a_gateway_that_writes_seconds_makes_no_clock_suspect() -> None:
    fields = FIELDS | {b"received_at_ms": b"1560161137"}
    assert decoded(fields, b"1560161137000-0").rows().n_suspect == 0


def test_a_missing_field_is_named_before_a_bad_one() -> None:
    assert codes(decoded({b"imei": b"x"})) == ["missing_field"]


def test_a_made_up_entry_id_gives_a_time_of_the_year_9999_at_most() -> None:
    batch = decoded(FIELDS, b"18446744073709551615-1")
    assert list(batch.received_at_ms) == [253_402_300_799_999]


def test_a_time_that_postgres_cannot_hold_flags_the_entry_and_keeps_its_records() -> None:
    late = RECORD | {"recorded_at_ms": STORABLE_UNTIL_MS}
    frame = tp.encode_frame([RECORD, late])
    batch = decode_entries([entry(FIELDS), entry(FIELDS | {b"frame": frame})])
    [(index, code, offset, _)] = batch.rejects()
    assert (index, code) == (1, "timestamp_out_of_range")
    assert int.from_bytes(frame[offset : offset + 8]) == STORABLE_UNTIL_MS
    assert list(batch.record_offsets) == [0, 2, 4]


def test_the_last_millisecond_that_postgres_holds_is_not_flagged() -> None:
    last = RECORD | {"recorded_at_ms": STORABLE_UNTIL_MS - 1}
    assert codes(decoded(FIELDS | {b"frame": tp.encode_frame([last])})) == []


def test_frames_alone_are_not_judged_by_what_postgres_holds() -> None:
    late = tp.encode_frame([RECORD | {"recorded_at_ms": 2**64 - 1}])
    batch = tp.decode_batch([late])
    assert (batch.n_rejected, list(batch.recorded_at_ms)) == (0, [2**64 - 1])


def test_rejects_of_entries_and_of_times_come_in_input_order() -> None:
    late = tp.encode_frame([RECORD | {"recorded_at_ms": STORABLE_UNTIL_MS}])
    entries = [entry(FIELDS | {b"frame": late}), [b"1-1", None], entry(FIELDS | {b"frame": b""})]
    rejects = decode_entries(entries).rejects()
    assert [(index, code) for index, code, _, _ in rejects] == [
        (0, "timestamp_out_of_range"),
        (1, "payload_trimmed"),
        (2, "truncated"),
    ]


@pytest.mark.parametrize(
    "malformed",
    [
        b"1-0",
        [1, None],
        [b"1-0", {b"imei": IMEI}],
        [b"1-0", [b"imei", 5]],
        [b"1-0", ["imei", IMEI]],
    ],
)
def test_an_entry_of_other_types_is_a_bug_of_the_caller(malformed: object) -> None:
    with pytest.raises(TypeError, match="a part of an entry is"):
        decode_entries([malformed])


@pytest.mark.parametrize(
    "malformed", [[], [b"1-0"], [b"1-0", [b"imei"]], [b"x-0", None], [b"", None]]
)
def test_an_entry_of_another_shape_is_a_bug_of_the_caller(malformed: object) -> None:
    with pytest.raises(ValueError, match="entry"):
        decode_entries([malformed])


def test_frames_are_held_while_the_batch_lives_and_no_longer() -> None:
    frame = bytes(bytearray(FRAME))
    before = sys.getrefcount(frame)
    batch = decoded(FIELDS | {b"frame": frame})
    assert sys.getrefcount(frame) == before + 1
    del batch
    assert sys.getrefcount(frame) == before


def test_ten_thousand_bad_entries_leave_the_good_one_behind_them() -> None:
    bad = [entry(FIELDS | {b"frame": FRAME[:-1]})] * 10_000
    batch = decode_entries([*bad, entry(FIELDS)])
    assert (batch.n_rejected, list(batch.satellites)) == (10_000, [9, 8])


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        (-1, None, "start is -1, expected 0 to 2"),
        (1 << 70, None, "start is 1180591620717411303424, expected 0 to 2"),
        (3, None, "start is 3, expected 0 to 2"),
        (0, 3, "stop is 3, expected 0 to 2"),
        (0, -1, "stop is -1, expected 0 to 2"),
        (2, 1, "start is 2, expected 0 to 1"),
    ],
)
def test_rows_of_no_part_of_the_entries_are_refused_with_the_range(
    start: int, stop: int | None, message: str
) -> None:
    batch = decode_entries([entry(FIELDS)] * 2)
    with pytest.raises(ValueError, match=f"^{message}$"):
        batch.rows(start, stop)


def test_a_negative_clock_bound_is_refused_with_the_range() -> None:
    with pytest.raises(ValueError, match=r"^clock_ahead_max_ms is -1, expected 0 to "):
        decoded(FIELDS).rows(clock_ahead_max_ms=-1)


def test_frames_alone_have_no_rows() -> None:
    with pytest.raises(ValueError, match="frames alone say neither device nor time"):
        tp.decode_batch([FRAME]).rows()
