"""What follows on an edit of zones or limits, so that crossings are derived again.

Rules. An edit is three steps, each of which may be done again: the version is committed with the
stretch that it changes; whoever was writing then has ended, so that no batch judged by the zones of
before is still open; every device is marked for the stretch. Nobody is blocked meanwhile, and what
a crash left is finished by whoever comes by. Other limits change all time, and their marks say that
somebody asked for it: no version of a zone tells.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final

from teltonika_processor.store.connection import Session

# Bound: devices that are marked in one transaction, so that their batches wait for milliseconds.
_PAGE: Final = 1000

_POLL_S: Final = 0.05

# Who waits longer is told for whom, and again and again.
_TOLD_EVERY_S: Final = 5.0

_UNMARKED: Final = """
SELECT
    coalesce(lower(unmarked), '-infinity'), coalesce(upper(unmarked), 'infinity'),
    array_agg(id ORDER BY id, version), array_agg(version ORDER BY id, version),
    array_agg(xmin::text::bigint ORDER BY id, version)
FROM public.zones WHERE NOT isempty(unmarked) GROUP BY unmarked ORDER BY unmarked
"""

_UNMARKED_LIMITS: Final = """
SELECT xmin::text::bigint FROM public.timing_limits WHERE NOT is_marked
"""

_COUNT_UNMARKED: Final = """
SELECT (SELECT count(*) FROM public.zones WHERE NOT isempty(unmarked))
    + (SELECT count(*) FROM public.timing_limits WHERE NOT is_marked)
"""

# A number of our own, greater than that of everyone who has written so far: a snapshot's end is the
# first number behind those that have ended, and whoever is open may have a greater one.
_TAKE_NUMBER: Final = "SELECT pg_current_xact_id()::text::bigint"

_OLDEST_OPEN: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

# Whose transactions have a number. Of other roles only who may read all statistics sees it.
_WRITERS: Final = """
SELECT 'pid ' || pid || ' (' || coalesce(nullif(application_name, ''), usename, '?') || ', '
    || coalesce(datname, '?') || ', since '
    || to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ')'
FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
ORDER BY xact_start LIMIT 5
"""

# $1: behind which device; $2, $3: the stretch; $4: whether somebody asked for it. No plausible fix
# is older than 2010. A device stays until its mark is committed: whoever erases it then finds the
# mark.
_MARK_PAGE: Final = f"""
WITH page AS (
    SELECT imei, recorded_at FROM public.last_position
    WHERE imei > $1 ORDER BY imei LIMIT {_PAGE} FOR KEY SHARE
), marked AS (
    INSERT INTO public.refold AS f (imei, ranges, is_rerun)
    SELECT imei, tstzmultirange(
        tstzrange(greatest($2, '2010-01-01 00:00:00+00'::timestamptz), least($3, recorded_at), '[]')
    ), $4
    FROM page
    WHERE greatest($2, '2010-01-01 00:00:00+00'::timestamptz) <= least($3, recorded_at)
    ORDER BY imei
    ON CONFLICT (imei) DO UPDATE SET
        ranges = f.ranges + excluded.ranges, is_rerun = f.is_rerun OR excluded.is_rerun
)
SELECT max(imei), count(*) FROM page
"""  # noqa: S608 -- a constant of ours

# Rows that are still as they were read: whoever edited one meanwhile, perhaps for the same stretch,
# wants devices marked again that were marked and derived before.
_MARKED: Final = """
UPDATE public.zones SET unmarked = 'empty'
WHERE (id, version, xmin::text::bigint) IN (
    SELECT * FROM unnest($1::integer[], $2::integer[], $3::bigint[])
)
"""

_LIMITS_MARKED: Final = """
UPDATE public.timing_limits SET is_marked = true WHERE xmin::text::bigint = $1
"""


async def count_unfinished_edits(session: Session) -> int:
    """How many versions, and limits, have devices yet to be marked for them."""
    return int(await session.fetchval(_COUNT_UNMARKED))


async def finish_edits(
    session: Session, waits: Callable[[Sequence[str]], None] | None = None
) -> AsyncIterator[int]:
    """Mark devices for every edit that is not finished.

    Args:
        session: Without an open transaction.
        waits: Told every few seconds of the transactions that are waited for, as far as this role
            sees whose they are.

    Yields:
        Devices that were looked at so far.
    """
    edits = await session.fetch(_UNMARKED)
    limits = await session.fetch(_UNMARKED_LIMITS)
    if edits or limits:
        await _until_writers_of_before_have_ended(session, waits)
    n_devices = 0
    for begin, end, ids, versions, seen in edits:
        async for n in _mark_all(session, begin, end, is_rerun=False):
            n_devices += n
            yield n_devices
        await session.execute(_MARKED, ids, versions, seen)
    for (seen,) in limits:
        async for n in _mark_all(session, None, None, is_rerun=True):
            n_devices += n
            yield n_devices
        await session.execute(_LIMITS_MARKED, seen)


async def _mark_all(
    session: Session, begin: datetime | None, end: datetime | None, *, is_rerun: bool
) -> AsyncIterator[int]:
    """Mark every device for a stretch (None: without bound); how many of each page."""
    behind: int | None = -1
    while behind is not None:
        ((behind, n),) = await session.fetch(_MARK_PAGE, behind, begin, end, is_rerun)
        if n:
            yield n


async def _until_writers_of_before_have_ended(
    session: Session, waits: Callable[[Sequence[str]], None] | None
) -> None:
    """Whoever writes has a number; once all below ours are gone, so are those of before."""
    ours = await session.fetchval(_TAKE_NUMBER)
    told_s = time.monotonic()
    while await session.fetchval(_OLDEST_OPEN) < ours:
        if waits is not None and time.monotonic() >= told_s + _TOLD_EVERY_S:
            told_s = time.monotonic()
            waits([row[0] for row in await session.fetch(_WRITERS)])
        await asyncio.sleep(_POLL_S)
