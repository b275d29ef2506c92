"""Sessions of Postgres with nothing left to the server's or the role's defaults."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from teltonika_processor.errors import ConfigError, SinkUnavailable
from teltonika_processor.store.hosts import host_of, single_host_dsns
from teltonika_processor.store.pooler import (
    POOLER_FOUND,
    PooledConnection,
    require_own_process,
    set_local,
)
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, translate
from teltonika_processor.store.tls import Encryption

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

Pooler = Literal["none", "transaction"]

SESSION_PREFIX: Final = "teltonika-processor/"
"""Sessions so named may be ended by another instance once past its write deadline."""

READER_PREFIX: Final = "teltonika-processor-read/"
"""Never ended by another instance: counting a log may take longer than any write."""

MIGRATION_PREFIX: Final = "teltonika-processor-migrate/"
"""Never ended by another instance: building an index may take hours."""

# A peer that went away without a word is noticed after 10 + 3 x 5 s, before its entries are
# claimed. Behind a pooler the peer is the pooler, and these are not ours to set.
_OF_THE_WIRE: Final = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # Said by BEGIN wherever it matters; a transaction cannot change its own by this.
    "default_transaction_isolation": "read committed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Where to connect and how long anything may take.

    Attributes:
        dsn: ``postgresql://``; never shown.
        instance: Who we are in ``pg_stat_activity``.
        write_timeout_s: Longest statement.
        lock_timeout_s: Longest wait for one lock; a writer waits half its write timeout at most.
        idle_in_transaction_timeout_s: Longest pause between two statements of a transaction.
        connect_timeout_s: Longest wait for a new session, shared by all hosts of the address.
        close_timeout_s: Longest wait for a farewell, then the socket is cut.
        pooler: ``transaction``: the address leads to a pooler in transaction mode.
        encryption: Shared by whoever connects anew for as long as the process runs.
    """

    dsn: str = field(repr=False)
    instance: str
    write_timeout_s: float = 5.0
    lock_timeout_s: float = 2.0
    idle_in_transaction_timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    close_timeout_s: float = 2.0
    pooler: Pooler = "none"
    encryption: Encryption = field(default_factory=Encryption, repr=False, compare=False)

    @property
    def write_deadline_s(self) -> float:
        """Longest life of a transaction and of a whole write: two tries of the write timeout.

        A session of ours with an older transaction belongs to an instance that is frozen or cut
        off.
        """
        return 2 * self.write_timeout_s

    @property
    def write_lock_timeout_s(self) -> float:
        """A writer's wait for one lock: a lock that is held must not pass for a slow statement."""
        return min(self.lock_timeout_s, self.write_timeout_s / 2)


async def open_session(config: SessionConfig) -> Session:
    """A writable session for the write path.

    Raises:
        ConfigError: A pooler lies between that the configuration does not know of, or the address
            is met for the first time and cannot be used.
        SinkUnavailable: A file of certificates cannot be used any more.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    settings = {
        **_bounds(SESSION_PREFIX, config, config.write_timeout_s, config.write_lock_timeout_s),
        # Partitions are pruned while planning, by the bounds that are passed.
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        # The one join here is from a few staged rows to the primary key of a large table.
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
    }
    return await _open(config, settings)


async def open_reading_session(config: SessionConfig) -> Session:
    """A session for long looks at what is stored, with the planner's own defaults.

    Raises:
        As `open_session`.
    """
    bounds = _bounds(READER_PREFIX, config, config.write_timeout_s, config.lock_timeout_s)
    return await _open(config, bounds)


async def open_looking_session(config: SessionConfig) -> Session:
    """As `open_reading_session`; where no server can be written, at one that cannot.

    Raises:
        As `open_session`.
    """
    bounds = _bounds(READER_PREFIX, config, config.write_timeout_s, config.lock_timeout_s)
    try:
        return await _open(config, bounds)
    except FOREIGN_ERRORS:
        return await _open(config, bounds, SessionAttribute.any)


async def open_migration_session(config: SessionConfig) -> Session:
    """A writable session without a limit for statements, for migrations: never by a pooler.

    Raises:
        As `open_session`.
    """
    return await _open(config, _bounds(MIGRATION_PREFIX, config, 0, config.lock_timeout_s))


@asynccontextmanager
async def session_of(
    opening: Callable[[SessionConfig], Awaitable[Session]], config: SessionConfig
) -> AsyncIterator[Session]:
    """A session for the block alone; foreign errors that leave the block are translated."""
    with translated():
        session = await opening(config)
        try:
            yield session
        finally:
            await close_session(session, config.close_timeout_s)


@contextmanager
def translated() -> Iterator[None]:
    """Foreign errors that leave the block become errors of ours."""
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise translate(error) from error


async def close_session(session: Session, timeout_s: float) -> None:
    """Say farewell, or cut the socket when that takes longer than `timeout_s`."""
    try:
        await session.close(timeout=timeout_s)
    except FOREIGN_ERRORS:
        session.terminate()


async def _open(
    config: SessionConfig,
    settings: dict[str, str],
    wanted: SessionAttribute = SessionAttribute.read_write,
) -> Session:
    """A session at the first host that is as `wanted`, each asked for its address anew."""
    config.encryption.check(config.dsn, setting="DATABASE_URL")
    dsns = single_host_dsns(config.dsn)
    timeout_s = config.connect_timeout_s / len(dsns)
    failures = []
    for dsn in dsns:
        try:
            context = config.encryption.context_of(dsn)
            async with asyncio.timeout(timeout_s):
                if config.pooler == "transaction":
                    return await _connect_pooled(dsn, context, settings, wanted)
                return await _connect(dsn, context, settings, wanted)
        except FOREIGN_ERRORS as error:
            ours = translate(error)
            if len(dsns) == 1 or not isinstance(ours, SinkUnavailable):
                raise
            failures.append(f"{host_of(dsn)}: {str(ours).removeprefix('Postgres: ')}")
    raise ConnectionError("; ".join(failures))


async def _connect(
    dsn: str,
    context: ssl.SSLContext | None,
    settings: dict[str, str],
    wanted: SessionAttribute,
) -> Session:
    try:
        session = await asyncpg.connect(
            dsn, ssl=context, server_settings=settings, target_session_attrs=wanted
        )
    except asyncpg.ProtocolViolationError as refusal:
        await _refuse_a_pooler(dsn, context, settings, refusal)
        raise
    try:
        await require_own_process(session, settings)
    except BaseException:
        session.terminate()
        raise
    return session


async def _connect_pooled(
    dsn: str,
    context: ssl.SSLContext | None,
    settings: dict[str, str],
    wanted: SessionAttribute = SessionAttribute.read_write,
) -> Session:
    """A session that may have any server process at any time.

    Whether it can write is asked for by a statement: what a pooler says of its servers is what they
    were like when it first met them.
    """
    name = {"application_name": settings["application_name"]}
    session = await asyncpg.connect(
        dsn,
        ssl=context,
        connection_class=PooledConnection,
        statement_cache_size=0,
        server_settings=name,
    )
    session.bounds = set_local(
        {name: value for name, value in settings.items() if name not in _OF_THE_WIRE}
    )
    try:
        if wanted is SessionAttribute.read_write:
            await _require_writable(session)
    except BaseException:
        session.terminate()
        raise
    return session


async def _require_writable(session: Session) -> None:
    if await session.fetchval("SHOW transaction_read_only") == "on":
        raise asyncpg.TargetServerAttributeNotMatched("read-only")


async def _refuse_a_pooler(
    dsn: str,
    context: ssl.SSLContext | None,
    settings: dict[str, str],
    refusal: asyncpg.PostgresError,
) -> None:
    """Poolers refuse settings that they cannot keep, in the words of a broken protocol.

    Raises:
        ConfigError: Without the settings a session can be had.
    """
    try:
        session = await _connect_pooled(dsn, context, settings)
    except FOREIGN_ERRORS:
        return
    session.terminate()
    raise ConfigError(POOLER_FOUND) from refusal


def _bounds(
    prefix: str, config: SessionConfig, statement_timeout_s: float, lock_timeout_s: float
) -> dict[str, str]:
    """Who the session is, and how long it may take for anything; 0 is for ever."""
    return {
        "application_name": prefix + config.instance,
        "statement_timeout": _milliseconds(statement_timeout_s),
        "lock_timeout": _milliseconds(lock_timeout_s),
        "idle_in_transaction_session_timeout": _milliseconds(config.idle_in_transaction_timeout_s),
        # A killed client's long statement ends with it, and its locks.
        "client_connection_check_interval": "1000",
        **_OF_THE_WIRE,
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
