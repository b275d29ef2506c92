import asyncio
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.migrate import migrate
from teltonika_processor.store.probe import WriteProbe
from waiting import eventually_async

Probing = Callable[[str], WriteProbe]


@pytest.fixture
async def probing() -> AsyncIterator[Probing]:
    opened: list[WriteProbe] = []

    def open_one(dsn: str) -> WriteProbe:
        opened.append(WriteProbe(SessionConfig(dsn=dsn, instance="test")))
        return opened[-1]

    yield open_one
    for probe in opened:
        await probe.close()


async def alter_server(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(statement)
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


async def test_a_migrated_database_that_can_be_written_is_ready(probing: Probing, dsn: str) -> None:
    probe = probing(dsn)
    assert await probe.check() is None
    session = probe._session
    assert await probe.check() is None
    assert probe._session is session


async def test_an_empty_database_is_not_ready(probing: Probing, database: str) -> None:
    reason = await probing(database).check()
    assert reason is not None
    assert reason.startswith("migrations are pending: 0001_")


async def test_migrations_applied_meanwhile_are_seen(probing: Probing, database: str) -> None:
    probe = probing(database)
    assert await probe.check() is not None
    await migrate(database)
    assert await probe.check() is None


async def test_a_server_made_read_only_is_told_by_the_session_that_is_open(
    probing: Probing, own_postgres: EmbeddedPostgres
) -> None:
    await migrate(own_postgres.dsn())
    probe = probing(own_postgres.dsn())
    assert await probe.check() is None
    session = probe._session
    await alter_server(own_postgres, "ALTER SYSTEM SET default_transaction_read_only = on")

    async def is_told() -> bool:
        return await probe.check() == "Postgres is read-only: transaction_read_only is on"

    await eventually_async(is_told)
    assert probe._session is session
    assert await probing(own_postgres.dsn()).check() == (
        "Postgres: the server is a standby or read-only"
    )


async def test_a_standby_is_not_ready_until_it_is_promoted(
    probing: Probing, own_postgres: EmbeddedPostgres
) -> None:
    await migrate(own_postgres.dsn())
    own_postgres.stop()
    (own_postgres._data_dir / "standby.signal").touch()
    own_postgres.start()
    probe = probing(own_postgres.dsn())
    assert await probe.check() == "Postgres: the server is a standby or read-only"
    await alter_server(own_postgres, "SELECT pg_promote()")
    assert await probe.check() is None


async def test_a_server_that_comes_back_is_ready_again(
    probing: Probing, own_postgres: EmbeddedPostgres
) -> None:
    await migrate(own_postgres.dsn())
    probe = probing(own_postgres.dsn())
    assert await probe.check() is None
    own_postgres.kill()
    assert await probe.check() is not None
    own_postgres.start()
    assert await probe.check() is None


async def test_a_silent_server_costs_two_seconds(probing: Probing) -> None:
    async def say_nothing(reader: asyncio.StreamReader, closing: asyncio.StreamWriter) -> None:
        await reader.read()
        closing.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    probe = probing(f"postgresql://someone@127.0.0.1:{port}/nothing")
    began = time.monotonic()
    assert await probe.check() == "Postgres: no answer by the deadline"
    assert 1.9 < time.monotonic() - began < 4
    server.close()


async def test_checks_at_one_time_do_not_meet_in_the_session(probing: Probing, dsn: str) -> None:
    probe = probing(dsn)
    assert await asyncio.gather(*(probe.check() for _ in range(10))) == [None] * 10


async def test_what_is_asked_of_a_probe_is_not_what_a_writer_may_end(
    probing: Probing, dsn: str, admin: asyncpg.Connection
) -> None:
    await probing(dsn).check()
    names = await admin.fetch(
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'teltonika%'"
    )
    assert [row[0] for row in names] == ["teltonika-processor-read/test"]


async def test_a_wrong_password_and_a_wrong_address_are_reasons(
    probing: Probing, own_postgres: EmbeddedPostgres
) -> None:
    port = own_postgres.port
    wrong = probing(f"postgresql://postgres:wrong@127.0.0.1:{port}/postgres")
    assert "28P01" in str(await wrong.check())
    assert "refused" in str(await probing("postgresql://a@127.0.0.1:1/b").check()).lower()
