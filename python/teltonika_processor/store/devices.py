"""Devices as an operator sees them: listed, looked at, allowed and denied.

Times come as Unix milliseconds: a suspect clock may be beyond what a datetime holds.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import asyncpg

from teltonika_processor.model import format_imei
from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    open_reading_session,
    session_of,
)
from teltonika_processor.store.sqlstate import NOT_READABLE
from teltonika_processor.store.zones import counts_now

# Bound: one statement; each reads a page, or one device's day.
_STATEMENT_MAX_S: Final = 20.0

# Bound: devices of one page, and of one transaction that changes them.
_PAGE: Final = 1000

_DAY_MS: Final = 86_400_000


def _ms(column: str) -> str:
    return f"(extract(epoch FROM {column}) * 1000)::bigint"


# last_seen_at is up to an hour old while a device sends; the newest fix says it better.
_SEEN_AT: Final = "greatest(d.last_seen_at, l.received_at)"

# $1: only above this IMEI. $2: allowed, or null for both. $3, $4: seen from, seen before, Unix
# seconds, or null. $5: most rows. Who was never seen has been silent for ever.
_LIST: Final = f"""
SELECT d.imei, d.name, d.allowed, {_ms("d.first_seen_at")} AS first_seen_at_ms,
    {_ms(_SEEN_AT)} AS last_seen_at_ms, {_ms("l.recorded_at")} AS last_recorded_at_ms
FROM public.devices AS d LEFT JOIN public.last_position AS l USING (imei)
WHERE d.imei > $1
  AND ($2::boolean IS NULL OR d.allowed = $2)
  AND ($3::double precision IS NULL OR {_SEEN_AT} >= to_timestamp($3))
  AND ($4::double precision IS NULL OR {_SEEN_AT} IS NULL OR {_SEEN_AT} < to_timestamp($4))
ORDER BY d.imei LIMIT $5
"""  # noqa: S608 -- constants of ours

_DEVICE: Final = f"""
SELECT imei, name, allowed, {_ms("first_seen_at")} AS first_seen_at_ms,
    {_ms("last_seen_at")} AS last_seen_at_ms, attributes::text AS attributes
FROM public.devices WHERE imei = $1
"""  # noqa: S608 -- constants of ours

_LAST_POSITION: Final = f"""
SELECT {_ms("recorded_at")} AS recorded_at_ms, digest, {_ms("received_at")} AS received_at_ms,
    longitude, latitude, altitude_m, angle_deg, satellites, speed_kmh, priority, event_io_id
FROM public.last_position WHERE imei = $1
"""  # noqa: S608 -- constants of ours

# $2, $3: Unix seconds; partitions of other days are not opened.
_RECENT: Final = f"""
SELECT count(*) AS n_records, count(*) FILTER (WHERE satellites = 0) AS n_without_fix,
    {_ms("max(recorded_at)")} AS newest_recorded_at_ms,
    {_ms("max(received_at)")} AS newest_received_at_ms
FROM public.positions
WHERE imei = $1 AND NOT clock_suspect
  AND recorded_at >= to_timestamp($2::double precision)
  AND recorded_at < to_timestamp($3::double precision)
"""  # noqa: S608 -- constants of ours

# Of each zone that counts the newest crossing: inside if it was no exit.
_INSIDE: Final = f"""
SELECT z.name AS zone, {_ms("newest.at")} AS since_ms
FROM (SELECT DISTINCT ON (id) id, name FROM public.zones ORDER BY id, version DESC) AS z
CROSS JOIN LATERAL (
    SELECT kind, at FROM public.timing_records
    WHERE imei = $1 AND zone_id = z.id AND kind <> 'cross'
    ORDER BY end_t DESC, n DESC LIMIT 1
) AS newest
WHERE newest.kind <> 'exit' AND {counts_now("z.id")} ORDER BY newest.at, z.name
"""  # noqa: S608 -- constants of ours

# $1: [{"imei": .., "name": .. or null}, ..]; $2: allowed. Sorted as the writers' own statement is,
# so that they lock in one order. xmax is 0 in a row that was inserted.
_ADMIT: Final = """
INSERT INTO public.devices AS d (imei, name, allowed)
SELECT imei, name, $2
FROM jsonb_to_recordset($1::text::jsonb) AS wanted (imei bigint, name text)
ORDER BY imei
ON CONFLICT (imei) DO UPDATE SET
    allowed = excluded.allowed, name = coalesce(excluded.name, d.name)
WHERE d.allowed <> excluded.allowed OR d.name IS DISTINCT FROM coalesce(excluded.name, d.name)
RETURNING d.imei, xmax = 0 AS is_new
"""

# $1: an array as Postgres writes it.
_KNOWN: Final = """
SELECT imei, name, allowed FROM public.devices WHERE imei = ANY($1::text::bigint[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """One row of a list.

    Attributes:
        imei: 15 digits.
        name: What people call it.
        allowed: Whether the gateway lets it in.
        first_seen_at_ms: Receive time of its first batch; None if it was never seen.
        last_seen_at_ms: Receive time of its newest fix, or what `devices` says if that is later.
        last_recorded_at_ms: The tracker's clock at its newest fix; None without a fix.
    """

    imei: str
    name: str | None
    allowed: bool
    first_seen_at_ms: int | None
    last_seen_at_ms: int | None
    last_recorded_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """The row of `devices`; `attributes` is a JSON object."""

    imei: str
    name: str | None
    allowed: bool
    first_seen_at_ms: int | None
    last_seen_at_ms: int | None
    attributes: object


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPositionRow:
    """The row of `last_position`, in its units."""

    recorded_at_ms: int
    digest: int
    received_at_ms: int
    longitude: float
    latitude: float
    altitude_m: int
    angle_deg: int
    satellites: int
    speed_kmh: int
    priority: int
    event_io_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRecords:
    """What `positions` holds of the last 24 hours by the tracker's clock, suspect clocks aside."""

    n_records: int
    n_without_fix: int
    newest_recorded_at_ms: int | None
    newest_received_at_ms: int | None


@dataclass(frozen=True, slots=True)
class InZone:
    """A zone that the device is inside of, and since when."""

    zone: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDevice:
    """What Postgres holds of one device; `zones` is None where this role may not ask."""

    device: DeviceRow | None
    last_position: LastPositionRow | None
    recent: RecentRecords
    zones: tuple[InZone, ...] | None

    @property
    def is_anything(self) -> bool:
        """Whether any of the tables has the device."""
        rows = (self.device, self.last_position)
        return any(row is not None for row in rows) or self.recent.n_records > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which devices are listed.

    Attributes:
        allowed: Those that are or are not; None for both.
        seen_from_s: Heard of at this Unix time or later.
        seen_before_s: Not heard of since this Unix time, or never.
    """

    allowed: bool | None = None
    seen_from_s: float | None = None
    seen_before_s: float | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """What allowing or denying came to, in devices."""

    n_new: int
    n_changed: int
    n_already: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.n_new + self.n_changed + self.n_already

    def plus(self, later: "Admitted") -> "Admitted":
        """Both together."""
        return Admitted(
            self.n_new + later.n_new,
            self.n_changed + later.n_changed,
            self.n_already + later.n_already,
        )


def devices_session(dsn: str, *, pooler: Pooler = "none") -> AbstractAsyncContextManager[Session]:
    """A session for these statements; foreign errors that leave the block are translated."""
    config = SessionConfig(
        dsn=dsn, instance="device", write_timeout_s=_STATEMENT_MAX_S, pooler=pooler
    )
    return session_of(open_reading_session, config)


async def device_pages(
    session: Session, wanted: Filter, *, after: int, limit: int
) -> AsyncIterator[list[ListedDevice]]:
    """At most `limit` devices with an IMEI above `after`, ascending, in pages.

    Each page is looked for behind the last device of the one before, so no page costs more than
    another, and what is registered meanwhile shifts nothing.
    """
    left = limit
    while left > 0:
        bounds = (wanted.allowed, wanted.seen_from_s, wanted.seen_before_s)
        rows = await session.fetch(_LIST, after, *bounds, min(left, _PAGE))
        if not rows:
            return
        after, left = rows[-1]["imei"], left - len(rows)
        yield [ListedDevice(**{**row, "imei": format_imei(row["imei"])}) for row in rows]


async def stored_device(session: Session, imei: int, *, now_ms: int) -> StoredDevice:
    """What Postgres holds of one device; four statements."""
    device = await session.fetchrow(_DEVICE, imei)
    position = await session.fetchrow(_LAST_POSITION, imei)
    bounds_s = ((now_ms - _DAY_MS) / 1000, (now_ms + _DAY_MS) / 1000)
    (recent,) = await session.fetch(_RECENT, imei, *bounds_s)
    return StoredDevice(
        device=None if device is None else _of_device(device),
        last_position=None if position is None else LastPositionRow(**position),
        recent=RecentRecords(**recent),
        zones=await _zones_around(session, imei),
    )


async def _zones_around(session: Session, imei: int) -> tuple[InZone, ...] | None:
    try:
        return tuple(InZone(**row) for row in await session.fetch(_INSIDE, imei))
    except NOT_READABLE:
        return None


async def admit(
    session: Session, names: Mapping[int, str | None], *, allowed: bool
) -> AsyncIterator[Admitted]:
    """Set `allowed` of the devices `names`, and the name where there is one, a page at a time.

    A page is one transaction; devices that are not known are inserted. Doing it twice changes
    nothing the second time.
    """
    for page in _pages(names):
        wanted = [{"imei": imei, "name": names[imei]} for imei in page]
        rows = await session.fetch(_ADMIT, json.dumps(wanted), allowed)
        n_new = sum(row["is_new"] for row in rows)
        yield Admitted(n_new, len(rows) - n_new, len(page) - len(rows))


async def would_admit(
    session: Session, names: Mapping[int, str | None], *, allowed: bool
) -> Admitted:
    """What `admit` would come to now; changes nothing."""
    n_new = n_changed = 0
    for page in _pages(names):
        rows = await session.fetch(_KNOWN, f"{{{','.join(map(str, page))}}}")
        n_new += len(page) - len(rows)
        n_changed += sum(
            row["allowed"] != allowed or names[row["imei"]] not in {None, row["name"]}
            for row in rows
        )
    return Admitted(n_new, n_changed, len(names) - n_new - n_changed)


def _pages(names: Mapping[int, str | None]) -> list[Sequence[int]]:
    imeis = sorted(names)
    return [imeis[first : first + _PAGE] for first in range(0, len(imeis), _PAGE)]


def _of_device(row: asyncpg.Record) -> DeviceRow:
    texts = {"imei": format_imei(row["imei"]), "attributes": json.loads(row["attributes"])}
    return DeviceRow(**{**row, **texts})
