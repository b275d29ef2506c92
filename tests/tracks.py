"""Random tracks over zones, and what a single sorted pass that knows no database makes of them."""

import random
import struct
from collections.abc import Iterable, Sequence

from courses import METRE
from reference_timing import GAP_US, JUMP_M_S
from rows import NOON_MS, Record, _copy, _timestamp
from teltonika_processor.codec.native import Fold, Zone, ZoneIndex


def track(randomly: random.Random, imei: int, n_fixes: int) -> list[Record]:
    """A walk with bands, jumps, gaps, twins of one millisecond, and records that do not count."""
    at_ms, x, y = NOON_MS + randomly.randrange(60_000), 0.0, 0.0
    records = []
    for _ in range(n_fixes):
        at_ms += randomly.choice([1000, 1000, 1000, 3000, 500_000, 50_000_000])
        if randomly.random() < 0.05:
            x, y = randomly.uniform(-5e4, 5e4), randomly.uniform(-5e4, 5e4)
        elif randomly.random() < 0.1:
            x, y = 0.0, 0.0
        x, y = x + randomly.uniform(-40, 40), y + randomly.uniform(-40, 40)
        twins = randomly.choice([1, 1, 1, 2])
        records += [_record(randomly, imei, at_ms, x, y) for _ in range(twins)]
    return records


def _record(randomly: random.Random, imei: int, at_ms: int, x: float, y: float) -> Record:
    return Record(
        imei=imei,
        recorded_at_ms=at_ms,
        received_at_ms=at_ms + 1000,
        longitude=x * METRE,
        latitude=y * METRE,
        digest=randomly.getrandbits(64) - (1 << 63),
        satellites=randomly.choice([9, 9, 9, 5, 0]),
        clock_suspect=randomly.random() < 0.05,
    )


def single_pass(zones: Sequence[Zone], records: Iterable[Record]) -> dict[int, bytes]:
    """The crossings of each device as the bytes that COPY takes: one fold of sorted fixes."""
    by_device: dict[int, list[Record]] = {}
    for record in records:
        by_device.setdefault(record.imei, []).append(record)
    index = ZoneIndex(list(zones))
    return {imei: _folded(index, imei, by_device[imei]) for imei in sorted(by_device)}


def _folded(index: ZoneIndex, imei: int, records: Iterable[Record]) -> bytes:
    fold = Fold(
        index,
        _copy([_mark(imei)]),
        gap_us=GAP_US,
        jump_m_s=JUMP_M_S,
        fixes=1_000_000,
        right=4,
        window_us=1 << 62,
    )
    fold.left_was_read()
    fold.add_positions(_copy([_fix(record) for record in records if record.is_valid_fix]))
    fold.add_history(_copy([]))
    assert not any(fold.needs())
    fold.derive()
    return bytes(memoryview(fold.copy_records([imei])))


def _mark(imei: int) -> list[bytes | None]:
    return [
        struct.pack(">q", imei),
        struct.pack(">q", 0),
        struct.pack(">?", False),
        None,
        struct.pack(">q", 0),
        struct.pack(">q", 1 << 61),
    ]


def _fix(record: Record) -> list[bytes | None]:
    return [
        struct.pack(">q", record.imei),
        struct.pack(">h", 0),
        _timestamp(record.recorded_at_ms),
        struct.pack(">q", record.digest),
        struct.pack(">d", record.longitude),
        struct.pack(">d", record.latitude),
        struct.pack(">h", record.satellites),
    ]
