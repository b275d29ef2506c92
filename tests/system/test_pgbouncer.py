"""PgBouncer in transaction mode: told apart from Postgres, and worked with."""

import asyncio

import asyncpg
import pytest

from pgbouncer import PgBouncer
from processes import Processor
from rows import Record
from telemetry import BASE_MS, IMEI, Key, Telemetry, entry, frame_at, stored_keys
from teltonika_processor.errors import ConfigError, SinkUnavailable
from teltonika_processor.store.accounts import accounts_session, count_positions
from teltonika_processor.store.connection import (
    SessionConfig,
    open_migration_session,
    open_session,
)
from teltonika_processor.store.migrate import inspect, prepare_schema
from teltonika_processor.store.overview import PostgresOverview
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.store.probe import WriteProbe
from waiting import eventually
from writing import write

STARTUP_IGNORED = (
    "ignore_startup_parameters = statement_timeout, lock_timeout, plan_cache_mode, jit,"
    " idle_in_transaction_session_timeout, default_transaction_isolation, tcp_keepalives_idle,"
    " tcp_keepalives_interval, tcp_keepalives_count, client_connection_check_interval,"
    " enable_hashjoin, enable_mergejoin"
)
NAMED = "DATABASE_POOLER=transaction"


def direct(dsn: str) -> SessionConfig:
    return SessionConfig(dsn=dsn, instance="test")


def pooled(dsn: str, instance: str = "test") -> SessionConfig:
    return SessionConfig(dsn=dsn, instance=instance, pooler="transaction")


# One that nobody told us of


async def test_a_pooler_that_refuses_our_settings_is_named(migrated_database: str) -> None:
    with PgBouncer(migrated_database) as pooler:
        dsn = pooler.dsn(migrated_database)
        writer = PositionWriter(direct(dsn), SharedState())
        with pytest.raises(ConfigError, match=NAMED):
            await write(writer, Record())
        with pytest.raises(ConfigError, match=NAMED):
            async with accounts_session(dsn, instance="test"):
                raise AssertionError("a session was opened")
        reason = await WriteProbe(direct(dsn)).check()
        assert NAMED in str(reason)


async def test_a_pooler_that_drops_our_settings_is_named(migrated_database: str) -> None:
    with (
        PgBouncer(migrated_database, more=STARTUP_IGNORED) as pooler,
        pytest.raises(ConfigError, match=NAMED),
    ):
        await open_session(direct(pooler.dsn(migrated_database)))


async def test_a_pooler_whose_servers_have_our_settings_is_known_by_their_number(
    migrated_database: str,
) -> None:
    name = migrated_database.rpartition("/")[2].partition("?")[0]
    admin = await asyncpg.connect(migrated_database)
    for setting in (
        "statement_timeout = '5s'",
        "lock_timeout = '2s'",
        "idle_in_transaction_session_timeout = '5s'",
    ):
        await admin.execute(f'ALTER DATABASE "{name}" SET {setting}')
    await admin.close()
    with PgBouncer(migrated_database, more=STARTUP_IGNORED) as pooler:
        assert len(set(await pooler.open_processes(migrated_database))) == 3
        with pytest.raises(ConfigError, match=NAMED):
            await open_session(direct(pooler.dsn(migrated_database)))


async def test_a_migration_by_a_pooler_is_refused(migrated_database: str) -> None:
    with PgBouncer(migrated_database) as pooler:
        dsn = pooler.dsn(migrated_database)
        with pytest.raises(ConfigError, match="DATABASE_MIGRATION_URL must lead past the pooler"):
            await inspect(dsn)
        with pytest.raises(ConfigError, match=NAMED):
            await prepare_schema(dsn, migrated_database)
        report = await prepare_schema(dsn, migrated_database, pooler="transaction")
        assert report.migrated
    with (
        PgBouncer(migrated_database, more=STARTUP_IGNORED) as pooler,
        pytest.raises(ConfigError, match=NAMED),
    ):
        await open_migration_session(direct(pooler.dsn(migrated_database)))


async def test_a_pooler_whose_server_is_away_is_waited_for(migrated_database: str) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"
    with PgBouncer(nowhere, more="server_connect_timeout = 1") as pooler:
        for config in (direct, pooled):
            writer = PositionWriter(config(pooler.dsn(migrated_database)), SharedState())
            with pytest.raises(SinkUnavailable):
                await write(writer, Record())


# One that we know


async def test_each_transaction_bears_the_name_and_the_bounds_of_its_instance(
    migrated_database: str,
) -> None:
    """Two instances take turns in one server process."""
    with PgBouncer(migrated_database, more="max_db_connections = 1") as pooler:
        dsn = pooler.dsn(migrated_database)
        sessions = [await open_session(pooled(dsn, instance)) for instance in ("one", "two")]
        seen = [
            await session.fetchrow(
                "SELECT pg_backend_pid(), application_name, current_setting('lock_timeout')"
                " FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            )
            for session in (*sessions, *sessions)
        ]
        for session in sessions:
            await session.close()
    pid = seen[0][0]
    one, two = ((pid, f"teltonika-processor/{name}", "2s") for name in ("one", "two"))
    assert [tuple(row) for row in seen] == [one, two, one, two]


async def test_the_pooler_forwards_the_name_between_transactions_too(
    migrated_database: str,
) -> None:
    """What END_STALE_SESSIONS relies on is set in each transaction; this is on top of it."""
    with PgBouncer(migrated_database) as pooler:
        session = await open_session(pooled(pooler.dsn(migrated_database)))
        name = await asyncpg.Connection.fetchval(session, "SHOW application_name")
        await session.close()
    assert name == "teltonika-processor/test"


async def test_what_a_writer_leaves_to_the_next_client_is_nothing(migrated_database: str) -> None:
    with PgBouncer(migrated_database, more="max_db_connections = 1") as pooler:
        dsn = pooler.dsn(migrated_database)
        writer = PositionWriter(pooled(dsn), SharedState())
        for digests in ((1,), (1, 2)):
            await write(writer, *(Record(digest=digest) for digest in digests))
        other = await asyncpg.connect(dsn, statement_cache_size=0)
        async with other.transaction():
            left = await other.fetch(
                "SELECT relname::text FROM pg_class WHERE relpersistence = 't'"
                " UNION ALL SELECT name FROM pg_prepared_statements WHERE name <> ''"
                " UNION ALL SELECT name FROM pg_settings WHERE source = 'session'"
                # Which the pooler itself sets for each client.
                "  AND name NOT IN ('application_name', 'client_encoding')"
                " UNION ALL SELECT locktype FROM pg_locks WHERE locktype = 'advisory'"
            )
        await other.close()
        await writer.close()
    assert left == []


async def test_writers_of_one_process_share_fewer_server_processes(migrated_database: str) -> None:
    with PgBouncer(migrated_database, more="max_db_connections = 2") as pooler:
        dsn = pooler.dsn(migrated_database)
        shared = SharedState()
        writers = [PositionWriter(pooled(dsn), shared) for _ in range(6)]

        async def write_all(n: int, writer: PositionWriter) -> int:
            receipts = [
                await write(writer, *(Record(imei=imei, digest=i) for imei in range(1, 20)))
                for i in range(n, n + 5)
            ]
            return sum(receipt.n_stored for receipt in receipts)

        counts = await asyncio.gather(*(write_all(n, w) for n, w in enumerate(writers)))
        for writer in writers:
            await writer.close()
    assert sum(counts) == 19 * 10


async def test_probe_and_accounts_work_by_a_pooler(migrated_database: str) -> None:
    with PgBouncer(migrated_database) as pooler:
        dsn = pooler.dsn(migrated_database)
        await pooler.open_processes(migrated_database)
        probe = WriteProbe(pooled(dsn))
        assert [await probe.check() for _ in range(5)] == [None] * 5
        admin = await asyncpg.connect(migrated_database)
        await admin.execute("UPDATE teltonika_migrations SET sha256 = 'other'")
        await admin.close()
        assert "migrations changed after they were applied" in str(await probe.check())
        await probe.close()
        async with accounts_session(dsn, instance="test", pooler="transaction") as session:
            assert [await count_positions(session) for _ in range(5)] == [0] * 5


# The service


async def test_the_overview_tells_by_a_pooler_what_it_tells_without_one(
    migrated_database: str,
) -> None:
    with PgBouncer(migrated_database) as pooler:
        await pooler.open_processes(migrated_database)
        overview = PostgresOverview(pooled(pooler.dsn(migrated_database)))
        look = await overview.look()
        await overview.close()
    assert look.schema_fault == ""
    assert look.partitions is not None
    assert look.partitions.n_partitions == 2


def test_the_processor_works_by_a_pooler_with_migrations_past_it(
    redis_url: str, database: str
) -> None:
    telemetry = Telemetry(redis_url)
    with PgBouncer(database) as pooler:
        settings = {"DATABASE_POOLER": "transaction", "DATABASE_MIGRATION_URL": database}
        with Processor(redis_url, pooler.dsn(database), settings=settings) as processor:
            telemetry.publish([entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS, BASE_MS + 1000))])
            eventually(telemetry.settled)
            assert processor.terminate() == 0
    telemetry.close()
    assert stored_keys(database) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1000)]


def test_the_processor_refuses_a_pooler_that_it_was_not_told_of(
    redis_url: str, migrated_database: str
) -> None:
    with PgBouncer(migrated_database) as pooler:
        dsn = pooler.dsn(migrated_database)
        for settings in ({}, {"DATABASE_MIGRATION_URL": migrated_database}):
            with Processor(redis_url, dsn, settings=settings) as processor:
                assert processor.exit_code() == 78
                assert NAMED in "".join(processor.output)
