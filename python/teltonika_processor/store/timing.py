"""What is asked of crossings: the crossings themselves, laps, stays in zones."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from teltonika_processor.model import format_imei
from teltonika_processor.store.connection import Session
from teltonika_processor.store.zones import counts_now


def _us(column: str) -> str:
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


_ZONE_NAME: Final = """
(SELECT z.name FROM public.zones AS z WHERE z.id = zone_id ORDER BY z.version DESC LIMIT 1)
"""

# $1: zone, $2: device, $3, $4: from, before; each null for all. $5: the newest so many.
_CROSSINGS: Final = f"""
SELECT * FROM (
    SELECT {_us("t.at")} AS at_us, t.imei, d.name, {_ZONE_NAME} AS zone, t.kind,
        t.direction, t.uncertainty_us, t.cause, t.satellites, t.zone_version,
        t.at, t.end_t, t.zone_id, t.n
    FROM public.timing_records AS t LEFT JOIN public.devices AS d USING (imei)
    WHERE ($1::integer IS NULL OR t.zone_id = $1)
      AND ($2::bigint IS NULL OR t.imei = $2)
      AND ($3::timestamptz IS NULL OR t.at >= $3)
      AND ($4::timestamptz IS NULL OR t.at < $4)
    ORDER BY t.at DESC, t.imei DESC, t.end_t DESC, t.zone_id DESC, t.n DESC LIMIT $5
) AS newest ORDER BY at, imei, end_t, zone_id, n
"""  # noqa: S608 -- constants of ours

_LAPS: Final = f"""
SELECT l.imei, d.name, l.lap, {_us("l.started_at")} AS started_at_us,
    {_us("l.ended_at")} AS ended_at_us, {_us("l.duration")} AS duration_us, l.uncertainty_us,
    (
        SELECT coalesce(json_agg({_us("time")} ORDER BY number), '[]')::text
        FROM unnest(l.sector_times) WITH ORDINALITY AS sector (time, number)
    ) AS sector_times_us,
    l.too_short, l.has_gap, l.has_jump
FROM public.laps AS l LEFT JOIN public.devices AS d USING (imei)
WHERE l.session = $1 AND ($2::bigint IS NULL OR l.imei = $2)
ORDER BY l.ended_at, l.imei
"""  # noqa: S608 -- constants of ours

# $1: zone, $2: device, each null for all. $3: whether only those that are there now; $4: the
# newest so many. A zone that counts no more closes the stay of a device when it sends again.
_STAYS: Final = f"""
SELECT * FROM (
    SELECT s.imei, d.name, {_ZONE_NAME} AS zone, {_us("s.entered_at")} AS entered_at_us,
        {_us("s.left_at")} AS left_at_us, {_us("s.duration")} AS duration_us, s.is_open,
        s.is_initial, s.entered_cause, s.left_cause, {counts_now("s.zone_id")} AS zone_counts
    FROM public.zone_stays AS s LEFT JOIN public.devices AS d USING (imei)
    WHERE ($1::integer IS NULL OR s.zone_id = $1)
      AND ($2::bigint IS NULL OR s.imei = $2)
      AND (NOT $3::boolean OR (s.is_open AND {counts_now("s.zone_id")}))
    ORDER BY s.entered_at DESC, s.imei DESC, s.zone_id DESC LIMIT $4
) AS newest ORDER BY entered_at_us, imei, zone
"""  # noqa: S608 -- constants of ours


_UNDERIVED: Final = """
SELECT CASE
    WHEN EXISTS (SELECT FROM public.zones WHERE NOT isempty(unmarked))
        OR EXISTS (SELECT FROM public.timing_limits WHERE NOT is_marked)
    THEN (SELECT count(*) FROM public.last_position)
    ELSE (SELECT count(*) FROM public.refold WHERE NOT isempty(ranges))
END
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which crossings or stays.

    Attributes:
        zone_id: Of one zone.
        imei: Of one device.
        since: At that moment or later.
        until: Before that moment.
        is_now: Stays alone: those that last, in zones that count now.
    """

    zone_id: int | None = None
    imei: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_now: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A row of `timing_records`, with names; times in Unix microseconds."""

    at_us: int
    imei: str
    name: str | None
    zone: str | None
    kind: str
    direction: str | None
    uncertainty_us: int
    cause: str
    satellites: int
    zone_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """A row of the view `laps`, with the name of the device; times in Unix microseconds.

    Attributes:
        lap: Its number within the session; None where it is too short.
        sector_times_us: None where a gate was missed, or passed out of order.
        has_gap: None where the positions are gone; so is `has_jump`.
    """

    imei: str
    name: str | None
    lap: int | None
    started_at_us: int
    ended_at_us: int
    duration_us: int
    uncertainty_us: int
    sector_times_us: tuple[int | None, ...]
    too_short: bool
    has_gap: bool | None
    has_jump: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A row of the view `zone_stays`, with names; times in Unix microseconds.

    Attributes:
        zone_counts: Whether the zone counts now.
    """

    imei: str
    name: str | None
    zone: str | None
    entered_at_us: int
    left_at_us: int | None
    duration_us: int | None
    is_open: bool
    is_initial: bool
    entered_cause: str
    left_cause: str | None
    zone_counts: bool


async def count_underived(session: Session) -> int:
    """Devices whose crossings are yet to be derived again; all, while an edit goes on."""
    return int(await session.fetchval(_UNDERIVED))


async def crossings(session: Session, wanted: Filter, *, limit: int) -> list[Crossing]:
    """The newest crossings, in the order of their moments."""
    bounds = (wanted.zone_id, wanted.imei, wanted.since, wanted.until)
    rows = await session.fetch(_CROSSINGS, *bounds, limit)
    return [Crossing(**_known(row, Crossing)) for row in rows]


async def laps_of(session: Session, name: str, imei: int | None = None) -> list[Lap]:
    """The laps of a session of this name, as they ended; of one device or of all."""
    rows = await session.fetch(_LAPS, name, imei)
    return [
        Lap(
            **{
                **_known(row, Lap),
                "sector_times_us": tuple(json.loads(row["sector_times_us"])),
            }
        )
        for row in rows
    ]


async def stays(session: Session, wanted: Filter, *, limit: int) -> list[Stay]:
    """The newest stays in zones, as they began."""
    rows = await session.fetch(_STAYS, wanted.zone_id, wanted.imei, wanted.is_now, limit)
    return [Stay(**_known(row, Stay)) for row in rows]


def _known(row: Any, kind: type) -> dict[str, Any]:
    """The columns that the class has, with the IMEI as its 15 digits."""
    names = kind.__slots__  # type: ignore[attr-defined]
    return {name: row[name] for name in names} | {"imei": format_imei(row["imei"])}
