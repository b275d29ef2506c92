"""Zones in the table: versions are added, or end; what follows on that is `zone_edits`."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from teltonika_processor.errors import SchemaMismatch
from teltonika_processor.store.connection import Session

# Of edits alone: writers and folds never take it.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('teltonika-processor zones', 0))"

_COLUMNS: Final = """
id, version, name, kind, geometry::text, radius_m, direction, hysteresis_m, minimum_lap_s,
CASE WHEN valid_from > '-infinity' THEN
    least(greatest(valid_from, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
END AS valid_from,
CASE WHEN valid_to < 'infinity' THEN
    least(greatest(valid_to, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
END AS valid_to,
isempty(unmarked) AS is_marked
"""

_LIVE: Final = f"""
SELECT DISTINCT ON (id) {_COLUMNS} FROM public.zones ORDER BY id, version DESC
"""  # noqa: S608 -- constants of ours

_ALL: Final = f"SELECT {_COLUMNS} FROM public.zones ORDER BY id, version"  # noqa: S608

_INSERT: Final = """
INSERT INTO public.zones (
    id, version, name, kind, geometry, radius_m, direction, hysteresis_m, minimum_lap_s,
    valid_from, valid_to, unmarked
) VALUES (
    coalesce($1, (SELECT coalesce(max(id), 0) + 1 FROM public.zones)),
    $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9,
    coalesce($10, '-infinity'::timestamptz), 'infinity', tstzrange($10, NULL)
)
"""

# $1: the zone; $2: from when on; $3: whether devices are to be marked for it. Older versions may
# count then too, where a newer one begins later.
_END: Final = """
UPDATE public.zones
SET valid_to = greatest(valid_from, coalesce($2, '-infinity'::timestamptz)),
    unmarked = CASE WHEN $3 THEN range_merge(unmarked, tstzrange($2, valid_to)) ELSE unmarked END
WHERE id = $1 AND valid_to > coalesce($2, '-infinity'::timestamptz)
"""

COUNT_CHANGES: Final = "SELECT number FROM public.zones_change"

# Without zones there are no crossings, and nobody need be marked.
_CHANGE_LIMITS: Final = """
UPDATE public.timing_limits
SET gap_s = $1, jump_m_s = $2, is_marked = NOT EXISTS (SELECT FROM public.zones)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneColumns:
    """What a version says besides its number and validity.

    Attributes:
        kind: circle, polygon or gate.
        geometry: GeoJSON, type and coordinates alone.
        radius_m: Of a circle.
        direction: Of a gate.
    """

    name: str
    kind: str
    geometry: Mapping[str, Any]
    radius_m: float | None = None
    direction: str | None = None
    hysteresis_m: float = 0.0
    minimum_lap_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredZone:
    """One version, as its row says.

    Attributes:
        valid_from: None: always.
        valid_to: None: without end.
        is_marked: Whether its edit is finished.
    """

    id: int
    version: int
    columns: ZoneColumns
    valid_from: datetime | None
    valid_to: datetime | None
    is_marked: bool


@dataclass(frozen=True, slots=True)
class PathLimits:
    """What is a path between two fixes, as the row of `timing_limits` says.

    Attributes:
        gap_s: Two fixes farther apart in time have no path between them.
        jump_m_s: Nor have two that would need this speed.
    """

    gap_s: float
    jump_m_s: float


@dataclass(frozen=True, slots=True)
class Edited:
    """What becomes of one zone."""

    name: str
    did: Literal["added", "changed", "unchanged", "disabled"]


def counts_now(zone_id: str) -> str:
    """SQL: whether a version of the zone of this id counts at the moment."""
    return (
        f"EXISTS (SELECT FROM public.zones AS counting WHERE counting.id = {zone_id}"
        " AND counting.valid_from <= now() AND counting.valid_to > now())"
    )


async def all_zones(session: Session) -> list[StoredZone]:
    """Every version, by zone and number."""
    rows = await session.fetch(_ALL)
    return await asyncio.to_thread(lambda: [_stored(row) for row in rows])


async def count_changes(session: Session) -> int:
    """How often zones were changed: whoever holds them compares it."""
    return int(await session.fetchval(COUNT_CHANGES))


async def path_limits(session: Session) -> PathLimits:
    """What is a path; a change of it counts among those of zones.

    Raises:
        SchemaMismatch: There is no row, or one that says no number.
    """
    row = await session.fetchrow("SELECT gap_s, jump_m_s FROM public.timing_limits")
    if row is None:
        raise SchemaMismatch("timing_limits has no row: INSERT INTO timing_limits VALUES (...)")
    if math.isnan(row["gap_s"]) or math.isnan(row["jump_m_s"]):
        raise SchemaMismatch("timing_limits: a limit is NaN: UPDATE timing_limits SET ...")
    return PathLimits(row["gap_s"], row["jump_m_s"])


async def change_limits(session: Session, limits: PathLimits) -> bool:
    """Write other limits, under which all is to be derived again; then `finish_edits`.

    Args:
        session: Without an open transaction.
        limits: Those that count from now on, for all that was too.

    Returns:
        Whether they differ from those of before.
    """
    async with session.transaction(isolation="read_committed"):
        await session.execute(_LOCK)
        if await path_limits(session) == limits:
            return False
        await session.execute(_CHANGE_LIMITS, limits.gap_s, limits.jump_m_s)
        return True


async def plan_zones(
    session: Session, zones: Sequence[ZoneColumns], *, valid_from: datetime | None
) -> list[Edited]:
    """What `write_zones` would do."""
    newest = await _newest(session)
    return [Edited(zone.name, _what(zone, newest.get(zone.name), valid_from)) for zone in zones]


async def write_zones(
    session: Session, zones: Sequence[ZoneColumns], *, valid_from: datetime | None
) -> list[Edited]:
    """Add versions of those that are new or differ, all or none; then `finish_edits`.

    Args:
        session: Without an open transaction.
        zones: Each with a name of its own.
        valid_from: From when on they count; None: always.
    """
    async with session.transaction(isolation="read_committed"):
        await session.execute(_LOCK)
        newest = await _newest(session)
        return [await _write(session, zone, newest.get(zone.name), valid_from) for zone in zones]


@asynccontextmanager
async def rolled_back(session: Session) -> AsyncIterator[None]:
    """What the block writes is seen by it alone, and then was never there; other edits wait."""
    transaction = session.transaction(isolation="read_committed")
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def _newest(session: Session) -> dict[str, StoredZone]:
    """The newest version of each zone, by its name."""
    found = map(_stored, await session.fetch(_LIVE))
    return {zone.columns.name: zone for zone in found}


def _what(
    zone: ZoneColumns, newest: StoredZone | None, valid_from: datetime | None
) -> Literal["added", "changed", "unchanged"]:
    if newest is None or not _is_after(newest.valid_to, valid_from):
        return "added"
    counts_all_the_while = newest.valid_to is None and (
        newest.valid_from is None or (valid_from is not None and newest.valid_from <= valid_from)
    )
    return "unchanged" if newest.columns == zone and counts_all_the_while else "changed"


def _is_after(valid_to: datetime | None, begin: datetime | None) -> bool:
    return valid_to is None or begin is None or valid_to > begin


async def _write(
    session: Session, zone: ZoneColumns, newest: StoredZone | None, valid_from: datetime | None
) -> Edited:
    did = _what(zone, newest, valid_from)
    if did == "unchanged":
        return Edited(zone.name, did)
    if newest is not None:
        await session.execute(_END, newest.id, valid_from, False)
    await session.execute(
        _INSERT,
        None if newest is None else newest.id,
        1 if newest is None else newest.version + 1,
        zone.name,
        zone.kind,
        json.dumps(zone.geometry),
        zone.radius_m,
        zone.direction,
        zone.hysteresis_m,
        zone.minimum_lap_s,
        valid_from,
    )
    return Edited(zone.name, did)


async def disable_zone(session: Session, name: str, *, valid_to: datetime | None) -> bool:
    """Let a zone count no more from then on; whether there is one of this name that counts.

    Args:
        session: Without an open transaction.
        name: Of the zone.
        valid_to: None: as if it had never counted.
    """
    async with session.transaction(isolation="read_committed"):
        await session.execute(_LOCK)
        zone = (await _newest(session)).get(name)
        if zone is None:
            return False
        ended = await session.execute(_END, zone.id, valid_to, True)
        return str(ended) != "UPDATE 0"


def _stored(row: Any) -> StoredZone:
    found = {**dict(row), "geometry": json.loads(row["geometry"])}
    columns = {name: found.pop(name) for name in ZoneColumns.__slots__}
    return StoredZone(columns=ZoneColumns(**columns), **found)
