"""Failover, a commit whose answer is lost, and sessions of ours that are frozen."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from rows import NOON_MS, Record
from servers import new_postgres
from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.errors import SinkUnavailable
from teltonika_processor.store.connection import SessionConfig, open_migration_session
from teltonika_processor.store.migrate import migrate
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.store.queries import END_STALE_SESSIONS
from waiting import eventually_async
from writing import Open, write

# Sends all rows, which locks their keys, and what is left of the COPY when it is told to.
FROZEN = """
import asyncio, sys
import asyncpg
from rows import BuiltRows, Record
from teltonika_processor.codec.native import POSITION_COLUMNS

async def main():
    connection = await asyncpg.connect(
        sys.argv[1],
        server_settings={"application_name": "teltonika-processor/frozen"},
        statement_cache_size=0,
    )
    rows = bytes(BuiltRows([Record(digest=n) for n in range(2000)]).copy_positions())

    async def source():
        yield rows[:-2]
        print("copying", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        yield rows[-2:]

    await connection.execute("BEGIN")
    table = {"schema_name": "public", "columns": POSITION_COLUMNS, "format": "binary"}
    await connection.copy_to_table("positions", source=source(), **table)
    await connection.execute("COMMIT")

asyncio.run(main())
"""


@pytest.fixture
def other_postgres() -> Iterator[EmbeddedPostgres]:
    with new_postgres(tcp=True) as server:
        yield server


def both(first: EmbeddedPostgres, second: EmbeddedPostgres) -> str:
    """One address with two hosts."""
    hosts = []
    for server in (first, second):
        parts = urlsplit(server.dsn(over_tcp=True))
        hosts.append((parts.password, f"127.0.0.1:{server.port}"))
    return f"postgresql://postgres:shared@{hosts[0][1]},{hosts[1][1]}/postgres"


async def run_on(server: EmbeddedPostgres, *statements: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(server.dsn())
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        found: list[asyncpg.Record] = await connection.fetch(statements[-1])
        return found
    finally:
        await connection.close()


async def prepared(server: EmbeddedPostgres) -> None:
    """Migrated, and with the password that the address says."""
    await migrate(server.dsn())
    await run_on(server, "ALTER ROLE postgres PASSWORD 'shared'", "SELECT 1")


def make_standby(server: EmbeddedPostgres) -> None:
    server.stop()
    (server._data_dir / "standby.signal").touch()
    server.start()


@asynccontextmanager
async def writer_at(dsn: str, **config: float) -> AsyncIterator[PositionWriter]:
    writer = PositionWriter(
        SessionConfig(dsn=dsn, instance="test-0", **config),
        SharedState(),
        wall_clock=lambda: NOON_MS / 1000,
    )
    try:
        yield writer
    finally:
        await writer.close()


async def digests(server: EmbeddedPostgres) -> list[int]:
    return [row[0] for row in await run_on(server, "SELECT digest FROM positions ORDER BY 1")]


# Failover


async def test_a_demoted_primary_that_stays_up_is_left_for_the_promoted_one(
    own_postgres: EmbeddedPostgres, other_postgres: EmbeddedPostgres
) -> None:
    for server in (own_postgres, other_postgres):
        await prepared(server)
    make_standby(other_postgres)
    async with writer_at(both(own_postgres, other_postgres)) as writer:
        await write(writer, Record(digest=1))
        read_only = "ALTER SYSTEM SET default_transaction_read_only = on"
        await run_on(own_postgres, read_only, "SELECT pg_reload_conf()")
        await run_on(other_postgres, "SELECT pg_promote()")
        assert writer._session is not None
        session = writer._session.connection

        async def is_read_only() -> bool:
            return bool(await session.fetchval("SHOW transaction_read_only") == "on")

        await eventually_async(is_read_only)
        with pytest.raises(SinkUnavailable) as caught:
            await write(writer, Record(digest=2))
        assert caught.value.sqlstate == "25006"
        assert (await write(writer, Record(digest=2))).n_stored == 1
    assert await digests(own_postgres) == [1]
    assert await digests(other_postgres) == [2]


async def test_no_host_that_can_write_is_waited_for_and_each_is_named(
    own_postgres: EmbeddedPostgres, other_postgres: EmbeddedPostgres
) -> None:
    await prepared(own_postgres)
    make_standby(own_postgres)
    other_postgres.stop()
    async with writer_at(both(own_postgres, other_postgres)) as writer:
        with pytest.raises(SinkUnavailable) as caught:
            await write(writer, Record())
    first, second = str(caught.value).split("; ")
    assert first == (
        f"Postgres: 127.0.0.1:{own_postgres.port}: the server is a standby or read-only"
    )
    assert second.startswith(f"127.0.0.1:{other_postgres.port}: ")


async def test_a_host_that_is_cut_off_leaves_time_for_the_next_one(
    own_postgres: EmbeddedPostgres,
) -> None:
    await prepared(own_postgres)
    answered = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, closing: asyncio.StreamWriter) -> None:
        await answered.wait()
        closing.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    hosts = f"127.0.0.1:{silent.sockets[0].getsockname()[1]},127.0.0.1:{own_postgres.port}"
    dsn = f"postgresql://postgres:shared@{hosts}/postgres"
    try:
        async with writer_at(dsn, connect_timeout_s=1.0) as writer:
            assert (await write(writer, Record())).n_stored == 1
    finally:
        answered.set()
        silent.close()


# A commit whose answer is lost


async def test_a_session_lost_in_commit_counts_as_failed_and_the_replay_as_duplicates(
    own_postgres: EmbeddedPostgres,
) -> None:
    """Durable, but the server waits for a standby that never comes, and the session is cut."""
    dsn = own_postgres.dsn()
    await migrate(dsn)
    batch = [Record(digest=n) for n in range(3)]
    async with writer_at(dsn) as writer:
        await write(writer, Record(digest=9))
        names = "ALTER SYSTEM SET synchronous_standby_names = '{}'"
        await run_on(own_postgres, names.format("absent"), "SELECT pg_reload_conf()")
        assert writer._session is not None
        session = writer._session.connection

        async def waits_for_standbys() -> bool:
            return bool(await session.fetchval("SHOW synchronous_standby_names") == "absent")

        await eventually_async(waits_for_standbys)
        writing = asyncio.create_task(write(writer, *batch))
        in_commit = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = {}"
        pid = session.get_server_pid()
        await eventually_async(lambda: run_on(own_postgres, in_commit.format(pid)))
        await run_on(own_postgres, f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(SinkUnavailable):
            await writing
        await run_on(own_postgres, names.format(""), "SELECT pg_reload_conf()")
        assert await digests(own_postgres) == [0, 1, 2, 9]
        receipt = await write(writer, *batch)
        assert (receipt.n_stored, receipt.n_duplicates) == (0, 3)
    assert await digests(own_postgres) == [0, 1, 2, 9]


# Sessions of ours that are frozen


async def test_an_instance_frozen_in_the_middle_of_copy_is_ended_and_its_rows_are_written(
    open_writer: Open, writer_dsn: str, observer: asyncpg.Connection
) -> None:
    ended: list[int] = []
    writer = open_writer(write_timeout_s=0.5, on_sessions_ended=ended.append)
    await write(writer, Record(digest=-1))
    frozen = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FROZEN,
        writer_dsn,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert frozen.stdout is not None
    assert await frozen.stdout.readline() == b"copying\n"
    os.kill(frozen.pid, signal.SIGSTOP)
    began = time.monotonic()
    batch = [Record(digest=n) for n in range(2000)]

    async def is_written() -> bool:
        try:
            return (await write(writer, *batch)).n_stored == 2000
        except SinkUnavailable as error:
            if error.sqlstate not in {"55P03", "57014"}:
                raise
            return False

    try:
        await eventually_async(is_written)
        # Once past the deadline of 1 s, one more wait for the lock ends it.
        assert time.monotonic() - began < 5
        os.kill(frozen.pid, signal.SIGCONT)
        await frozen.communicate(b"\n")
        assert frozen.returncode == 1  # its session is gone
    finally:
        if frozen.returncode is None:
            frozen.kill()
            await frozen.wait()
    assert ended == [1]
    assert await observer.fetchval("SELECT count(*) FROM positions") == 2001


async def test_nobody_is_told_of_sessions_ended_where_none_was(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    ended: list[int] = []
    writer = open_writer(write_timeout_s=0.25, on_sessions_ended=ended.append)
    await write(writer, Record())
    await admin.execute("BEGIN; LOCK TABLE positions IN SHARE ROW EXCLUSIVE MODE")
    with pytest.raises(SinkUnavailable):
        await write(writer, Record(digest=2))
    assert ended == []


async def test_a_migration_is_not_ended_as_a_frozen_writer(
    dsn: str, admin: asyncpg.Connection
) -> None:
    migration = await open_migration_session(SessionConfig(dsn=dsn, instance="test"))
    await migration.execute("BEGIN")
    assert await migration.fetchval("SELECT 1") == 1
    assert await admin.fetchval(END_STALE_SESSIONS, 0.0) == 0
    assert await migration.fetchval("SELECT 1") == 1
    await migration.close()
