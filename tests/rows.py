"""Rows for the writer, encoded by hand: an independent check of the bytes that the extension makes.

The same attributes as ``_native.Rows``, and full control of digests and clocks.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DAY_MS = 86_400_000
NOON_MS = 1_795_348_800_000
"""2026-11-22 12:00 UTC."""

_EPOCH_2000_MS = 946_684_800_000


@dataclass(frozen=True, kw_only=True)
class Record:
    """One storable record; the defaults are a plausible fix in Vilnius."""

    imei: int = 352_093_081_452_251
    recorded_at_ms: int = NOON_MS
    digest: int = 1
    received_at_ms: int = NOON_MS + 1000
    longitude: float = 25.2797
    latitude: float = 54.6872
    altitude_m: int = 112
    angle_deg: int = 90
    satellites: int = 9
    speed_kmh: int = 50
    priority: int = 1
    event_io_id: int = 239
    generation_type: int | None = None
    clock_suspect: bool = False
    io: str = '{"1":1,"239":255}'

    @property
    def key(self) -> tuple[int, int, int]:
        return (self.imei, self.recorded_at_ms, self.digest)

    @property
    def is_valid_fix(self) -> bool:
        in_range = abs(self.longitude) <= 180 and abs(self.latitude) <= 90
        return self.satellites > 0 and in_range and not self.clock_suspect


class CopyBytes(bytes):
    """Binary COPY data that knows its number of rows."""

    n_rows: int = 0


class BuiltRows:
    """What ``DecodedBatch.rows()`` returns, made from records in any order."""

    def __init__(self, records: Sequence[Record]) -> None:
        kept: dict[tuple[int, int, int], Record] = {}
        for record in sorted(records, key=lambda record: record.clock_suspect):
            kept.setdefault(record.key, record)
        self.records = sorted(
            kept.values(), key=lambda record: (record.recorded_at_ms // DAY_MS, *record.key)
        )
        self.n_rows = len(self.records)
        self.n_records = len(records)
        self.n_suspect = sum(record.clock_suspect for record in self.records)
        plausible = [record for record in self.records if not record.clock_suspect]
        self.days = sorted({record.recorded_at_ms // DAY_MS for record in plausible})
        self.imeis = sorted({record.imei for record in self.records})
        self.received_at_max_ms = max((r.received_at_ms for r in self.records), default=0)

    def copy_positions(self, *, io: Literal["jsonb", "json"] = "jsonb") -> CopyBytes:
        return _copy([_position(record, io) for record in self.records])

    def copy_last_positions(self) -> CopyBytes:
        newest: dict[int, Record] = {}
        for record in sorted(self.records, key=lambda r: (r.recorded_at_ms, r.digest)):
            if record.is_valid_fix:
                newest[record.imei] = record
        return _copy([_columns(newest[imei]) for imei in sorted(newest)])

    def copy_marks(self) -> CopyBytes:
        runs: list[tuple[int, int, int]] = []
        for record in sorted(self.records, key=lambda r: (r.imei, r.recorded_at_ms)):
            if not record.is_valid_fix:
                continue
            imei, at_ms = record.imei, record.recorded_at_ms
            if runs and runs[-1][0] == imei and at_ms - runs[-1][2] <= 600_000:
                runs[-1] = (imei, runs[-1][1], at_ms)
            else:
                runs.append((imei, at_ms, at_ms))
        return _copy(
            [[struct.pack(">q", run[0]), _timestamp(run[1]), _timestamp(run[2])] for run in runs]
        )


def rows(*records: Record) -> BuiltRows:
    return BuiltRows(records)


def _columns(record: Record) -> list[bytes]:
    return [
        struct.pack(">q", record.imei),
        _timestamp(record.recorded_at_ms),
        struct.pack(">q", record.digest),
        _timestamp(record.received_at_ms),
        struct.pack(">d", record.longitude),
        struct.pack(">d", record.latitude),
        struct.pack(">h", record.altitude_m),
        struct.pack(">i", record.angle_deg),
        struct.pack(">h", record.satellites),
        struct.pack(">i", record.speed_kmh),
        struct.pack(">h", record.priority),
        struct.pack(">i", record.event_io_id),
    ]


def _position(record: Record, io: Literal["jsonb", "json"]) -> list[bytes | None]:
    generation = record.generation_type
    return [
        *_columns(record),
        None if generation is None else struct.pack(">h", generation),
        struct.pack(">?", record.clock_suspect),
        (b"\x01" if io == "jsonb" else b"") + record.io.encode(),
    ]


def _timestamp(unix_ms: int) -> bytes:
    return struct.pack(">q", (unix_ms - _EPOCH_2000_MS) * 1000)


def _copy(encoded: Sequence[Sequence[bytes | None]]) -> CopyBytes:
    parts = [b"PGCOPY\n\xff\r\n\0", struct.pack(">ii", 0, 0)]
    for columns in encoded:
        parts.append(struct.pack(">h", len(columns)))
        for value in columns:
            if value is None:
                parts.append(struct.pack(">i", -1))
            else:
                parts += [struct.pack(">i", len(value)), value]
    parts.append(struct.pack(">h", -1))
    data = CopyBytes(b"".join(parts))
    data.n_rows = len(encoded)
    return data
