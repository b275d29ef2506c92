"""PostgreSQL binary COPY of decoded records in plain Python: what the benches compare with.

One row per record, in the order given: sorting and the removal of duplicates are not done here.

Source: PostgreSQL documentation, "COPY", section "Binary Format"; `jsonb` is a version byte 1 and
the text.
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from teltonika_processor.codec.reference import AvlRecord

CLOCK_AHEAD_MAX_MS: Final = 86_400_000
"""A record further ahead of its receive time than this has an impossible clock: 1 day."""

PLAUSIBLE_FROM_MS: Final = 1_262_304_000_000
"""2010-01-01 UTC: devices that never saw the time count from 1970, 2000 or 2004."""

_POSTGRES_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01 UTC

_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)  # no flags, no header extension
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"

# Each field is preceded by its length in bytes.
_N_FIELDS: Final = struct.pack(">h", 15)
_FIXED: Final = struct.Struct(">iqiqiqiqididihiiihiiihii")
_INT2: Final = struct.Struct(">ih")
_BOOL: Final = struct.Struct(">i?")
_JSONB: Final = struct.Struct(">iB")


class ReceivedRecord(NamedTuple):
    """One record with what the frame does not say: whose it is, and when it was received."""

    imei: int
    received_at_ms: int
    record: AvlRecord


def copy_positions_rows(
    records: Iterable[ReceivedRecord],
    *,
    digest: Callable[[memoryview], int],
    clock_ahead_max_ms: int = CLOCK_AHEAD_MAX_MS,
) -> bytes:
    """Encode R records as a whole binary COPY stream of POSITION_COLUMNS.

    Args:
        records: R records in the order of the rows.
        digest: The signed 64-bit digest of a record's raw bytes. The service's is xxh3-64, which
            the standard library does not have, so the caller brings one.
        clock_ahead_max_ms: Bound of how far ahead of its receive time a record may be.

    Raises:
        struct.error: A time that PostgreSQL's timestamp cannot hold.
    """
    rows = [_row(received, digest, clock_ahead_max_ms) for received in records]
    return b"".join([_HEADER, *rows, _TRAILER])


def _row(
    received: ReceivedRecord, digest: Callable[[memoryview], int], clock_ahead_max_ms: int
) -> bytes:
    imei, received_at_ms, record = received
    fixed = _FIXED.pack(
        *(8, imei),
        *(8, _timestamptz(record.recorded_at_ms)),
        *(8, digest(record.raw)),
        *(8, _timestamptz(received_at_ms)),
        *(8, record.longitude_e7 / 1e7),
        *(8, record.latitude_e7 / 1e7),
        *(2, record.altitude_m),
        *(4, record.angle_deg),
        *(2, record.satellites),
        *(4, record.speed_kmh),
        *(2, record.priority),
        *(4, record.event_io_id),
    )
    ahead_ms = record.recorded_at_ms - received_at_ms
    suspect = record.recorded_at_ms < PLAUSIBLE_FROM_MS or ahead_ms > clock_ahead_max_ms
    generation_type = record.generation_type
    generation = _NULL if generation_type is None else _INT2.pack(2, generation_type)
    return b"".join((_N_FIELDS, fixed, generation, _BOOL.pack(1, suspect), _jsonb(record.io)))


def _timestamptz(unix_ms: int) -> int:
    """Return microseconds since 2000-01-01 UTC."""
    return (unix_ms - _POSTGRES_EPOCH_MS) * 1000


def _jsonb(io: Mapping[int, int | bytes]) -> bytes:
    """Encode IO elements by ascending id, variable-length values as hex text."""
    text = _JSON.encode(dict(sorted(io.items()))).encode()
    return _JSONB.pack(1 + len(text), 1) + text


_JSON: Final = json.JSONEncoder(separators=(",", ":"), default=bytes.hex)
