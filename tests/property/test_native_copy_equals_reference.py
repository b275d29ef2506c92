"""Binary COPY of positions: the native encoder writes the rows of the plain-Python one."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import records
from teltonika_processor.codec import reference
from teltonika_processor.codec.native import POSITION_COLUMNS, decode_entries
from teltonika_processor.codec.reference_copy import ReceivedRecord, copy_positions_rows

RECEIVED_AT_MS = 1_800_000_000_000
DAY_MS = 86_400_000

# Before 2010, around the receive time and its limit of a day, and far beyond.
TIMES = st.one_of(
    st.integers(0, 1_262_304_000_001),
    st.integers(RECEIVED_AT_MS - 3 * DAY_MS, RECEIVED_AT_MS + 2 * DAY_MS),
    st.sampled_from([RECEIVED_AT_MS + DAY_MS, RECEIVED_AT_MS + DAY_MS + 1]),
    st.sampled_from([1_262_303_999_999, 1_262_304_000_000]),
    st.integers(0, 9_000_000_000_000_000),
)


class Sent(NamedTuple):
    """One frame of one device."""

    imei: int
    frame: bytes


@st.composite
def sent_frames(draw: st.DrawFn) -> Sent:
    codec_id = draw(st.sampled_from([0x08, 0x8E, 0x10]))
    drawn = draw(st.lists(st.tuples(records(codec_id), TIMES), max_size=4))
    timed = [record | {"recorded_at_ms": time} for record, time in drawn]
    imei = draw(st.sampled_from([1, 356_307_042_441_013, 999_999_999_999_999]))
    return Sent(imei, reference.encode_frame(timed, codec_id=codec_id))


def entry(sent: Sent) -> list[Any]:
    imei, received_at_ms = f"{sent.imei:015d}".encode(), str(RECEIVED_AT_MS).encode()
    fields = [b"imei", imei, b"frame", sent.frame, b"received_at_ms", received_at_ms]
    return [received_at_ms + b"-0", fields]


def rows_of(copy: bytes) -> Iterator[tuple[bytes | None, ...]]:
    """Read a COPY stream with a parser of its own: one tuple of 15 fields a row."""
    assert copy[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    position = 19
    while (n_fields := struct.unpack_from(">h", copy, position)[0]) != -1:
        position += 2
        row: list[bytes | None] = []
        for _ in range(n_fields):
            (length,) = struct.unpack_from(">i", copy, position)
            position += 4
            row.append(None if length < 0 else copy[position : position + length])
            position += max(length, 0)
        yield tuple(row)
    assert position + 2 == len(copy)


def without_digest(row: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
    digest_at = POSITION_COLUMNS.index("digest")
    return row[:digest_at] + row[digest_at + 1 :]


def key_of(row: tuple[bytes | None, ...]) -> tuple[int, int, int, int]:
    imei, recorded_at_us, digest = (int.from_bytes(f or b"", "big", signed=True) for f in row[:3])
    return (recorded_at_us // (DAY_MS * 1000), imei, recorded_at_us, digest)


@settings(max_examples=150)
@given(sent=st.lists(sent_frames(), max_size=4), twice=st.booleans())
def test_the_rows_are_those_of_the_reference_once_each_and_in_order(
    sent: list[Sent], *, twice: bool
) -> None:
    entries = [entry(one) for one in sent]
    rows = decode_entries(entries * 2 if twice else entries).rows()
    native = list(rows_of(bytes(memoryview(rows.copy_positions()))))
    received = {
        (one.imei, bytes(record.raw)): ReceivedRecord(one.imei, RECEIVED_AT_MS, record)
        for one in sent
        for record in reference.decode_frame(one.frame)
    }
    plain = list(rows_of(copy_positions_rows(received.values(), digest=lambda _: 0)))
    assert rows.n_rows == len(received)
    assert sorted(map(repr, map(without_digest, native))) == sorted(
        map(repr, map(without_digest, plain))
    )
    assert [key_of(row) for row in native] == sorted({key_of(row) for row in native})
