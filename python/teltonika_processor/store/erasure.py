"""Erasing a device from every table of ours.

Rows go in transactions of some thousand: a device that sends once a second has 30 million rows a
year, and one DELETE of them would hold locks, a snapshot and the day partitions that writers want
to make for as long as it takes. A kill between two transactions leaves the rest for the next run.
"""

import math
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from teltonika_processor.errors import SchemaMismatch
from teltonika_processor.store.connection import (
    Session,
    SessionConfig,
    open_reading_session,
    session_of,
)

PERSONAL_TABLES: Final = (
    *("positions", "last_position", "refold", "timing_records", "timing_revisions", "devices"),
)
"""Our tables that say something of a device, in the order of erasing: the log first, and last the
row by which the device is known. Marks are made from `last_position`, and crossings are written
under marks, so each goes before what would be written from it. A test holds it against the
migrations."""

_LOG: Final = "positions"

# Bound: rows of one transaction, some 0.1 to 1 s.
_ROWS: Final = 10_000

# Bound: one statement; counting 10 million rows by their key takes seconds.
_STATEMENT_MAX_S: Final = 60.0

# Bound: tables of others that are named.
_NAMED_MAX: Final = 20

# Partitions are reached through their parent. $1: names of ours. Of a table of ours that does not
# exist (an older schema) nothing is to be erased.
_RELATIONS: Final = """
SELECT n.nspname, c.relname,
    n.nspname = 'public' AND c.relname = ANY(string_to_array($1, ',')) AS is_ours,
    has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'DELETE') AS may_erase,
    current_user AS role
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE a.attname = 'imei' AND NOT a.attisdropped AND NOT c.relispartition
  AND c.relkind IN ('r', 'p', 'f', 'm')
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY is_ours DESC, n.nspname, c.relname
"""

# Where the next rows end, in whole Unix seconds: of as many as a transaction takes, the newest.
_NEXT_END: Final = """
SELECT ceil(extract(epoch FROM max(recorded_at)))::double precision FROM (
    SELECT recorded_at FROM public.positions
    WHERE imei = $1 AND recorded_at >= to_timestamp($2::double precision)
    ORDER BY recorded_at LIMIT $3
) AS next
"""

# Between bounds, so that partitions of other days are neither opened nor locked, and what the
# transactions before have deleted is not walked over again.
_ERASE_BETWEEN: Final = """
DELETE FROM public.positions
WHERE imei = $1
  AND recorded_at >= to_timestamp($2::double precision)
  AND recorded_at <= to_timestamp($3::double precision)
"""

_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL jit = off
"""

# The first second that a timestamptz cannot hold.
_END_S: Final = 9_224_318_016_000.0


@dataclass(frozen=True, slots=True)
class PersonalTables:
    """Where a device may be.

    Attributes:
        ours: Our tables that exist, in the order of erasing.
        of_others: Tables with a column `imei` that are not ours: they are left alone.
    """

    ours: tuple[str, ...]
    of_others: tuple[str, ...]


def erasure_session(dsn: str) -> AbstractAsyncContextManager[Session]:
    """A session of the owner's; foreign errors that leave the block are translated."""
    config = SessionConfig(dsn=dsn, instance="forget", write_timeout_s=_STATEMENT_MAX_S)
    return session_of(open_reading_session, config)


async def personal_tables(session: Session) -> PersonalTables:
    """Where a device may be, asked of the catalogue.

    Raises:
        SchemaMismatch: The tables are not there, or this role may not erase from one of them.
    """
    rows = await session.fetch(_RELATIONS, ",".join(PERSONAL_TABLES))
    there = {row["relname"]: row for row in rows if row["is_ours"]}
    if _LOG not in there:
        raise SchemaMismatch(
            "public.positions is not there: `teltonika-processor migrate` makes it"
        )
    ours = tuple(table for table in PERSONAL_TABLES if table in there)
    refused = [f"public.{table}" for table in ours if not there[table]["may_erase"]]
    if refused:
        raise SchemaMismatch(_refusal(there[ours[0]]["role"], refused))
    others = [f"{row['nspname']}.{row['relname']}" for row in rows if not row["is_ours"]]
    return PersonalTables(ours, tuple(others[:_NAMED_MAX]))


async def count_rows(session: Session, tables: PersonalTables, imei: int) -> dict[str, int]:
    """Rows of the device by table."""
    return {
        table: await session.fetchval(f"SELECT count(*) FROM public.{table} WHERE imei = $1", imei)  # noqa: S608 -- a constant
        for table in tables.ours
    }


async def erase_rows(
    session: Session, tables: PersonalTables, imei: int, erased: dict[str, int]
) -> None:
    """Erase the device from every table of ours; `erased` counts the rows as they are committed."""
    for table in tables.ours:
        erased.setdefault(table, 0)
        if table == _LOG:
            await _erase_log(session, imei, erased)
        else:
            statement = f"DELETE FROM public.{table} WHERE imei = $1"  # noqa: S608 -- a constant
            erased[table] += _n_rows(await session.execute(statement, imei))


async def _erase_log(session: Session, imei: int, erased: dict[str, int]) -> None:
    start_s = -math.inf
    while start_s < math.inf:
        await session.execute(_BEGIN)
        end_s = await session.fetchval(_NEXT_END, imei, start_s, _ROWS)
        n_rows = 0
        if end_s is not None:
            end_s = end_s if end_s < _END_S else math.inf
            n_rows = _n_rows(await session.execute(_ERASE_BETWEEN, imei, start_s, end_s))
        await session.execute("COMMIT")
        erased[_LOG] += n_rows
        start_s = math.inf if end_s is None else end_s


def _n_rows(status: str) -> int:
    """Of a command's answer, such as ``DELETE 7``."""
    return int(status.rpartition(" ")[2])


def _refusal(role: str, tables: list[str]) -> str:
    names = ", ".join(tables)
    return (
        f"the role {role} may not erase from {names}: set DATABASE_MIGRATION_URL to the owner's "
        f"address, or GRANT SELECT, DELETE ON {names} TO {role}"
    )
