"""Fixes along one meridian, zones on it, the crossings that are stored, and what is marked."""

from datetime import UTC, datetime
from typing import Any

import asyncpg

from rows import NOON_MS, Record
from teltonika_processor.codec.native import Zone

NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)
ALWAYS = (-(1 << 63), (1 << 63) - 1)
M_NORTH = 1 / 111_195.079_73
"""Degrees of latitude in a metre, on the sphere."""

# A gate along the equator from west to east, and a circle of 100 m around its middle.
GATE = Zone.gate((1, 1, *ALWAYS, 0.0), [(24.0, 0.0), (26.0, 0.0)], "both")
CIRCLE = Zone.circle((2, 1, *ALWAYS, 0.0), (25.0, 0.0), 100.0)
BAND = Zone.circle((3, 1, *ALWAYS, 5.0), (25.0, 0.0), 100.0)


def at(second: float, north_m: float, digest: int = 1, **fields: Any) -> Record:
    """A fix so many metres north of the middle."""
    return Record(
        recorded_at_ms=NOON_MS + round(second * 1000),
        longitude=25.0,
        latitude=north_m * M_NORTH,
        digest=digest,
        **fields,
    )


async def crossings(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """(zone, kind, seconds from noon, direction, cause, seconds of the end fix), in their order."""
    rows = await admin.fetch(
        "SELECT zone_id, kind, extract(epoch FROM at - $1)::float8, direction, cause,"
        " extract(epoch FROM end_t - $1)::float8 FROM timing_records"
        " ORDER BY imei, end_t, zone_id, n",
        NOON,
    )
    return [tuple(row) for row in rows]


async def marked(admin: asyncpg.Connection) -> list[tuple[int, Any, Any]]:
    """(device, first, last), seconds from noon."""
    rows = await admin.fetch(
        "SELECT imei, extract(epoch FROM lower(r) - $1)::float8,"
        " extract(epoch FROM upper(r) - $1)::float8"
        " FROM refold, unnest(ranges) AS r ORDER BY imei, r",
        NOON,
    )
    return [tuple(row) for row in rows]
