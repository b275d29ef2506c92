"""Crossings, zones and sessions as rows, written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from rows import NOON_MS
from writing import IMEI

NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)

FINISH, FIRST, SECOND = 1, 2, 3
"""Zones: start and finish, and two sector gates."""


def moment(seconds: float) -> datetime:
    """So long behind noon."""
    return NOON + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A row of `timing_records`, in seconds behind noon; its two fixes lie half a second away."""

    at: float
    zone: int = FINISH
    imei: int = IMEI
    version: int = 1
    kind: str = "cross"
    cause: str = "ok"
    uncertainty_us: int = 5000


async def add_gate(
    admin: asyncpg.Connection,
    zone: int,
    name: str,
    *,
    version: int = 1,
    minimum_lap_s: float | None = None,
    direction: str = "both",
) -> None:
    """A line from south to north, at the equator."""
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, direction, minimum_lap_s) VALUES"
        """ ($1, $2, $3, 'gate', '{"type": "LineString", "coordinates": [[25, 0], [25, 0.001]]}',"""
        " $4, $5)",
        *(zone, version, name, direction, minimum_lap_s),
    )


async def add_session(
    admin: asyncpg.Connection,
    zones: Sequence[int],
    *,
    name: str = "race",
    begin: float = 0,
    end: float = 3600,
) -> None:
    await admin.execute(
        "INSERT INTO sessions (name, kind, starts_at, ends_at, zones)"
        " VALUES ($1, 'race', $2, $3, $4)",
        *(name, moment(begin), moment(end), list(zones)),
    )


async def add_crossings(admin: asyncpg.Connection, *crossings: Crossing) -> None:
    await admin.executemany(
        "INSERT INTO timing_records VALUES"
        " ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, 1, 1, 20, 9)",
        [
            (
                *(one.imei, moment(one.at + 0.5), one.zone, one.version, one.kind),
                *(moment(one.at), one.uncertainty_us),
                "left_to_right" if one.kind == "cross" else None,
                one.cause,
                None if one.kind == "initial" else moment(one.at - 0.5),
            )
            for one in crossings
        ],
    )


async def add_fixes(
    admin: asyncpg.Connection, *fixes: tuple[float, float], imei: int = IMEI, digest: int = 1
) -> None:
    """(seconds behind noon, degrees north), all at the same longitude."""
    await admin.executemany(
        "INSERT INTO positions VALUES"
        " ($1, $2, $3, $2, 25, $4, 0, 0, 9, 0, 0, 0, NULL, false, '{}')",
        [(imei, moment(second), digest, north) for second, north in fixes],
    )


async def drive_over_line(admin: asyncpg.Connection, *imeis: int) -> None:
    """Zone 1, `line`, a gate along the equator, and devices that cross it at 1.5 s; no mark."""
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, direction) VALUES"
        """ (1, 1, 'line', 'gate', '{"type": "LineString", "coordinates": [[24, 0], [26, 0]]}',"""
        " 'both')"
    )
    for imei in imeis:
        await add_fixes(admin, (0.0, -0.0003), (2.0, 0.0001), (4.0, 0.0002), imei=imei)
        await admin.execute(
            "INSERT INTO last_position VALUES ($1, $2, 1, $2, 25, 0, 0, 0, 9, 0, 0, 0)",
            *(imei, moment(4)),
        )
