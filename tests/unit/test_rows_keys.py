"""The keys of rows as columns: what an audit compares with the table."""

import gc
from typing import Any

from telemetry import BASE_MS, RECEIVED_MS, frame_at
from teltonika_processor.codec.native import Rows, decode_entries

FIRST = 356_307_042_441_013
SECOND = 100_000_000_000_005
DAY_MS = 86_400_000


def entry(frame: bytes, imei: int = FIRST, received_at_ms: int = RECEIVED_MS) -> list[Any]:
    received = str(received_at_ms).encode()
    return [received + b"-0", [b"imei", f"{imei:015d}".encode(), b"frame", frame]]


def keys(rows: Rows) -> list[tuple[int, int, int, int]]:
    return list(zip(rows.imei, rows.recorded_at_ms, rows.digest, rows.entry, strict=True))


def test_each_row_has_its_key_and_the_index_of_its_entry() -> None:
    batch = decode_entries(
        [
            entry(frame_at(BASE_MS, BASE_MS + 1)),
            entry(b"damaged"),
            entry(frame_at(BASE_MS - DAY_MS), SECOND),
        ]
    )
    rows = batch.rows()
    assert [(imei, ms, at) for imei, ms, _, at in keys(rows)] == [
        (SECOND, 1_789_913_600_000, 2),
        (FIRST, 1_790_000_000_000, 0),
        (FIRST, 1_790_000_000_001, 0),
    ]


def test_columns_have_the_documented_types_and_cannot_be_written() -> None:
    rows = decode_entries([entry(frame_at(BASE_MS))]).rows()
    columns = [rows.imei, rows.recorded_at_ms, rows.digest, rows.entry]
    assert [column.format for column in columns] == ["q", "q", "q", "I"]
    assert all(column.readonly for column in columns)


def test_digests_are_those_that_are_copied() -> None:
    rows = decode_entries([entry(frame_at(*range(BASE_MS, BASE_MS + 50)))]).rows()
    copy = memoryview(rows.copy_positions(io="json"))
    signed = list(rows.digest)
    assert len(set(signed)) == 50
    assert any(digest < 0 for digest in signed)
    assert any(digest > 0 for digest in signed)
    for digest in signed:
        assert digest.to_bytes(8, "big", signed=True) in bytes(copy)


def test_the_entry_is_counted_from_the_start_of_the_batch_not_of_the_run() -> None:
    batch = decode_entries([entry(frame_at(BASE_MS + n)) for n in range(5)])
    assert list(batch.rows(3, 5).entry) == [3, 4]


def test_of_a_suspect_and_a_sane_copy_the_entry_is_the_sane_ones() -> None:
    ahead = frame_at(RECEIVED_MS + DAY_MS + 1)
    batch = decode_entries([entry(ahead), entry(ahead, received_at_ms=RECEIVED_MS + 1)])
    assert list(batch.rows().entry) == [1]


def test_a_row_at_the_ends_of_what_postgres_can_hold_has_its_time() -> None:
    rows = decode_entries([entry(frame_at(0, 9_224_318_015_999_999))]).rows()
    assert list(rows.recorded_at_ms) == [0, 9_224_318_015_999_999]


def test_a_column_outlives_its_rows() -> None:
    imei = decode_entries([entry(frame_at(BASE_MS))]).rows().imei
    gc.collect()
    assert list(imei) == [FIRST]


def test_no_rows_have_empty_columns() -> None:
    rows = decode_entries([]).rows()
    assert keys(rows) == []
