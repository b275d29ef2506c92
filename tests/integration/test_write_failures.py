import asyncio
import os
import signal

import asyncpg
import pytest

from rows import Record
from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.errors import (
    SchemaMismatch,
    SinkRejected,
    SinkTooSlow,
    SinkUnavailable,
)
from teltonika_processor.store.accounts import accounts_session
from teltonika_processor.store.connection import (
    SessionConfig,
    open_migration_session,
    open_reading_session,
    open_session,
    session_of,
)
from teltonika_processor.store.migrate import migrate
from teltonika_processor.store.positions import PositionWriter, Receipt, SharedState
from teltonika_processor.store.queries import END_STALE_SESSIONS
from waiting import eventually_async
from writing import (
    Open,
    hold_key,
    partition_of,
    sleep_on_insert,
    stored,
    waiting_pid,
    with_user,
    write,
)


async def test_a_refused_value_is_rejected_and_the_next_batch_goes_through(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    with pytest.raises(SinkRejected) as caught:
        await write(writer, Record(digest=1), Record(digest=2, io="{"))
    assert caught.value.sqlstate == "22P02"
    assert await stored(admin) == []
    assert await write(writer, Record(digest=1)) == Receipt(1, 0, staged=False)


async def test_an_index_of_the_operators_rejects_and_is_no_duplicate(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(digest=1))
    await admin.execute("CREATE UNIQUE INDEX one_a_ms ON positions_20261122 (imei, recorded_at)")
    with pytest.raises(SinkRejected) as caught:
        await write(writer, Record(digest=2))
    assert caught.value.sqlstate == "23505"


async def test_a_session_ended_in_the_middle_of_copy_is_replaced(
    writer: PositionWriter, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    record = Record()
    await write(writer, Record(digest=9))
    await hold_key(admin, record)
    writing = asyncio.create_task(write(writer, record))
    await eventually_async(lambda: waiting_pid(observer))
    assert await observer.fetchval("SELECT pg_terminate_backend($1)", await waiting_pid(observer))
    with pytest.raises(SinkUnavailable):
        await writing
    await admin.execute("ROLLBACK")
    assert await write(writer, record) == Receipt(1, 0, staged=False)


async def test_a_cancelled_write_leaves_nothing_behind(
    writer: PositionWriter, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    record = Record()
    await write(writer, Record(digest=9))
    await hold_key(admin, record)
    writing = asyncio.create_task(write(writer, record))
    await eventually_async(lambda: waiting_pid(observer))
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await admin.execute("ROLLBACK")
    assert await stored(admin) == [(9, False)]
    assert (await write(writer, record)).n_stored == 1


@pytest.mark.parametrize("lock_timeout", [{"lock_timeout_s": 0.1}, {}])
async def test_a_frozen_instance_past_its_deadline_is_ended_and_its_rows_are_written(
    open_writer: Open,
    frozen: asyncpg.Connection,
    admin: asyncpg.Connection,
    lock_timeout: dict[str, float],
) -> None:
    record = Record()
    writer = open_writer(write_timeout_s=0.25, **lock_timeout)
    await write(writer, Record(digest=9))
    await hold_key(frozen, record)

    async def is_written() -> bool:
        try:
            return (await write(writer, record)).n_stored == 1
        except SinkUnavailable as error:
            if error.sqlstate != "55P03":
                raise
            return False

    await eventually_async(is_written)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await frozen.fetchval("SELECT 1")
    assert len(await stored(admin)) == 2


async def test_a_statement_out_of_time_ends_frozen_instances_as_a_lock_does(
    open_writer: Open, frozen: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    """One wait is short enough, but there may be many in a statement."""
    writer = open_writer(write_timeout_s=0.5)
    await write(writer, Record(digest=9))
    await frozen.execute("BEGIN")
    await sleep_on_insert(admin)
    with pytest.raises(SinkTooSlow):
        await write(writer, Record())
    with pytest.raises(SinkTooSlow):
        await write(writer, Record())
    with pytest.raises(SinkTooSlow):
        await write(writer, Record())
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await frozen.fetchval("SELECT 1")


async def test_a_write_out_of_time_is_too_slow(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    await sleep_on_insert(admin)
    with pytest.raises(SinkTooSlow) as caught:
        await write(open_writer(write_timeout_s=0.25), Record())
    assert caught.value.sqlstate == "57014"


async def test_an_open_session_that_answers_no_more_is_too_slow(
    own_postgres: EmbeddedPostgres,
) -> None:
    dsn = own_postgres.dsn()
    await migrate(dsn)
    writer = PositionWriter(
        SessionConfig(dsn=dsn, instance="test", write_timeout_s=0.5), SharedState()
    )
    await write(writer, Record())
    assert writer._session is not None
    pid = writer._session.connection.get_server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SinkTooSlow, match="no answer by the deadline"):
            await write(writer, Record(digest=2))
    finally:
        os.kill(pid, signal.SIGCONT)
    await writer.close()


async def test_a_reader_is_not_ended_as_a_frozen_writer(
    dsn: str, admin: asyncpg.Connection
) -> None:
    async with accounts_session(dsn, instance="test") as reader:
        await reader.execute("BEGIN")
        assert await reader.fetchval("SELECT 1") == 1
        assert await admin.fetchval(END_STALE_SESSIONS, 0.0) == 0
        assert await reader.fetchval("SELECT 1") == 1


async def test_sessions_that_are_not_ours_are_left_alone(
    open_writer: Open, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    record = Record()
    writer = open_writer(write_timeout_s=0.25, lock_timeout_s=0.1)
    await write(writer, Record(digest=9))
    await hold_key(admin, record)

    async def is_old() -> bool:
        past_deadline = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report'"
            " AND datname = current_database()"
            " AND xact_start < clock_timestamp() - interval '0.5 s'"
        )
        return bool(await observer.fetchval(past_deadline))

    await eventually_async(is_old)
    with pytest.raises(SinkUnavailable) as caught:
        await write(writer, record)
    assert caught.value.sqlstate == "55P03"
    assert await admin.fetchval("SELECT count(*) FROM positions WHERE digest = 1") == 1


async def test_a_server_that_never_answers_is_given_up_at_the_deadline(open_writer: Open) -> None:
    connected = asyncio.Event()
    answered = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, closing: asyncio.StreamWriter) -> None:
        connected.set()
        await answered.wait()
        closing.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writer = open_writer(
        address=f"postgresql://someone@127.0.0.1:{port}/nothing_test", write_timeout_s=0.1
    )
    with pytest.raises(SinkUnavailable, match="no answer by the deadline") as caught:
        await write(writer, Record())
    assert not isinstance(caught.value, SinkTooSlow)
    assert connected.is_set()
    answered.set()
    server.close()


async def test_a_missing_table_is_a_schema_that_does_not_fit(database: str) -> None:
    writer = PositionWriter(SessionConfig(dsn=database, instance="test"), SharedState())
    with pytest.raises(SchemaMismatch, match="42P01"):
        await write(writer, Record())
    await writer.close()


async def test_sessions_say_who_they_are_and_bound_their_waits(open_writer: Open) -> None:
    writer = open_writer()
    await write(writer, Record())
    assert writer._session is not None
    connection = writer._session.connection
    shown = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in (
            "application_name",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_isolation",
        )
    }
    assert shown == {
        "application_name": "teltonika-processor/test-0",
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "5s",
        "transaction_isolation": "read committed",
    }


async def test_every_session_notices_a_peer_that_went_away_without_a_word(
    own_postgres: EmbeddedPostgres,
) -> None:
    config = SessionConfig(dsn=own_postgres.dsn(over_tcp=True), instance="test")
    for opening in (open_session, open_reading_session, open_migration_session):
        async with session_of(opening, config) as session:
            shown = [
                await session.fetchval(f"SHOW {name}")
                for name in (
                    "tcp_keepalives_idle",
                    "tcp_keepalives_interval",
                    "tcp_keepalives_count",
                    "client_connection_check_interval",
                )
            ]
        assert (opening.__name__, shown) == (opening.__name__, ["10", "5", "3", "1s"])


async def test_a_lock_is_given_up_before_the_statement(open_writer: Open) -> None:
    writer = open_writer(write_timeout_s=1.5)
    await write(writer, Record())
    assert writer._session is not None
    assert await writer._session.connection.fetchval("SHOW lock_timeout") == "750ms"


async def test_a_server_that_defaults_to_stricter_isolation_changes_nothing(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(
        f'ALTER DATABASE "{name}" SET default_transaction_isolation = "serializable"'
    )
    record = Record()
    first, second = open_writer(), open_writer()
    await write(first, Record(digest=9))
    receipts = await asyncio.gather(write(first, record), write(second, record))
    assert sorted(receipt.n_stored for receipt in receipts) == [0, 1]


async def test_a_role_that_may_only_write_writes_and_makes_partitions(
    open_writer: Open, dsn: str, admin: asyncpg.Connection
) -> None:
    role = f"tp_writer_{os.getpid()}"
    grants = (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE ON positions, last_position, devices, refold TO {role}",
        f"GRANT SELECT ON zones TO {role}",
        f"GRANT EXECUTE ON FUNCTION positions_ensure_days(date[]) TO {role}",
    )
    for statement in grants:
        await admin.execute(statement)
    try:
        writer = open_writer(address=with_user(dsn, role))
        assert (await write(writer, Record())).n_stored == 1
        assert (await write(writer, Record())).n_stored == 0
        assert await partition_of(admin, 1) == "positions_20261122"
        await writer.close()
    finally:
        await admin.execute(f"DROP OWNED BY {role}")
        await admin.execute(f"DROP ROLE {role}")


async def test_making_partitions_is_not_open_to_everybody(
    dsn: str, admin: asyncpg.Connection
) -> None:
    role = f"tp_stranger_{os.getpid()}"
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    try:
        stranger = await asyncpg.connect(with_user(dsn, role))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.execute("SELECT public.positions_ensure_days(ARRAY[current_date])")
        await stranger.close()
    finally:
        await admin.execute(f"DROP ROLE {role}")
