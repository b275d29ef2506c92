"""Random tracks over zones, and what a single sorted pass that knows no database makes of them."""

import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rows import NOON_MS, Record, _copy, _timestamp
from teltonika_processor.codec.native import Fold, Zone, ZoneIndex
from teltonika_processor.store.zones import PathLimits

ALWAYS = (-(1 << 63), (1 << 63) - 1)
METRE = 1 / 111_195.079_73
"""Degrees of latitude in a metre, and of longitude at the equator."""

NOTHING = _copy([])

STANDARD = PathLimits(gap_s=300.0, jump_m_s=140.0)
"""What is a path in a database that was just made."""


@dataclass(frozen=True, slots=True)
class Course:
    """Zones as they are written to the table and as they are folded by."""

    rows: Sequence[tuple[Any, ...]]
    zones: Sequence[Zone]


def course(randomly: random.Random) -> Course:
    """Two circles with hysteresis, and two gates, around the origin."""
    rows, zones = [], []
    for zone_id in (1, 2):
        centre = (randomly.uniform(-60, 60) * METRE, randomly.uniform(-60, 60) * METRE)
        radius_m, hysteresis_m = randomly.uniform(20, 60), randomly.choice([0.0, 2.0, 4.0])
        geometry = {"type": "Point", "coordinates": list(centre)}
        rows.append((f"c{zone_id}", "circle", geometry, radius_m, None, hysteresis_m))
        zones.append(Zone.circle((zone_id, 1, *ALWAYS, hysteresis_m), centre, radius_m))
    for zone_id in (3, 4):
        points = [(x * METRE, randomly.uniform(-80, 80) * METRE) for x in (-90, 0, 90)]
        direction = randomly.choice(["both", "left_to_right", "right_to_left"])
        geometry = {"type": "LineString", "coordinates": [list(one) for one in points]}
        rows.append((f"g{zone_id}", "gate", geometry, None, direction, 0.0))
        zones.append(Zone.gate((zone_id, 1, *ALWAYS, 0.0), points, direction))
    return Course(rows, zones)


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


def single_pass(
    course: Course, records: Iterable[Record], limits: PathLimits = STANDARD
) -> list[tuple[int, bytes]]:
    """The crossings of each device as the bytes that COPY takes: one fold of sorted fixes."""
    by_device: dict[int, list[Record]] = {}
    for record in records:
        by_device.setdefault(record.imei, []).append(record)
    expected = []
    for imei in sorted(by_device):
        fold = Fold(
            ZoneIndex(list(course.zones)),
            _copy([_mark(imei)]),
            gap_us=round(limits.gap_s * 1e6),
            jump_m_s=limits.jump_m_s,
            fixes=1_000_000,
            right=4,
            window_us=1 << 62,
        )
        fixes = [_fix(record) for record in by_device[imei] if record.is_valid_fix]
        fold.left_was_read()
        fold.add_positions(_copy(fixes))
        fold.add_history(NOTHING)
        assert not any(fold.needs())
        fold.derive()
        expected.append((imei, bytes(memoryview(fold.copy_records([imei])))))
    return expected


def _mark(imei: int) -> list[bytes | None]:
    return [
        struct.pack(">q", imei),
        struct.pack(">q", 0),
        struct.pack(">?", False),
        None,
        struct.pack(">q", -(1 << 62)),
        struct.pack(">q", 1 << 62),
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
