"""The two ways of one batch into the tables, each one transaction."""

from dataclasses import dataclass
from typing import Self

import asyncpg

from teltonika_processor.codec.native import (
    LAST_POSITION_COLUMNS,
    MARK_COLUMNS,
    POSITION_COLUMNS,
    CopyData,
    Rows,
)
from teltonika_processor.store import queries
from teltonika_processor.store.columns import IoType
from teltonika_processor.store.connection import Pooler, Session

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Payload:
    """One batch, encoded for one session; its marks only if there are zones."""

    rows: Rows
    positions: CopyData
    newest: CopyData
    # Unix seconds around the rows with a plausible clock; empty where there are none.
    plausible_s: tuple[int, int] | None

    @classmethod
    def of(cls, rows: Rows, io_type: IoType) -> Self:
        """Encode `rows`."""
        days = rows.days
        return cls(
            rows,
            rows.copy_positions(io=io_type),
            rows.copy_last_positions(),
            (days[0] * _DAY_S, (days[-1] + 1) * _DAY_S) if days else None,
        )


@dataclass(frozen=True, slots=True)
class Paths:
    """How transactions begin on one session: each is one round trip.

    Attributes:
        opening: What the session gets once, None: nothing.
        direct: Begins the direct path.
        staged: Begins the staged path.
        marks: Makes the table of marks, once it is known that there are zones.
    """

    opening: str | None
    direct: str
    staged: str
    marks: str

    @classmethod
    def of(cls, pooler: Pooler, io_type: IoType) -> Self:
        """Temporary tables live as long as what they belong to: the session or a transaction."""
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED;" + queries.REQUIRE_IO.format(io_type=io_type)
        if pooler == "none":
            staged = f"{begin};{queries.CREATE_STAGE}"
            return cls(queries.CREATE_NEWEST, begin, staged, queries.CREATE_MARKS)
        direct = f"{begin};{queries.CREATE_NEWEST_FOR_NOW}"
        staged = f"{direct};{queries.CREATE_STAGE_FOR_NOW}"
        return cls(None, direct, staged, queries.CREATE_MARKS_FOR_NOW)


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did.

    Attributes:
        n_stored: Rows that are new.
        marked: Whether there are zones, so that its devices were marked.
    """

    n_stored: int
    marked: bool


async def write_direct(connection: Session, paths: Paths, payload: Payload) -> Written | None:
    """COPY straight into the table; None where a row was stored before, and nothing is now."""
    await connection.execute(paths.direct)
    try:
        await copy_rows(
            connection, "positions", payload.positions, POSITION_COLUMNS, schema="public"
        )
    except asyncpg.UniqueViolationError:
        # Of the key or of an index of the operator's: the staged path tells them apart.
        await connection.execute("ROLLBACK")
        return None
    has_zones = await _upsert_newest(connection, payload.newest)
    if has_zones:
        await connection.execute(paths.marks)
        await copy_rows(connection, "marks", payload.rows.copy_marks(), MARK_COLUMNS)
        await connection.execute(queries.MARK)
    await connection.execute("COMMIT")
    return Written(payload.positions.n_rows, has_zones)


async def write_staged(connection: Session, paths: Paths, payload: Payload) -> Written:
    """Through a temporary table, leaving out what was stored before."""
    await connection.execute(paths.staged)
    await copy_rows(connection, "stage", payload.positions, POSITION_COLUMNS)
    n_stored = int((await connection.execute(queries.INSERT_STAGED)).rpartition(" ")[2])
    if n_stored < payload.positions.n_rows and payload.plausible_s is not None:
        await connection.execute(queries.CLEAR_SUSPECTS, *payload.plausible_s)
    has_zones = await _upsert_newest(connection, payload.newest)
    if has_zones and payload.plausible_s is not None:
        await connection.execute(queries.MARK_STAGED, *payload.plausible_s)
    await connection.execute("COMMIT")
    return Written(n_stored, has_zones)


async def _upsert_newest(connection: Session, newest: CopyData) -> bool:
    """Whether there are zones."""
    if not newest.n_rows:
        return bool(await connection.fetchval(queries.HAS_ZONES))
    await copy_rows(connection, "newest", newest, LAST_POSITION_COLUMNS)
    return bool(await connection.fetchval(queries.UPSERT_NEWEST))


async def copy_rows(
    connection: Session,
    table: str,
    rows: CopyData,
    columns: tuple[str, ...],
    *,
    schema: str = "pg_temp",
) -> None:
    """COPY encoded rows into a table, by default a temporary one."""
    await connection.copy_to_table(
        table,
        schema_name=schema,
        columns=columns,
        # A buffer goes out as one message, though the stubs do not know; bytes would be taken for
        # the name of a file.
        source=memoryview(rows),  # type: ignore[arg-type]
        format="binary",
    )
