"""Sessions for changing zones, for looking at them and at crossings, and where the fleet is."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    open_looking_session,
    open_migration_session,
    session_of,
)
from teltonika_processor.store.migrate import pending_told
from teltonika_processor.store.owners import owner_wanted

Edited = Literal["zones", "sessions", "timing_limits"]
"""A table that operators change."""

# $1: the table.
_MAY_CHANGE: Final = "SELECT has_table_privilege($1, 'INSERT')"

# Another edit holds the lock while it writes: seconds, for zones of a million points.
_LOCK_TIMEOUT_S: Final = 30.0

# Bound: one statement, such as all versions of all zones, or the laps of a session.
_READ_MAX_S: Final = 60.0

# Bound: cells of half a degree that a fleet is in; all land on earth is some 80,000.
_CELLS_MAX: Final = 20_000

_CELLS: Final = f"""
SELECT DISTINCT round(longitude * 2) / 2, round(latitude * 2) / 2
FROM public.last_position LIMIT {_CELLS_MAX}
"""  # noqa: S608 -- a constant of ours


@asynccontextmanager
async def editing_session(dsn: str, table: Edited = "zones") -> AsyncIterator[Session]:
    """A session for who may change a table, never by a pooler; foreign errors are translated.

    Args:
        dsn: Of the owner.
        table: What is to be changed.

    Raises:
        SchemaMismatch: This role may not, or the schema is older.
    """
    config = SessionConfig(
        dsn=dsn, instance=socket.gethostname(), lock_timeout_s=_LOCK_TIMEOUT_S, close_timeout_s=0.5
    )
    async with session_of(open_migration_session, config) as session, pending_told(session):
        if not await session.fetchval(_MAY_CHANGE, f"public.{table}"):
            raise owner_wanted(f"changing {table}", table)
        yield session


@asynccontextmanager
async def looking_session(
    dsn: str, *, pooler: Pooler, connect_timeout_s: float = 5.0
) -> AsyncIterator[Session]:
    """A session for whoever may read, also of a standby; foreign errors are translated."""
    config = SessionConfig(
        dsn=dsn,
        instance=socket.gethostname(),
        write_timeout_s=_READ_MAX_S,
        connect_timeout_s=connect_timeout_s,
        pooler=pooler,
    )
    async with session_of(open_looking_session, config) as session, pending_told(session):
        yield session


async def fleet_cells(session: Session) -> list[tuple[float, float]]:
    """Longitude and latitude of where devices were last, to half a degree."""
    return [(row[0], row[1]) for row in await session.fetch(_CELLS)]
