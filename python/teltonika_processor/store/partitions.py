"""Looking at the partitions of `positions`."""

import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from teltonika_processor.errors import SchemaMismatch
from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    open_migration_session,
    open_reading_session,
    session_of,
)
from teltonika_processor.store.migrate import pending_told
from teltonika_processor.store.partition import Partition, kind_of
from teltonika_processor.store.sqlstate import NOT_READABLE
from teltonika_processor.store.tls import Encryption

LOCK_TIMEOUT_S: Final = 0.2
"""Writers wait behind a try for so long, and for the milliseconds that the detach takes."""

PLAUSIBLE_MAX: Final = 1000
"""Plausible rows in the default partition are counted up to here."""

MARK: Final = "Detached to be dropped by teltonika-processor: `partitions drop` ends it."
"""The comment on a table that a drop detached; its name ends in ``_dropped`` beside it."""

# Bound: moving the rows of one day; millions of them take a minute.
_REPAIR_MAX_S: Final = 120.0

_OWNS: Final = """
SELECT coalesce(pg_has_role(relowner, 'USAGE'), false) FROM pg_catalog.pg_class
WHERE oid = to_regclass('public.positions')
"""

# Bounds are written as the session shows times.
_BEGIN_LIST: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO'
"""

# $1: the mark.
_LIST: Final = """
WITH tables AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples, c.relispartition,
        inhrelid IS NOT NULL AS is_attached,
        pg_get_expr(c.relpartbound, c.oid) AS bound,
        coalesce(obj_description(c.oid, 'pg_class') = $1, false)
            AND c.relname LIKE '%\\_dropped' AS is_marked
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_inherits
        ON inhrelid = c.oid AND inhparent = 'public.positions'::regclass
    WHERE c.relkind IN ('r', 'p', 'f')
)
SELECT nspname, relname,
    CASE WHEN NOT is_attached THEN CASE WHEN is_marked THEN 'dropped' ELSE 'detached' END
        WHEN bound = 'DEFAULT' THEN 'default'
        WHEN relkind = 'f' THEN 'foreign'
        ELSE 'range'
    END AS standing,
    extract(epoch FROM replace(range[1], 'MINVALUE', '-infinity')::timestamptz)::float8 AS from_s,
    extract(epoch FROM replace(range[2], 'MAXVALUE', 'infinity')::timestamptz)::float8 AS to_s,
    CASE WHEN relkind <> 'p' THEN nullif(reltuples, -1)::bigint ELSE (
        SELECT sum(leaf.reltuples)::bigint FROM pg_partition_tree(tables.oid) AS tree
        JOIN pg_catalog.pg_class AS leaf ON leaf.oid = tree.relid
        WHERE tree.isleaf AND leaf.reltuples >= 0
    ) END AS rows,
    coalesce(CASE WHEN relkind <> 'p' THEN pg_total_relation_size(tables.oid) ELSE (
        SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree(tables.oid)
    ) END, 0) AS n_bytes
FROM tables LEFT JOIN LATERAL regexp_match(
    bound, 'FROM [(]''?([^'')]+)''?[)] TO [(]''?([^'')]+)''?[)]'
) AS range ON true
WHERE is_attached OR NOT relispartition AND (
    is_marked OR nspname = 'public' AND relname ~ '^positions_[0-9]{8}$'
)
"""

# $1: schemas, $2: tables.
_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest($1::name[], $2::name[]))
"""

_N_PARTITIONS: Final = """
SELECT count(*) FROM pg_catalog.pg_inherits WHERE inhparent = 'public.positions'::regclass
"""

# $1: most rows to count.
_PLAUSIBLE: Final = """
SELECT coalesce(sum(plausible_rows), 0)::bigint FROM public.positions_default_plausible($1::integer)
"""

_PLAUSIBLE_DAYS: Final = """
SELECT day - DATE '1970-01-01', plausible_rows
FROM public.positions_default_plausible($1, DATE '1970-01-01' + $2::integer)
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is watched.

    Attributes:
        n_partitions: Partitions of `positions`.
        default_plausible_rows: Plausible rows in the default one, `PLAUSIBLE_MAX` at most; None
            where the role may not ask, or the schema is older.
    """

    n_partitions: int
    default_plausible_rows: int | None


@asynccontextmanager
async def owner_session(
    dsn: str, instance: str | None = None, encryption: Encryption | None = None
) -> AsyncIterator[Session]:
    """A session for the owner, never by a pooler; foreign errors that leave it are translated."""
    config = SessionConfig(
        dsn=dsn,
        instance=instance or socket.gethostname(),
        lock_timeout_s=LOCK_TIMEOUT_S,
        close_timeout_s=0.5,
        encryption=encryption or Encryption(),
    )
    async with session_of(open_migration_session, config) as session, pending_told(session):
        yield session


@asynccontextmanager
async def writer_session(dsn: str, *, pooler: Pooler) -> AsyncIterator[Session]:
    """A session for whoever may write; foreign errors that leave it are translated."""
    config = SessionConfig(
        dsn=dsn, instance=socket.gethostname(), write_timeout_s=_REPAIR_MAX_S, pooler=pooler
    )
    async with session_of(open_reading_session, config) as session, pending_told(session):
        yield session


async def is_owner(session: Session) -> bool:
    """Whether this role may take partitions away.

    Raises:
        SchemaMismatch: There is no table `positions`.
    """
    owns = await session.fetchval(_OWNS)
    if owns is None:
        raise SchemaMismatch("there is no table positions: run `teltonika-processor migrate`")
    return bool(owns)


async def server_day(session: Session) -> int:
    """The server's UTC day since 1970-01-01."""
    return int(
        await session.fetchval(
            "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date - DATE '1970-01-01'"
        )
    )


async def partitions(session: Session) -> list[Partition]:
    """All partitions of `positions`, and the tables beside it that are or were ones."""
    await session.execute(_BEGIN_LIST)
    rows = await session.fetch(_LIST, MARK)
    await session.execute("COMMIT")
    return [_partition(row) for row in rows]


async def with_tables(session: Session, gone: Sequence[Partition]) -> list[Partition]:
    """Those of `gone` under whose name there is a table, whatever it is to `positions`."""
    schemas, tables = [p.schema for p in gone], [p.table for p in gone]
    rows = await session.fetch(_TABLES, schemas, tables)
    there = {(row["nspname"], row["relname"]) for row in rows}
    return [partition for partition in gone if (partition.schema, partition.table) in there]


async def counted(session: Session, partition: Partition) -> Partition:
    """The same with its rows counted, which may take long."""
    statement = f"SELECT count(*) FROM {table_sql(partition)}"  # noqa: S608 -- names are quoted
    return replace(partition, rows=await session.fetchval(statement))


async def figures(session: Session) -> Figures:
    """What is watched; needs no more than the writer may."""
    n_partitions = await session.fetchval(_N_PARTITIONS)
    try:
        return Figures(n_partitions, await plausible_in_default(session))
    except NOT_READABLE:
        return Figures(n_partitions, None)


async def plausible_in_default(session: Session) -> int | None:
    """Plausible rows in the default partition, `PLAUSIBLE_MAX` at most; None: an older schema."""
    try:
        return await count_plausible(session)
    except asyncpg.UndefinedFunctionError:
        return None


async def count_plausible(session: Session) -> int:
    """The same, of a schema that must be able to tell."""
    n_rows: int = await session.fetchval(_PLAUSIBLE, PLAUSIBLE_MAX)
    return n_rows


async def plausible_days(session: Session, since: int) -> list[tuple[int, int]]:
    """(UTC day since 1970-01-01, rows) of plausible rows in the default partition, ascending.

    `PLAUSIBLE_MAX` rows are counted, from the day `since` on.
    """
    return [tuple(row) for row in await session.fetch(_PLAUSIBLE_DAYS, PLAUSIBLE_MAX, since)]


def table_sql(partition: Partition) -> str:
    """The table as a statement names it."""
    return f"{quoted(partition.schema)}.{quoted(partition.table)}"


def quoted(name: str) -> str:
    """An identifier as a statement writes it."""
    return '"' + name.replace('"', '""') + '"'


def _partition(row: asyncpg.Record) -> Partition:
    from_s, to_s = (
        math.nan if row[name] is None else float(row[name]) for name in ("from_s", "to_s")
    )
    return Partition(
        schema=row["nspname"],
        table=row["relname"],
        kind=kind_of(row["standing"], from_s, to_s),
        from_s=from_s,
        to_s=to_s,
        rows=row["rows"],
        n_bytes=row["n_bytes"],
    )
