"""The two ways of one batch into the tables, each one transaction."""

from dataclasses import dataclass
from typing import Self

import asyncpg

from teltonika_processor.codec.native import (
    LAST_POSITION_COLUMNS,
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
    """One batch, encoded for one session."""

    positions: CopyData
    newest: CopyData
    # Unix seconds around the rows with a plausible clock; empty where there are none.
    plausible_s: tuple[int, int] | None

    @classmethod
    def of(cls, rows: Rows, io_type: IoType) -> Self:
        """Encode `rows`."""
        days = rows.days
        return cls(
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
    """

    opening: str | None
    direct: str
    staged: str

    @classmethod
    def of(cls, pooler: Pooler, io_type: IoType) -> Self:
        """Temporary tables live as long as what they belong to: the session or a transaction."""
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED;" + queries.REQUIRE_IO.format(io_type=io_type)
        if pooler == "none":
            return cls(queries.CREATE_NEWEST, begin, f"{begin};{queries.CREATE_STAGE}")
        direct = f"{begin};{queries.CREATE_NEWEST_FOR_NOW}"
        return cls(None, direct, f"{direct};{queries.CREATE_STAGE_FOR_NOW}")


async def write_direct(connection: Session, paths: Paths, payload: Payload) -> int | None:
    """COPY straight into the table: the number of rows, or None where one was stored before."""
    await connection.execute(paths.direct)
    try:
        await _copy(connection, "positions", payload.positions, POSITION_COLUMNS, schema="public")
    except asyncpg.UniqueViolationError:
        # Of the key or of an index of the operator's: the staged path tells them apart.
        await connection.execute("ROLLBACK")
        return None
    await _upsert_newest(connection, payload.newest)
    await connection.execute("COMMIT")
    return payload.positions.n_rows


async def write_staged(connection: Session, paths: Paths, payload: Payload) -> int:
    """Through a temporary table, leaving out what was stored before: the number of new rows."""
    await connection.execute(paths.staged)
    await _copy(connection, "stage", payload.positions, POSITION_COLUMNS)
    n_stored = int((await connection.execute(queries.INSERT_STAGED)).rpartition(" ")[2])
    if n_stored < payload.positions.n_rows and payload.plausible_s is not None:
        await connection.execute(queries.CLEAR_SUSPECTS, *payload.plausible_s)
    await _upsert_newest(connection, payload.newest)
    await connection.execute("COMMIT")
    return n_stored


async def _upsert_newest(connection: Session, newest: CopyData) -> None:
    if newest.n_rows:
        await _copy(connection, "newest", newest, LAST_POSITION_COLUMNS)
        await connection.execute(queries.UPSERT_NEWEST)


async def _copy(
    connection: Session,
    table: str,
    rows: CopyData,
    columns: tuple[str, ...],
    *,
    schema: str = "pg_temp",
) -> None:
    await connection.copy_to_table(
        table,
        schema_name=schema,
        columns=columns,
        # A buffer goes out as one message, though the stubs do not know; bytes would be taken for
        # the name of a file.
        source=memoryview(rows),  # type: ignore[arg-type]
        format="binary",
    )
