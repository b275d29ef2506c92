"""What tests of the write path do again and again."""

import os
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import asyncpg

from rows import DAY_MS, NOON_MS, BuiltRows, Record
from teltonika_processor.errors import SinkUnavailable
from teltonika_processor.store.positions import PositionWriter, Receipt

SEED = int(os.environ.get("TEST_SEED", "20261122"))

IMEI = Record().imei
FUTURE_MS = NOON_MS + 30 * DAY_MS

Open = Callable[..., PositionWriter]

# To attach a partition without a word to other sessions: their lists of partitions stay as they
# were, as where a list was read while ATTACH committed.
DETACH_FOR_UNNOTICED = """
CREATE TEMP TABLE of_the_day AS  -- the table and its indexes
    SELECT c.oid AS relid, relispartition, relpartbound, inhparent, inhseqno, inhdetachpending
    FROM pg_class AS c JOIN pg_inherits ON inhrelid = c.oid WHERE relname ~ '^positions_20261222';
ALTER TABLE positions DETACH PARTITION positions_20261222;
"""
ATTACH_UNNOTICED = """
SET allow_system_table_mods = on;
UPDATE pg_class AS c
SET relispartition = o.relispartition, relpartbound = o.relpartbound
FROM of_the_day AS o WHERE c.oid = relid;
INSERT INTO pg_inherits (inhrelid, inhparent, inhseqno, inhdetachpending)
    SELECT relid, inhparent, inhseqno, inhdetachpending FROM of_the_day;
"""


async def write(writer: PositionWriter, *records: Record, redelivered: bool = False) -> Receipt:
    return await writer.write(BuiltRows(records), redelivered=redelivered)


async def stored(connection: asyncpg.Connection) -> list[tuple[int, bool]]:
    """(digest, clock_suspect) of every row, by digest."""
    found = await connection.fetch("SELECT digest, clock_suspect FROM positions ORDER BY digest")
    return [tuple(row) for row in found]


async def partition_of(connection: asyncpg.Connection, digest: int) -> str:
    name = await connection.fetchval(
        "SELECT tableoid::regclass::text FROM positions WHERE digest = $1", digest
    )
    return str(name)


async def last_digest(connection: asyncpg.Connection) -> int | None:
    found: int | None = await connection.fetchval("SELECT digest FROM last_position")
    return found


async def waiting_pid(observer: asyncpg.Connection) -> int | None:
    """The session of the writer, once it waits for a lock in the middle of its COPY."""
    found: int | None = await observer.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'teltonika-processor/test-0'"
        " AND wait_event_type = 'Lock' AND query LIKE 'COPY%' AND datname = current_database()"
    )
    return found


async def hold_key(connection: asyncpg.Connection, record: Record) -> None:
    """Insert a row of the same key and leave the transaction open."""
    await connection.execute("BEGIN")
    await connection.execute(
        "INSERT INTO positions VALUES ($1, to_timestamp($2::float8 / 1000), $3, now(), 0, 0, 0, 0,"
        " 0, 0, 0, 0, NULL, false, '{}')",
        *record.key,
    )


async def written_at_last(
    writer: PositionWriter, batch: Sequence[Record], allowed: set[str]
) -> None:
    """Write as the pipeline does; a failure for a reason that is not allowed is the test's."""
    while True:
        try:
            await write(writer, *batch)
        except SinkUnavailable as error:
            if error.sqlstate not in allowed:
                raise
        else:
            return


async def sleep_on_insert(connection: asyncpg.Connection) -> None:
    """Make every row of `positions` take longer than any write timeout here."""
    await connection.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(60); RETURN new; END'"
    )
    await connection.execute(
        "CREATE TRIGGER dawdle BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )


def with_user(dsn: str, role: str) -> str:
    parts = urlsplit(dsn)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()
