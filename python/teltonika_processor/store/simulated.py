"""What the log holds of simulated devices: keys, columns, and how many rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from teltonika_processor.codec.native import POSITION_COLUMNS, Rows
from teltonika_processor.store.connection import Session

StoredKey = tuple[int, int, int]
"""(imei, recorded_at in Unix microseconds, digest)."""

# Extract gives a numeric, so nothing is rounded away.
_RECEIVED: Final = """
SELECT imei, (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_at_us, digest
FROM public.positions WHERE imei = ANY($1::bigint[]) AND received_at >= $2
"""

_COUNTS: Final = """
SELECT imei, count(*) FILTER (WHERE received_at < $3) AS earlier, count(*) AS all_rows
FROM public.positions WHERE imei BETWEEN $1 AND $2 GROUP BY imei
"""

_NOW: Final = "SELECT now()"

# As in `store.audit`: planned by the rows' bounds, and always as index look-ups.
_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL jit = off;
CREATE TEMP TABLE expected (
    imei bigint, recorded_at timestamptz, digest bigint, received_at timestamptz,
    longitude double precision, latitude double precision, altitude_m smallint, angle_deg integer,
    satellites smallint, speed_kmh integer, priority smallint, event_io_id integer,
    generation_type smallint, clock_suspect boolean, io jsonb
) ON COMMIT DROP
"""

# Not what depends on when the gateway received the record: received_at and clock_suspect.
_DIFFERENT: Final = """
SELECT DISTINCT e.imei, (extract(epoch FROM e.recorded_at) * 1000000)::bigint AS us, e.digest
FROM pg_temp.expected AS e JOIN public.positions AS p USING (imei, recorded_at, digest)
WHERE p.recorded_at >= (SELECT min(recorded_at) FROM pg_temp.expected)
  AND p.recorded_at <= (SELECT max(recorded_at) FROM pg_temp.expected)
  AND (p.longitude, p.latitude, p.altitude_m, p.angle_deg, p.satellites, p.speed_kmh,
       p.priority, p.event_io_id, p.generation_type, p.io::jsonb)
      IS DISTINCT FROM
      (e.longitude, e.latitude, e.altitude_m, e.angle_deg, e.satellites, e.speed_kmh,
       e.priority, e.event_io_id, e.generation_type, e.io)
"""


async def server_time(session: Session) -> datetime:
    """The clock of Postgres."""
    now: datetime = await session.fetchval(_NOW)
    return now


async def keys_received(session: Session, imeis: Sequence[int], since: datetime) -> list[StoredKey]:
    """Keys of the rows that a gateway received since then, one for each row, ascending.

    Every partition is asked by its primary key, since a device's clock may say anything.
    """
    rows = await session.fetch(_RECEIVED, list(imeis), since)
    return sorted((row["imei"], row["recorded_at_us"], row["digest"]) for row in rows)


async def rows_by_imei(
    session: Session, least: int, most: int, since: datetime
) -> Mapping[int, tuple[int, int]]:
    """Of devices from `least` to `most`: rows received before `since`, and all rows."""
    rows = await session.fetch(_COUNTS, least, most, since)
    return {row["imei"]: (row["earlier"], row["all_rows"]) for row in rows}


async def different_rows(session: Session, rows: Rows) -> list[StoredKey]:
    """Keys of stored rows of which a column holds something else than in `rows`.

    All columns but `received_at` and `clock_suspect` are compared.
    """
    # Nothing of it is left in the session, which may be one of a pooler's.
    await session.execute(_BEGIN)
    await session.copy_to_table(
        "expected",
        schema_name="pg_temp",
        columns=POSITION_COLUMNS,
        source=memoryview(rows.copy_positions()),  # type: ignore[arg-type] # as in `store.audit`
        format="binary",
    )
    found = await session.fetch(_DIFFERENT)
    await session.execute("COMMIT")
    return sorted((row["imei"], row["us"], row["digest"]) for row in found)
