"""What an examination asks of Postgres; nothing is written.

What this role may not ask, or what takes too long, is None, and `not_seen` says why.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import asyncpg

from teltonika_processor.clocks import ClockReading, best
from teltonika_processor.errors import ConfigError
from teltonika_processor.store import facts_queries as queries
from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    close_session,
    open_looking_session,
    open_migration_session,
    open_reading_session,
    session_of,
)
from teltonika_processor.store.hosts import single_host_dsns
from teltonika_processor.store.migrate import check, may_migrate
from teltonika_processor.store.partitions import plausible_in_default
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, NOT_READABLE, translate
from teltonika_processor.store.steps import SchemaState, packaged_steps

SETTINGS: Final = (
    *("autovacuum", "fsync", "full_page_writes", "idle_session_timeout", "synchronous_commit"),
    "transaction_timeout",
)
"""What of the server's settings is looked at; what sessions of ours ask for themselves is not."""

_LOOKS: Final = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """Which server it is, and as whom we are there.

    Attributes:
        version_num: As in ``server_version_num``: 150013 for 15.13.
        settings: Of our own session, in the units of ``pg_settings``; absent where there is none.
    """

    version_num: int
    version: str
    in_recovery: bool
    read_only: bool
    role: str
    is_superuser: bool
    database: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Sessions that there are, and that there may be for a role like ours; -1 is no limit."""

    used: int
    allowed: int
    role_limit: int
    database_limit: int


@dataclass(frozen=True, slots=True)
class IdleSlot:
    """A replication slot that nobody reads, and the bytes of WAL that it keeps."""

    name: str
    kept_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """Of `positions`; `detached` are tables with the name of a day's partition that are none."""

    n_attached: int
    detached: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """A Postgres at one moment.

    Attributes:
        ping_ms: How long the shortest statement takes, the quickest of some.
        pooler: What the address leads to, as far as it shows.
        missing_grants: What the writer needs and the role has not; None before the tables are
            there.
        may_migrate: Whether this role may.
        plausible_in_default: Rows there with a sane clock, at most `PLAUSIBLE_MAX`; None without
            a cause in `not_seen`: the schema is older.
        allows_any: Whether any device is allowed.
        identity: Which database it is: the server's system identifier and the database's oid.
        not_seen: Why what is None could not be looked at, by its name here.
    """

    server: ServerState
    ping_ms: float
    clock: ClockReading
    pooler: Pooler
    schema: SchemaState | None = None
    missing_grants: tuple[str, ...] | None = None
    may_migrate: bool | None = None
    connections: Connections | None = None
    idle_slots: tuple[IdleSlot, ...] | None = None
    partitions: Partitions | None = None
    plausible_in_default: int | None = None
    allows_any: bool | None = None
    identity: tuple[str, int] | None = None
    not_seen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerFacts:
    """What DATABASE_MIGRATION_URL leads to."""

    role: str
    may_migrate: bool
    identity: tuple[str, int] | None


async def read_postgres_facts(
    config: SessionConfig, *, wall_clock: Callable[[], float] = time.time
) -> PostgresFacts:
    """Everything about the writers' database.

    A pooler that the settings do not know of is gone through all the same.

    Raises:
        SinkUnavailable: Postgres is away.
        SchemaMismatch: The role may not log in, or there is no such database.
        ConfigError: The address is not understood.
    """
    try:
        session = await _open_nearest(config)
        try:
            return await _Look(session, wall_clock).run()
        finally:
            await close_session(session, config.close_timeout_s)
    except FOREIGN_ERRORS as error:
        raise translate(error) from error


async def read_owner_facts(config: SessionConfig) -> OwnerFacts:
    """What the migrations' address leads to.

    Raises:
        As `read_postgres_facts`; ConfigError also where a pooler lies between.
    """
    async with session_of(open_migration_session, config) as session:
        return OwnerFacts(
            role=await session.fetchval("SELECT current_user"),
            may_migrate=await may_migrate(session),
            identity=await _Look(session, time.time).seen("identity", _identity),
        )


async def _open_nearest(config: SessionConfig) -> Session:
    """A session as the writers have it, or the nearest to it that can be had."""
    try:
        return await open_reading_session(config)
    except ConfigError:
        if config.pooler == "transaction":
            raise
        return await open_reading_session(replace(config, pooler="transaction"))
    except (asyncpg.TargetServerAttributeNotMatched, ConnectionError) as error:
        one_host = len(single_host_dsns(config.dsn)) == 1
        if one_host and not isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            raise
        return await open_looking_session(config)


class _Look:
    """One session, and what could not be seen through it."""

    def __init__(self, session: Session, wall_clock: Callable[[], float]) -> None:
        self._session: Final = session
        self._wall_clock: Final = wall_clock
        self._not_seen: Final[dict[str, str]] = {}

    async def run(self) -> PostgresFacts:
        server = await _server_state(self._session)
        ping_ms, clock = await self._answers()
        return PostgresFacts(
            server=server,
            ping_ms=ping_ms,
            clock=clock,
            pooler=await _pooler_of(self._session),
            schema=await self.seen("schema", _schema),
            missing_grants=await self.seen("missing_grants", _missing_grants),
            may_migrate=await self.seen("may_migrate", may_migrate),
            connections=await self.seen("connections", _connections),
            idle_slots=None if server.in_recovery else await self.seen("idle_slots", _idle_slots),
            partitions=await self.seen("partitions", _partitions),
            plausible_in_default=await self.seen("plausible_in_default", plausible_in_default),
            allows_any=await self.seen("allows_any", _allows_any),
            identity=await self.seen("identity", _identity),
            not_seen=self._not_seen,
        )

    async def seen(self, name: str, look: Callable[[Session], Awaitable[T]]) -> T | None:
        """What `look` returns; None, and why, where the role may not or it takes too long."""
        try:
            return await look(self._session)
        except NOT_READABLE as error:
            self._not_seen[name] = str(translate(error)).removeprefix("Postgres: ")
            return None

    async def _answers(self) -> tuple[float, ClockReading]:
        readings, took_ms = [], []
        for _ in range(_LOOKS):
            asked_ms = self._wall_clock() * 1e3
            said_ms = await self._session.fetchval(queries.CLOCK_MS)
            answered_ms = self._wall_clock() * 1e3
            took_ms.append(max(0.0, answered_ms - asked_ms))
            readings.append(
                ClockReading.of(asked_ms=asked_ms, said_ms=said_ms, answered_ms=answered_ms)
            )
        return min(took_ms), best(readings)


async def _server_state(session: Session) -> ServerState:
    row = await session.fetchrow(queries.SERVER)
    assert row is not None  # noqa: S101 -- a SELECT without FROM has one row
    settings = await session.fetch(queries.SETTINGS, list(SETTINGS))
    return ServerState(**dict(row), settings={row["name"]: row["setting"] for row in settings})


async def _pooler_of(session: Session) -> Pooler:
    """Poolers make up the process id that they announce."""
    own = await session.fetchval("SELECT pg_backend_pid()") == session.get_server_pid()
    return "none" if own else "transaction"


async def _allows_any(session: Session) -> bool:
    return bool(await session.fetchval(queries.ALLOWS_ANY))


async def _schema(session: Session) -> SchemaState:
    return await check(session, packaged_steps())


async def _missing_grants(session: Session) -> tuple[str, ...] | None:
    rows = await session.fetch(queries.GRANTS)
    if any(granted is None for _, granted in rows):
        return None
    return tuple(title for title, granted in rows if not granted)


async def _connections(session: Session) -> Connections:
    return Connections(**dict(await session.fetchrow(queries.CONNECTIONS) or {}))


async def _idle_slots(session: Session) -> tuple[IdleSlot, ...]:
    return tuple(IdleSlot(name, kept) for name, kept in await session.fetch(queries.IDLE_SLOTS))


async def _partitions(session: Session) -> Partitions:
    n_attached = await session.fetchval(queries.N_PARTITIONS)
    detached = await session.fetch(queries.DETACHED_DAYS)
    return Partitions(n_attached=n_attached, detached=tuple(name for (name,) in detached))


async def _identity(session: Session) -> tuple[str, int] | None:
    row = await session.fetchrow(queries.IDENTITY)
    return None if row is None else (str(row[0]), row[1])
