"""Writers on a database of their own, through the pooler that TEST_POOLER names, if any."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from pgbouncer import PgBouncer, Pooler, chosen_pooler
from rows import NOON_MS
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.stream.connection import RedisClient, open_client
from writing import Open


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    """A connection to the test's Redis as our own processes make it."""
    client = open_client(redis_url, name="test")
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def pooler() -> Pooler:
    return chosen_pooler()


@pytest.fixture(scope="session")
def pgbouncer(pooler: Pooler, maintenance_dsn: str) -> Iterator[PgBouncer | None]:
    if pooler == "none":
        yield None
        return
    with PgBouncer(maintenance_dsn) as started:
        yield started


@pytest.fixture
def dsn(migrated_database: str) -> str:
    """The way to Postgres itself."""
    return migrated_database


@pytest.fixture
async def writer_dsn(dsn: str, pgbouncer: PgBouncer | None) -> str:
    """The way that writers take; by a pooler it leads to one server process after the other."""
    if pgbouncer is None:
        return dsn
    await pgbouncer.open_processes(dsn)
    return pgbouncer.dsn(dsn)


@pytest.fixture
async def admin(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "report"})
    yield connection
    await connection.close()


@pytest.fixture
async def observer(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Outside of every transaction, since one sees the same sessions for as long as it lasts."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def frozen(writer_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of an instance that does nothing more; ended here if no writer did."""
    name = {"application_name": "teltonika-processor/frozen"}
    connection = await asyncpg.connect(writer_dsn, server_settings=name, statement_cache_size=0)
    yield connection
    connection.terminate()


@pytest.fixture
async def open_writer(writer_dsn: str, pooler: Pooler) -> AsyncIterator[Open]:
    opened: list[PositionWriter] = []
    shared = SharedState()

    def open_one(
        *,
        own_state: bool = False,
        address: str = writer_dsn,
        clock: Callable[[], float] = time.monotonic,
        on_sessions_ended: Callable[[int], None] | None = None,
        **config: Any,
    ) -> PositionWriter:
        config = {"dsn": address, "instance": f"test-{len(opened)}", "pooler": pooler} | config
        writer = PositionWriter(
            SessionConfig(**config),
            SharedState() if own_state else shared,
            clock=clock,
            wall_clock=lambda: NOON_MS / 1000,
            on_sessions_ended=on_sessions_ended,
        )
        opened.append(writer)
        return writer

    yield open_one
    for writer in opened:
        await writer.close()


@pytest.fixture
def writer(open_writer: Open) -> PositionWriter:
    return open_writer()
