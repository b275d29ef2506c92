"""Sessions for poolers, on Postgres itself: what they leave behind, which is nothing.

The tests with a pooler are those of the write path with TEST_POOLER, and tests/system.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from rows import Record
from teltonika_processor.errors import DayUnavailable, SinkRejected
from teltonika_processor.store.accounts import accounts_session, count_positions
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.migrate import prepare_schema
from teltonika_processor.store.pooler import PooledConnection
from teltonika_processor.store.positions import PositionWriter, SharedState
from writing import write

BOUNDS = {
    "application_name": "teltonika-processor/depot-o'hara",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "5s",
    "client_connection_check_interval": "1s",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "transaction_isolation": "read committed",
}


@pytest.fixture
async def pooled(dsn: str) -> AsyncIterator[PositionWriter]:
    config = SessionConfig(dsn=dsn, instance="depot-o'hara", pooler="transaction")
    writer = PositionWriter(config, SharedState())
    yield writer
    await writer.close()


def session_of(writer: PositionWriter) -> PooledConnection:
    assert writer._session is not None
    session = writer._session.connection
    assert isinstance(session, PooledConnection)
    return session


async def bare(session: PooledConnection, query: str) -> list[asyncpg.Record]:
    """Outside of any transaction of ours, where the next client of a pooler will be."""
    assert not session.is_in_transaction()
    return await asyncpg.Connection.fetch(session, query)


async def test_a_write_leaves_nothing_in_the_session(pooled: PositionWriter) -> None:
    changed = "SELECT name, setting FROM pg_settings WHERE source = 'session'"
    await write(pooled, Record())
    assert (await write(pooled, Record(), Record(digest=2))).staged
    await pooled.last_positions([1])
    session = session_of(pooled)
    assert await bare(session, "SELECT relname FROM pg_class WHERE relpersistence = 't'") == []
    assert await bare(session, "SELECT name FROM pg_prepared_statements WHERE name <> ''") == []
    advisory = "locktype FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    assert await bare(session, f"SELECT {advisory}") == []
    assert await bare(session, changed) == []


async def test_every_transaction_says_itself_how_long_it_may_take(pooled: PositionWriter) -> None:
    await write(pooled, Record())
    session = session_of(pooled)
    assert {name: await session.fetchval(f"SHOW {name}") for name in BOUNDS} == BOUNDS
    async with session.transaction():
        assert await session.fetchval("SHOW lock_timeout") == "2s"
    await session.execute("BEGIN; SET LOCAL lock_timeout = '1s'")
    assert await session.fetchval("SHOW lock_timeout") == "1s"
    await session.execute("ROLLBACK")
    assert await bare(session, "SHOW lock_timeout") == [("0",)]


async def test_a_statement_that_fails_leaves_no_transaction_open(pooled: PositionWriter) -> None:
    await write(pooled, Record())
    session = session_of(pooled)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await session.fetchval("SELECT 1 / 0")
    assert not session.is_in_transaction()
    assert await session.fetchval("SELECT 1") == 1
    assert (await session.fetchrow("SELECT 2 AS n")) == (2,)


async def test_what_postgres_refuses_is_told_apart_as_without_a_pooler(
    pooled: PositionWriter, admin: asyncpg.Connection
) -> None:
    with pytest.raises(SinkRejected, match="22P02"):
        await write(pooled, Record(io="{"))
    await admin.execute("BEGIN; LOCK TABLE positions_default IN ACCESS SHARE MODE")
    with pytest.raises(DayUnavailable, match=f"locked out by {admin.get_server_pid()}"):
        await write(pooled, Record(recorded_at_ms=1_700_000_000_000))


async def test_accounts_are_read_and_the_schema_is_looked_at_by_a_pooler(
    pooled: PositionWriter, dsn: str
) -> None:
    await write(pooled, Record())
    async with accounts_session(dsn, instance="test", pooler="transaction") as session:
        assert await count_positions(session) == 1
        name = await session.fetchval("SHOW application_name")
        assert name == "teltonika-processor-read/test"
    report = await prepare_schema(dsn, None, pooler="transaction")
    assert (report.applied, report.migrated) == ((), False)
