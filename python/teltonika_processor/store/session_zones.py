"""What is known of the zones of a session: who crossed them then, and when they count."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from teltonika_processor.store.connection import Session
from teltonika_processor.store.zones import ZoneColumns

# $1: the session; $2: a device, or null for all. What is crossed is as in the view `laps`; of a
# zone that counts at no time of the session, when it does.
_ZONES: Final = """
SELECT
    coalesce(newest.name, '#' || wanted.zone_id) AS name, crossed.*, then_.*, else_.*
FROM public.sessions AS s
CROSS JOIN LATERAL unnest(s.zones) WITH ORDINALITY AS wanted (zone_id, number)
LEFT JOIN LATERAL (
    SELECT z.name FROM public.zones AS z
    WHERE z.id = wanted.zone_id ORDER BY z.version DESC LIMIT 1
) AS newest ON true
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE t.cause = 'ok') AS n_crossings,
        count(DISTINCT t.imei) FILTER (WHERE t.cause = 'ok') AS n_devices,
        count(*) FILTER (WHERE t.cause <> 'ok') AS n_without_path
    FROM public.timing_records AS t
    WHERE t.zone_id = wanted.zone_id AND t.at >= s.starts_at AND t.at < s.ends_at
      AND t.kind IN ('enter', 'cross') AND ($2::bigint IS NULL OR t.imei = $2)
) AS crossed
CROSS JOIN LATERAL (
    SELECT
        count(*) > 0 AS counts,
        coalesce(json_agg(json_build_array(z.direction, z.geometry) ORDER BY z.version)
            FILTER (WHERE z.kind = 'gate'), '[]')::text AS gates
    FROM public.zones AS z
    WHERE z.id = wanted.zone_id AND z.valid_from < z.valid_to
      AND z.valid_from < s.ends_at AND z.valid_to > s.starts_at
) AS then_
CROSS JOIN LATERAL (
    SELECT
        min(z.valid_from) FILTER (WHERE z.valid_from >= s.ends_at) AS counts_from,
        max(z.valid_to) FILTER (WHERE z.valid_to <= s.starts_at) AS counted_until
    FROM public.zones AS z
    WHERE z.id = wanted.zone_id AND z.valid_from < z.valid_to
) AS else_
WHERE s.name = $1 ORDER BY wanted.number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionZone:
    """Start and finish, or a sector gate.

    Attributes:
        name: Its newest one.
        n_crossings: In the session, along a path between two fixes, into it or through it.
        n_devices: How many made them.
        n_without_path: The others, which make no lap.
        counts: Whether a version of it counts at any time of the session.
        gates: Those versions, if they are gates.
        counts_from: The first moment behind the session at which a version begins to count.
        counted_until: The last moment before the session at which one ended.
    """

    name: str
    n_crossings: int
    n_devices: int
    n_without_path: int
    counts: bool
    gates: tuple[ZoneColumns, ...]
    counts_from: datetime | None
    counted_until: datetime | None


async def zones_of_session(
    session: Session, name: str, imei: int | None = None
) -> list[SessionZone]:
    """Start and finish, then the sector gates, of a session of this name; crossings of one device.

    Args:
        session: Any.
        name: Of the session.
        imei: None: crossings of all devices.
    """
    rows = await session.fetch(_ZONES, name, imei)
    return [SessionZone(**{**row, "gates": _gates(row["name"], row["gates"])}) for row in rows]


def _gates(name: str, text: str) -> tuple[ZoneColumns, ...]:
    return tuple(
        ZoneColumns(name=name, kind="gate", geometry=geometry, direction=direction)
        for direction, geometry in json.loads(text)
    )
