"""Clocks that jump, fixes at 0/0, teleports: stored, flagged, and no false crossing.

A car drives east along the equator at 50 m/s, from 125 m west of a gate through a circle; what else
its tracker sends comes from other places and other clocks. By decoded frames, writers and folds.
"""

import random
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

import teltonika_processor as tp
from any_order import folding, nobody_is_marked
from rows import DAY_MS, NOON_MS
from teltonika_processor.codec.native import decode_entries
from teltonika_processor.store.folding import FoldLimits
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import ZoneColumns, write_zones
from timed import add_session
from writing import IMEI, SEED

LONGITUDE = 25.0
METRE = 1 / 111_195.079_73
WEST, EAST, NOWHERE, NORTH = -500.0, 200.0, (0.0, 0.0), (LONGITUDE + 1000 * METRE, 0.18)

DRIVE = [(second, -125.0 + 50 * second) for second in range(41)]

GATE = ZoneColumns(
    name="finish",
    kind="gate",
    geometry={"type": "LineString", "coordinates": [[LONGITUDE, -0.01], [LONGITUDE, 0.01]]},
    direction="both",
)
CIRCLE = ZoneColumns(
    name="pit",
    kind="circle",
    geometry={"type": "Point", "coordinates": [LONGITUDE + 1000 * METRE, 0.0]},
    radius_m=100.0,
    hysteresis_m=5.0,
)


def fix(
    second: float, at: float | tuple[float, float], *, satellites: int = 9, days: float = 0
) -> dict[str, Any]:
    """A record: metres along the road, or a place."""
    longitude, latitude = (LONGITUDE + at * METRE, 0.0) if isinstance(at, float) else at
    return {
        "recorded_at_ms": NOON_MS + round(second * 1000 + days * DAY_MS),
        "longitude_e7": round(longitude * 1e7),
        "latitude_e7": round(latitude * 1e7),
        "satellites": satellites,
    }


async def send(writer: PositionWriter, records: list[dict[str, Any]]) -> None:
    """In frames of three, in any order."""
    randomly = random.Random(SEED)
    randomly.shuffle(records)
    received_ms = b"%d" % (NOON_MS + 60_000)
    for at in range(0, len(records), 3):
        fields = [b"imei", b"%015d" % IMEI, b"frame", tp.encode_frame(records[at : at + 3])]
        fields += [b"received_at_ms", received_ms]
        entry = [b"%b-%d" % (received_ms, at), fields]
        await writer.write(decode_entries([entry]).rows())


async def crossings(
    dsn: str, admin: asyncpg.Connection
) -> list[tuple[str, str, str, float, float]]:
    """(zone, kind, cause, seconds of the end fix, and of the crossing) in their order."""
    async with folding(dsn, 2, FoldLimits(fixes=7)):
        await nobody_is_marked(admin, 20.0)
    noon = datetime.fromtimestamp(NOON_MS / 1000, UTC)
    rows = await admin.fetch(
        "SELECT name, t.kind, cause, extract(epoch FROM end_t - $1)::float8,"
        " extract(epoch FROM at - $1)::float8"
        " FROM timing_records AS t JOIN zones AS z ON z.id = t.zone_id ORDER BY end_t, zone_id, n",
        noon,
    )
    return [tuple(row) for row in rows]


@pytest.fixture(autouse=True)
async def zones(admin: asyncpg.Connection) -> None:
    await write_zones(
        admin, [GATE, CIRCLE], valid_from=datetime.fromtimestamp(NOON_MS / 1000 - 86_400, UTC)
    )
    await add_session(admin, [1], begin=-7200, end=7200)


async def flagged(admin: asyncpg.Connection) -> tuple[int, int, int]:
    """Records, those with a suspect clock, and laps."""
    counts = await admin.fetchrow(
        "SELECT count(*), count(*) FILTER (WHERE clock_suspect), (SELECT count(*) FROM laps)"
        " FROM positions"
    )
    return tuple(counts)


TRUE = [
    ("finish", "cross", "ok", 3.0, pytest.approx(2.5, abs=0.001)),
    ("pit", "enter", "ok", 21.0, pytest.approx(20.5, abs=0.001)),
    ("pit", "exit", "ok", 25.0, pytest.approx(24.5, abs=0.001)),
]


async def test_the_drive_alone_has_three_crossings(
    writer: PositionWriter, dsn: str, admin: asyncpg.Connection
) -> None:
    await send(writer, [fix(second, at) for second, at in DRIVE])
    assert await crossings(dsn, admin) == TRUE
    assert await flagged(admin) == (41, 0, 0)


async def test_a_clock_that_jumps_back_and_forth_crosses_nothing(
    writer: PositionWriter, dsn: str, admin: asyncpg.Connection
) -> None:
    strange = [
        fix(-3600, EAST),  # an hour back: a gap before the drive
        fix(4000, WEST),  # an hour on: a gap behind it
        fix(15.5, WEST),  # ten seconds off: 1.2 km in half a second
        fix(30.5, WEST),
        fix(0, WEST, days=-16_000),  # 1983
        fix(10.25, WEST, days=3),
        fix(11.25, WEST, days=366),
    ]
    await send(writer, [fix(second, at) for second, at in DRIVE] + strange)
    assert await crossings(dsn, admin) == TRUE
    assert await flagged(admin) == (48, 3, 0)
    newest = await admin.fetchval("SELECT recorded_at FROM last_position")
    assert newest.timestamp() == NOON_MS / 1000 + 4000


async def test_fixes_at_null_island_cross_nothing(
    writer: PositionWriter, dsn: str, admin: asyncpg.Connection
) -> None:
    strange = [
        fix(1.5, NOWHERE, satellites=0),
        fix(2.25, NOWHERE, satellites=0),
        fix(5.5, NOWHERE),
        fix(12.5, NOWHERE),
        fix(40.5, NOWHERE),
    ]
    await send(writer, [fix(second, at) for second, at in DRIVE] + strange)
    assert await crossings(dsn, admin) == TRUE
    assert await flagged(admin) == (46, 0, 0)


async def test_a_teleport_out_of_a_zone_and_back_says_so(
    writer: PositionWriter, dsn: str, admin: asyncpg.Connection
) -> None:
    drive = [fix(second, at) for second, at in DRIVE]
    await send(writer, [*drive, fix(22.5, NORTH), fix(7.5, (-170.0, -60.0))])
    found = await crossings(dsn, admin)
    assert [row[:4] for row in found] == [
        ("finish", "cross", "ok", 3.0),
        ("pit", "enter", "ok", 21.0),
        ("pit", "exit", "jump", 22.5),
        ("pit", "enter", "jump", 23.0),
        ("pit", "exit", "ok", 25.0),
    ]
    assert await flagged(admin) == (43, 0, 0)
