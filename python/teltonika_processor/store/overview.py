"""One look at everything that Postgres tells of the log, of itself and of its replication.

A writer's role may not read all of it: what is refused is None. Nothing is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from teltonika_processor.errors import SchemaMismatch
from teltonika_processor.store.connection import (
    Session,
    SessionConfig,
    close_session,
    open_looking_session,
)
from teltonika_processor.store.migrate import check
from teltonika_processor.store.partitions import plausible_in_default
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, NOT_READABLE, translate
from teltonika_processor.store.steps import packaged_steps

# Bound: longest wait for any one answer.
_ANSWER_S: Final = 3.0

# Bound: replicas that are shown.
_REPLICAS_MAX: Final = 20

_SERVER: Final = """
SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
    pg_is_in_recovery() AS is_standby,
    current_setting('transaction_read_only') = 'on' AS is_read_only
"""

_DATABASE_BYTES: Final = "SELECT pg_database_size(current_database())"

# The statistics know of rows before the first ANALYZE, and the catalogue after a crash.
_PARTITIONS: Final = """
SELECT c.relname::text AS name, pg_total_relation_size(c.oid) AS bytes,
    greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0) AS n_rows
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('public.positions')
ORDER BY c.relname
"""

# All but who it is is null to a role without pg_monitor.
_REPLICAS: Final = """
SELECT coalesce(application_name, '')::text AS name, client_addr::text AS address,
    state::text AS state, sync_state::text AS sync_state,
    pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
        replay_lsn
    )::bigint AS behind_bytes,
    extract(epoch FROM replay_lag)::double precision AS lag_s
FROM pg_catalog.pg_stat_replication ORDER BY pid LIMIT $1
"""

_RECEIVER: Final = """
SELECT (SELECT status::text FROM pg_catalog.pg_stat_wal_receiver) AS status,
    EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) AS is_connected,
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint AS behind_bytes,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::double precision
        AS replayed_s_ago
"""

_DAY_PREFIX: Final = "positions_"
_DEFAULT: Final = "positions_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsLook:
    """The log.

    Attributes:
        n_partitions: The two that are always there among them; 0 where there is no table.
        bytes: With indexes.
        n_rows: As the statistics have it.
        first_day: UTC day of the oldest day partition, as ``2026-11-28``; None without any.
        last_day: That of the newest one.
        default_rows: Rows in the default partition, as the statistics have it.
        default_plausible: Rows in it whose clock is plausible, `PLAUSIBLE_MAX` at most: there must
            be none. None where the role may not ask, or the schema is older.
    """

    n_partitions: int
    bytes: int
    n_rows: int
    first_day: str | None
    last_day: str | None
    default_rows: int
    default_plausible: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresReplica:
    """A standby as its primary sees it; None is what the role may not read, or there is none of.

    Attributes:
        state: ``streaming``, or what it does instead.
        behind_bytes: Write-ahead log that it has not replayed.
        lag_s: How long the last of it took to be replayed there.
    """

    name: str
    address: str | None
    state: str | None
    sync_state: str | None
    behind_bytes: int | None
    lag_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """What a standby tells of its own replication.

    Attributes:
        is_connected: Whether it receives from a primary.
        status: How; None where the role may not read it.
        behind_bytes: Received and not replayed.
        replayed_s_ago: Age of the last transaction that was replayed: also of a primary at rest.
    """

    is_connected: bool
    status: str | None
    behind_bytes: int | None
    replayed_s_ago: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresLook:
    """All that Postgres tells at one moment; None is what the role may not read.

    Attributes:
        version: The server's own.
        is_standby: Whether it is in recovery.
        is_read_only: Whether it takes writes.
        schema_fault: Why the schema does not fit this version; empty where it does.
        database_bytes: The database on the disk.
        partitions: The log.
        replicas: Standbys that are connected.
        receiver: Of a standby: its own replication.
    """

    version: str
    is_standby: bool
    is_read_only: bool
    schema_fault: str | None
    database_bytes: int | None
    partitions: PartitionsLook | None
    replicas: tuple[PostgresReplica, ...] | None
    receiver: Receiver | None = None


class PostgresOverview:
    """Looks over one session, which is opened again after any failure.

    Args:
        config: Address and name; the timeouts are the looks' own.
    """

    def __init__(self, config: SessionConfig) -> None:
        self._config: Final = replace(
            config,
            write_timeout_s=_ANSWER_S,
            lock_timeout_s=_ANSWER_S / 2,
            connect_timeout_s=_ANSWER_S,
            close_timeout_s=_ANSWER_S / 2,
        )
        self._session: Session | None = None

    async def look(self) -> PostgresLook:
        """Everything.

        Raises:
            SinkUnavailable: Postgres is away.
            SchemaMismatch: The role may not log in, or there is no such database.
            ConfigError: The address is wrong, or leads to a pooler.
        """
        session, self._session = self._session, None
        try:
            if session is None or session.is_closed():
                session = await open_looking_session(self._config)
            found = await _look(session)
        except BaseException as error:
            if session is not None:
                session.terminate()
            if isinstance(error, FOREIGN_ERRORS):
                raise translate(error) from error
            raise
        self._session = session
        return found

    async def close(self) -> None:
        """Close the session, if there is one; bounded."""
        if self._session is not None:
            session, self._session = self._session, None
            await close_session(session, self._config.close_timeout_s)


async def _look(session: Session) -> PostgresLook:
    (server,) = await session.fetch(_SERVER)
    sizes = await _readable(session, _DATABASE_BYTES)
    return PostgresLook(
        **dict(server),
        schema_fault=await _schema_fault(session),
        database_bytes=sizes[0][0] if sizes else None,
        partitions=await _partitions(session),
        replicas=await _replicas(session),
        receiver=await _receiver(session) if server["is_standby"] else None,
    )


async def _readable(
    session: Session, query: str, *arguments: object
) -> Sequence[asyncpg.Record] | None:
    try:
        return await session.fetch(query, *arguments)
    except NOT_READABLE:
        return None


async def _schema_fault(session: Session) -> str | None:
    try:
        (await check(session, packaged_steps())).require_fit()
    except SchemaMismatch as error:
        return str(error)
    except NOT_READABLE:
        return None
    return ""


async def _partitions(session: Session) -> PartitionsLook | None:
    rows = await _readable(session, _PARTITIONS)
    if rows is None:
        return None
    days = sorted(filter(None, (_day_of(row["name"]) for row in rows)))
    default_rows = [row["n_rows"] for row in rows if row["name"] == _DEFAULT]
    return PartitionsLook(
        n_partitions=len(rows),
        bytes=sum(row["bytes"] for row in rows),
        n_rows=sum(row["n_rows"] for row in rows),
        first_day=days[0] if days else None,
        last_day=days[-1] if days else None,
        default_rows=sum(default_rows),
        default_plausible=await _plausible(session),
    )


async def _plausible(session: Session) -> int | None:
    try:
        return await plausible_in_default(session)
    except NOT_READABLE:
        return None


async def _replicas(session: Session) -> tuple[PostgresReplica, ...] | None:
    rows = await _readable(session, _REPLICAS, _REPLICAS_MAX)
    return None if rows is None else tuple(PostgresReplica(**dict(row)) for row in rows)


async def _receiver(session: Session) -> Receiver | None:
    rows = await _readable(session, _RECEIVER)
    return Receiver(**dict(rows[0])) if rows else None


def _day_of(name: str) -> str | None:
    """The day of a day's partition, as ISO 8601 has it."""
    digits = name.removeprefix(_DAY_PREFIX)
    if len(digits) != 8 or not digits.isdecimal():
        return None
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
