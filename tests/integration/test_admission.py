"""The allow-list from Postgres, and who is refused."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from admission import News, watched
from commands import own_environment, run_command
from pgbouncer import Pooler
from rows import NOON_MS, Record
from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.errors import ConfigError, SchemaMismatch
from teltonika_processor.gateway.admission import Admission, Replaced, Verdict
from teltonika_processor.gateway.list_news import (
    Listener,
    ListReadable,
    ListReplaced,
    ListUnreadable,
    RefusalsUnrecorded,
)
from teltonika_processor.gateway.list_table import TableKeeper
from teltonika_processor.store import admission as statements
from teltonika_processor.store.admission import (
    Refusal,
    admission_session,
    allowed_pages,
    known,
    record_refused,
)
from teltonika_processor.store.connection import Session, SessionConfig
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.tasks.companions import companions
from waiting import eventually_async
from writing import Open, write

IMEI = 356307042441013
OTHER = 490154203237518
MISTYPED = IMEI + 1

Keep = Callable[..., AbstractAsyncContextManager[News]]


@pytest.fixture
def config(writer_dsn: str, pooler: Pooler) -> SessionConfig:
    return SessionConfig(dsn=writer_dsn, instance="gateway-1", pooler=pooler)


@pytest.fixture
async def session(config: SessionConfig) -> AsyncIterator[Session]:
    async with admission_session(config) as session:
        yield session


@pytest.fixture
def admission() -> Admission:
    return Admission()


@pytest.fixture
def keep(admission: Admission, config: SessionConfig) -> Keep:
    """A keeper at work for a block; by default it reads the whole list once."""

    def keeping(
        keeps: Admission = admission, config: SessionConfig = config, **options: Any
    ) -> AbstractAsyncContextManager[News]:
        return watched(
            lambda listener: TableKeeper(
                keeps,
                config,
                listener,
                jitter=lambda: 0.0,
                **{"reload_s": 3600.0, "look_s": 0.01, "wall_clock": lambda: NOON_MS / 1000}
                | options,
            )
        )

    return keeping


def is_let_in(admission: Admission, imei: int) -> bool:
    """As a device that comes now."""
    return admission.decide(imei, now_ms=NOON_MS) is Verdict.ALLOWED


async def rows(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """(imei, name, allowed, first seen, last seen in ms since noon), by imei."""
    found = await admin.fetch(
        "SELECT imei, name, allowed, (extract(epoch FROM first_seen_at) * 1000)::bigint - $1,"
        " (extract(epoch FROM last_seen_at) * 1000)::bigint - $1 FROM devices ORDER BY imei",
        NOON_MS,
    )
    return [tuple(row) for row in found]


# The statements.


async def test_all_rows_come_in_pages_and_the_allowed_ones_ascending(
    session: Session, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_PAGE", 4)
    await admin.execute(
        "INSERT INTO devices (imei, allowed)"
        " SELECT n, n % 3 > 0 FROM generate_series(9, 0, -1) AS n UNION SELECT $1::bigint, true",
        10**15 - 1,
    )
    pages = [(page.n_rows, list(page.allowed)) async for page in allowed_pages(session)]
    assert pages == [(4, [1, 2]), (4, [4, 5, 7]), (3, [8, 10**15 - 1])]


async def test_no_rows_are_one_empty_page(session: Session) -> None:
    assert [(page.n_rows, list(page.allowed)) async for page in allowed_pages(session)] == [(0, [])]


async def test_a_last_page_that_is_full_is_followed_by_an_empty_one(
    session: Session, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_PAGE", 2)
    await admin.execute("INSERT INTO devices (imei) VALUES (1), (2)")
    assert [page.n_rows async for page in allowed_pages(session)] == [2, 0]


async def test_who_has_a_row_is_known(session: Session, admin: asyncpg.Connection) -> None:
    await admin.execute("INSERT INTO devices (imei, allowed) VALUES (1, true), (2, false)")
    assert await known(session, [3, 2, 1]) == {1: True, 2: False}
    assert await known(session, []) == {}


async def test_recording_makes_rows_that_are_not_allowed_and_widens_those_there(
    session: Session, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO devices (imei, name, allowed, first_seen_at, last_seen_at) VALUES"
        " (1, 'Van', false, to_timestamp($1), to_timestamp($1 + 5)),"
        " (2, 'Car', false, NULL, NULL),"
        " (3, 'Bus', true, to_timestamp($1), to_timestamp($1))",
        NOON_MS // 1000,
    )
    seen = [Refusal(imei, NOON_MS + 1000, NOON_MS + 9000) for imei in (4, 3, 2, 1)]
    await record_refused(session, seen)
    await record_refused(session, [Refusal(1, NOON_MS - 500, NOON_MS + 1)])
    assert await rows(admin) == [
        (1, "Van", False, -500, 9000),
        (2, "Car", False, 1000, 9000),
        (3, "Bus", True, 0, 0),
        (4, None, False, 1000, 9000),
    ]


async def test_gateways_and_writers_that_meet_the_same_devices_do_not_deadlock(
    config: SessionConfig, open_writer: Open, admin: asyncpg.Connection
) -> None:
    imeis = list(range(1, 301))
    shuffled = random.Random(7)

    async def gateway() -> None:
        async with admission_session(config) as session:
            for turn in range(20):
                order = shuffled.sample(imeis, len(imeis))
                seen = [Refusal(imei, NOON_MS, NOON_MS + turn) for imei in order]
                await record_refused(session, seen)

    async def processor(writer: PositionWriter) -> None:
        for turn in range(10):
            order = shuffled.sample(imeis, len(imeis))
            await write(writer, *(Record(imei=imei, digest=turn) for imei in order))

    async with asyncio.TaskGroup() as group:
        group.create_task(gateway())
        group.create_task(gateway())
        group.create_task(processor(open_writer(own_state=True)))
    assert await admin.fetchval("SELECT count(*) FROM devices WHERE NOT allowed") == 300


async def test_nothing_is_left_in_the_session(session: Session) -> None:
    """A pooler gives it to somebody else after each statement."""
    before = await session.fetch("SELECT name, setting FROM pg_settings WHERE source = 'session'")
    await record_refused(session, [Refusal(1, NOON_MS, NOON_MS)])
    await known(session, [1])
    [_ async for _ in allowed_pages(session)]
    after = await session.fetch("SELECT name, setting FROM pg_settings WHERE source = 'session'")
    assert after == before
    assert not session.is_in_transaction()


# The keeper.


async def test_who_is_allowed_is_let_in_from_the_first_list_on(
    keep: Keep, admission: Admission, admin: asyncpg.Connection
) -> None:
    await admin.execute("INSERT INTO devices (imei, allowed) VALUES ($1, true), (1, false)", IMEI)
    async with keep() as news:
        told = await news.next(ListReplaced)
        assert told.replaced == Replaced(1, n_added=1, n_removed=0)
        assert is_let_in(admission, IMEI)
        assert not is_let_in(admission, 1)


async def test_an_empty_table_is_a_list(keep: Keep, admission: Admission) -> None:
    async with keep() as news:
        await news.next(ListReplaced)
        assert admission.decide(IMEI, now_ms=NOON_MS) is Verdict.REFUSED


async def test_a_list_of_several_pages(
    keep: Keep, admission: Admission, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_PAGE", 7)
    await admin.execute(
        "INSERT INTO devices (imei, allowed) SELECT n, true FROM generate_series(1, 100) AS n"
    )
    async with keep() as news:
        assert (await news.next(ListReplaced)).replaced.n_allowed == 100
        assert all(admission.lets_in(imei) for imei in range(1, 101))


async def test_an_unknown_device_is_recorded_once_and_stays_refused(
    keep: Keep, admission: Admission, admin: asyncpg.Connection
) -> None:
    async with keep() as news:
        await news.next(ListReplaced)
        assert not is_let_in(admission, IMEI)
        assert not is_let_in(admission, MISTYPED)
        await eventually_async(lambda: rows(admin))
        assert not is_let_in(admission, IMEI)
    assert await rows(admin) == [(IMEI, None, False, 0, 0)]
    assert admission.refused.n_rows_made == 1
    assert admission.refused.n_without_check_digit == 1


@pytest.mark.parametrize("imei", [IMEI, MISTYPED])
async def test_device_allow_lets_in_who_was_refused_without_a_new_list(
    keep: Keep, admission: Admission, dsn: str, imei: int
) -> None:
    async with keep(look_s=1.0) as news:
        await news.next(ListReplaced)
        assert not is_let_in(admission, imei)
        await device("allow", str(imei), dsn=dsn)
        allowed_at = asyncio.get_running_loop().time()
        await eventually_async(lambda: lets_in(admission, imei))
        assert asyncio.get_running_loop().time() - allowed_at < 2.0


async def test_a_device_that_was_never_refused_is_let_in_by_the_next_list(
    keep: Keep, admission: Admission, dsn: str
) -> None:
    async with keep(reload_s=0.05) as news:
        await news.next(ListReplaced)
        await device("allow", str(IMEI), dsn=dsn)
        assert (await news.next(ListReplaced)).replaced == Replaced(1, n_added=1, n_removed=0)
        assert admission.lets_in(IMEI)
        assert admission.refused.n_refused == 0


async def test_device_deny_keeps_out_and_names_whom_to_close(
    keep: Keep, admission: Admission, admin: asyncpg.Connection, dsn: str
) -> None:
    await admin.execute(
        "INSERT INTO devices (imei, allowed) VALUES ($1, true), ($2, true)", IMEI, OTHER
    )
    async with keep(reload_s=0.05) as news:
        await news.next(ListReplaced)
        await device("deny", str(IMEI), dsn=dsn)
        assert (await news.next(ListReplaced)).replaced == Replaced(1, n_added=0, n_removed=1)
        assert news.removed == [IMEI]
        assert not is_let_in(admission, IMEI)
        assert is_let_in(admission, OTHER)


async def test_a_list_that_decides_as_before_is_not_told(
    keep: Keep, admission: Admission, admin: asyncpg.Connection
) -> None:
    async with keep(reload_s=0.0) as news:
        await news.next(ListReplaced)
        first_at = admission._read_at
        await eventually_async(lambda: is_true(admission._read_at > first_at))
        await admin.execute("INSERT INTO devices (imei, allowed) VALUES (1, true)")
        assert (await news.next(ListReplaced)).replaced.n_allowed == 1


async def test_two_gateways_record_the_same_device(keep: Keep, admin: asyncpg.Connection) -> None:
    both = [Admission(), Admission()]
    async with keep(both[0]) as one, keep(both[1]) as other:
        await one.next(ListReplaced)
        await other.next(ListReplaced)
        for admission in both:
            assert not is_let_in(admission, IMEI)
        await eventually_async(
            lambda: is_true(
                all(one.refused.to_record({IMEI: False}, now_s=0.0) == [] for one in both)
            )
        )
    assert await rows(admin) == [(IMEI, None, False, 0, 0)]


async def test_a_table_full_of_strangers_gets_no_more_of_them(
    keep: Keep, admission: Admission, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teltonika_processor.gateway.refused.UNASKED_ROWS_MAX", 3)
    await admin.execute("INSERT INTO devices (imei) VALUES (1), (2), (3)")
    async with keep() as news:
        await news.next(ListReplaced)
        assert not is_let_in(admission, IMEI)
        await eventually_async(lambda: is_true(admission.refused.n_held_back == 1))
    assert [row[0] for row in await rows(admin)] == [1, 2, 3]


# Postgres away.


async def test_the_last_list_goes_on_while_postgres_is_away(
    admission: Admission, keep: Keep, own_postgres: EmbeddedPostgres
) -> None:
    dsn = own_postgres.dsn()
    migrated(dsn)
    await run_sql(
        dsn, f"INSERT INTO devices (imei, allowed) VALUES ({IMEI}, true), ({OTHER}, true)"
    )
    config = SessionConfig(dsn=dsn, instance="gateway-1")
    async with keep(config=config, reload_s=0.05) as news:
        await news.next(ListReplaced)
        own_postgres.kill()
        told = await news.next(ListUnreadable)
        assert told.why.startswith("Postgres: ")
        assert told.age_s is not None
        assert is_let_in(admission, IMEI)
        assert not is_let_in(admission, 1)
        own_postgres.start()
        assert (await news.next(ListReadable)).outage_s > 0
        await run_sql(dsn, f"UPDATE devices SET allowed = false WHERE imei = {OTHER}")
        assert (await news.next(ListReplaced)).replaced.n_removed == 1
    assert news.removed == [OTHER]


async def test_nobody_is_decided_before_postgres_was_ever_there(
    admission: Admission, keep: Keep, own_postgres: EmbeddedPostgres
) -> None:
    dsn = own_postgres.dsn()
    migrated(dsn)
    await run_sql(dsn, f"INSERT INTO devices (imei, allowed) VALUES ({IMEI}, true)")
    own_postgres.kill()
    async with keep(config=SessionConfig(dsn=dsn, instance="gateway-1")) as news:
        assert (await news.next(ListUnreadable)).age_s is None
        assert admission.decide(IMEI, now_ms=NOON_MS) is Verdict.UNDECIDED
        own_postgres.start()
        assert (await news.next(ListReplaced)).replaced.n_allowed == 1
        await news.next(ListReadable)
        assert is_let_in(admission, IMEI)


async def test_a_database_without_the_table_ends_the_keeper_before_the_first_list(
    database: str,
) -> None:
    keeper = bare_keeper(Admission(), SessionConfig(dsn=database, instance="gateway-1"))
    with pytest.raises(SchemaMismatch, match="42P01"):
        await keeper.run()


async def test_an_address_that_is_none_ends_the_keeper_before_the_first_list() -> None:
    keeper = bare_keeper(Admission(), SessionConfig(dsn="mysql://h/", instance="g"))
    with pytest.raises(ConfigError):
        await keeper.run()


async def test_a_table_that_is_gone_later_leaves_the_list_in_force(
    keep: Keep, admission: Admission, admin: asyncpg.Connection
) -> None:
    await admin.execute("INSERT INTO devices (imei, allowed) VALUES ($1, true)", IMEI)
    async with keep(reload_s=0.05) as news:
        await news.next(ListReplaced)
        await admin.execute("ALTER TABLE devices RENAME TO away")
        assert "42P01" in (await news.next(ListUnreadable)).why
        assert is_let_in(admission, IMEI)
        await admin.execute("ALTER TABLE away RENAME TO devices")
        await news.next(ListReadable)


async def test_an_answer_that_does_not_come_is_given_up(
    keep: Keep, admission: Admission, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.execute("INSERT INTO devices (imei, allowed) VALUES ($1, true)", IMEI)
    async with keep(reload_s=0.05) as news:
        await news.next(ListReplaced)
        monkeypatch.setattr(statements, "_ANSWER_MAX_S", 0.2)
        await admin.execute("BEGIN; LOCK TABLE devices")
        told = await news.next(ListUnreadable)
        assert told.why == "Postgres: no answer by the deadline"
        assert is_let_in(admission, IMEI)
        monkeypatch.undo()
        await admin.execute("COMMIT")
        await news.next(ListReadable)


async def test_what_cannot_be_written_down_is_told_and_the_list_goes_on(
    keep: Keep, admission: Admission, admin: asyncpg.Connection
) -> None:
    await admin.execute("ALTER TABLE devices ADD CONSTRAINT mine CHECK (imei <> 356307042441013)")
    async with keep(reload_s=0.05) as news:
        await news.next(ListReplaced)
        assert not is_let_in(admission, IMEI)
        assert "23514" in (await news.next(RefusalsUnrecorded)).why
        await admin.execute("INSERT INTO devices (imei, allowed) VALUES (1, true)")
        assert (await news.next(ListReplaced)).replaced.n_allowed == 1


async def test_a_standby_gives_the_list_where_nothing_can_be_written(
    keep: Keep, admission: Admission, admin: asyncpg.Connection, dsn: str
) -> None:
    await admin.execute("INSERT INTO devices (imei, allowed) VALUES ($1, true)", OTHER)
    database = urlsplit(dsn).path.removeprefix("/")
    await admin.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    config = SessionConfig(dsn=dsn, instance="gateway-1")  # a pooler's processes were opened before
    async with keep(config=config) as news:
        await news.next(ListReplaced)
        assert is_let_in(admission, OTHER)
        assert not is_let_in(admission, IMEI)
        assert "25006" in (await news.next(RefusalsUnrecorded)).why


async def test_a_long_list_is_replaced_while_the_loop_turns(
    keep: Keep, admission: Admission, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO devices (imei, allowed) SELECT n, true FROM generate_series(1, 20000) AS n"
    )
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            assert admission.lets_in(1) or not admission.is_known
            turns += 1
            await asyncio.sleep(0)

    async with companions({"turning": turning()}), keep(reload_s=0.05) as news:
        await news.next(ListReplaced)
        await admin.execute("UPDATE devices SET allowed = imei <= 5000")
        before = turns
        while len(news.removed) < 15_000:  # the first pages may have been read before that
            await news.next(ListReplaced)
        assert turns - before >= 30
    assert sorted(news.removed) == list(range(5001, 20_001))


def bare_keeper(admission: Admission, config: SessionConfig) -> TableKeeper:
    listener = Listener(tell=lambda _: None, removed=lambda _: None)
    return TableKeeper(admission, config, listener, jitter=lambda: 0.0)


async def device(*arguments: str, dsn: str) -> None:
    """The command that an operator runs, while the loop turns."""
    environment = own_environment(DATABASE_URL=dsn)
    run = await asyncio.to_thread(
        lambda: run_command("device", *arguments, "--yes", environment=environment)
    )
    assert run.returncode == 0, run.stderr


async def run_sql(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


def migrated(dsn: str) -> None:
    run = run_command("migrate", environment=own_environment(DATABASE_URL=dsn))
    assert run.returncode == 0, run.stderr


async def lets_in(admission: Admission, imei: int) -> bool:
    return admission.lets_in(imei)


async def is_true(fact: bool) -> bool:  # noqa: FBT001 -- an answer
    return fact
