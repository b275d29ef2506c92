"""What both servers tell of themselves, of what they hold, and to those who may ask little."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from letters import add_letter
from rows import NOON_MS, Record
from servers import new_postgres, new_redis, run_sql, runs_on_old_servers
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.errors import ConfigError, SinkUnavailable, StreamUnavailable
from teltonika_processor.store import partitions as store_partitions
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.migrate import prepare_schema
from teltonika_processor.store.overview import PostgresLook, PostgresOverview
from teltonika_processor.stream import letter_counts
from teltonika_processor.stream.clock import clock_us_of, redis_clock_ms
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.ids import ms_of
from teltonika_processor.stream.letter_counts import LetterCounter, LetterCounts
from teltonika_processor.stream.overview import RedisOverview, rates_between
from teltonika_processor.stream.rewind import id_before
from teltonika_processor.stream.server_state import read_redis_state
from waiting import eventually_async
from writing import Open, write

STREAM = "telemetry:teltonika"
GROUP = "processor"
PASSWORD = "of-the-test"  # on servers of the suite's own


async def look_at(dsn: str, *, pooler: str = "none") -> PostgresLook:
    config = SessionConfig(dsn=dsn, instance="status", pooler=pooler)  # type: ignore[arg-type] # of tests
    overview = PostgresOverview(config)
    try:
        return await overview.look()
    finally:
        await overview.close()


# Redis


async def test_an_empty_redis_is_looked_at(client: RedisClient) -> None:
    look = await RedisOverview(client, STREAM, GROUP).look()
    assert (look.group.added, look.group.health.group_exists) == (0, False)
    assert (look.roster.members, look.letters) == ((), LetterCounts())
    assert look.group.at_ms > 1_700_000_000_000
    assert look.server.is_readable
    assert look.server.facts.role == "master"


async def test_the_clock_of_redis_is_that_of_the_ids_of_its_entries(client: RedisClient) -> None:
    before = await redis_clock_ms(client)
    entry_id = await client.execute_command("XADD", STREAM, "*", "frame", "f")
    assert before <= ms_of(entry_id.decode()) <= await redis_clock_ms(client)
    assert clock_us_of([b"1790000000", b"000256"]) == 1_790_000_000_000_256
    assert ms_of(await id_before(client, 60)) in range(before - 60_000, before - 50_000)


async def test_two_looks_at_a_group_give_its_rates(client: RedisClient) -> None:
    overview = RedisOverview(client, STREAM, GROUP)
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    before = await overview.look_at_group()
    for _ in range(10):
        await client.execute_command("XADD", STREAM, "*", "frame", "f")
    await client.hset(f"{STREAM}:accounts", mapping={"acknowledged": 4, "dead_lettered": 1})

    async def later() -> bool:
        return (await overview.look_at_group()).at_ms >= before.at_ms + 20

    await eventually_async(later)
    now = await overview.look_at_group()
    rates = rates_between(before, now)
    assert rates is not None
    assert round(rates.added * rates.over_s, 6) == 10
    assert round(rates.acknowledged * rates.over_s, 6) == 4
    assert round(rates.dead_lettered * rates.over_s, 6) == 1
    assert round(rates.lag * rates.over_s, 6) == 10


async def test_letters_are_counted_by_reason_again_when_they_change(
    redis_url: str, client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis  # noqa: PLC0415 -- the synchronous client that letters are made with

    monkeypatch.setattr(letter_counts, "_PAGE_LETTERS", 3)
    counter = LetterCounter(client, STREAM)
    assert await counter.count() == LetterCounts()
    with redis.Redis.from_url(redis_url) as writer:
        for _ in range(7):
            add_letter(writer, {"imei": "1", "frame": b"\x00"})
        add_letter(writer, {}, "payload_trimmed")
        writer.xadd(f"{STREAM}:dlq", {"of": "somebody else"})
        counted = await counter.count()
        assert counted == LetterCounts(9, {"": 1, "crc_mismatch": 7, "payload_trimmed": 1})
        assert await counter.count() is counted
        add_letter(writer, {}, "bad_imei")
        assert (await counter.count()).by_reason["bad_imei"] == 1
        monkeypatch.setattr(letter_counts, "_LOOKED_AT_MAX", 4)
        add_letter(writer, {}, "bad_imei")
        newest = {"": 1, "bad_imei": 2, "payload_trimmed": 1}
        assert await counter.count() == LetterCounts(11, newest)


@pytest.fixture
async def master(own_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = open_client(own_redis.url(), name="master")
    yield client
    await client.aclose()


@pytest.fixture
async def replica(own_redis: EmbeddedRedis, master: RedisClient) -> AsyncIterator[RedisClient]:
    await master.execute_command("CONFIG SET", "repl-diskless-sync-delay", "0")
    with new_redis() as other:
        client = open_client(other.url(), name="replica")
        password = urlsplit(own_redis.url(over_tcp=True)).password
        await client.execute_command("CONFIG SET", "masterauth", password)
        await client.execute_command("REPLICAOF", "127.0.0.1", str(own_redis.port))
        yield client
        await client.execute_command("REPLICAOF", "NO", "ONE")
        await client.aclose()


async def test_a_master_tells_of_its_replica_and_the_replica_of_its_link(
    master: RedisClient, replica: RedisClient
) -> None:
    async def is_online() -> bool:
        return [found.state for found in (await read_redis_state(master)).replicas] == ["online"]

    async def is_linked() -> bool:
        return (await read_redis_state(replica)).link_up is True

    await eventually_async(is_online)
    await eventually_async(is_linked)
    (found,) = (await read_redis_state(master)).replicas
    assert found.address.startswith("127.0.0.1:")
    assert found.lag_s <= 2
    assert found.behind_bytes < 1000
    state = await read_redis_state(replica)
    assert state.facts.role == "replica"
    assert state.master_silent_s is not None


async def limited_client(server: EmbeddedRedis, *permissions: str) -> RedisClient:
    """A client of a user that may do everything but for these permissions."""
    password = server.url().partition("unix://:")[2].partition("@")[0]
    admin = open_client(server.url(), name="admin")
    grants = ("on", f">{password}", "~*", "&*", "+@all", *permissions)
    await admin.execute_command("ACL", "SETUSER", "limited", *grants)
    await admin.aclose()
    limited = server.url().replace("unix://:", "unix://limited:").partition("?")[0]
    return open_client(limited, name="limited")


async def test_a_user_without_info_config_and_time_learns_the_rest(
    own_redis: EmbeddedRedis,
) -> None:
    user = await limited_client(own_redis, "-@dangerous", "-time")
    await user.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    look = await RedisOverview(user, STREAM, GROUP).look()
    assert look.group.health.group_exists
    assert (look.server.is_readable, look.server.used_memory_bytes) == (False, None)
    assert (look.server.facts.appendonly, look.server.facts.role) == (None, "master")
    assert look.group.at_ms > 1_700_000_000_000
    await user.aclose()


async def test_a_redis_that_is_away_or_holds_something_else_is_an_error(
    client: RedisClient,
) -> None:
    away = open_client("redis://127.0.0.1:1", name="away")
    with pytest.raises(StreamUnavailable):
        await RedisOverview(away, STREAM, GROUP).look()
    await away.aclose()
    await client.set(STREAM, "something else")
    with pytest.raises(ConfigError):
        await RedisOverview(client, STREAM, GROUP).look()


# Postgres


async def test_a_primary_tells_of_its_log(dsn: str, open_writer: Open) -> None:
    writer = open_writer()
    await write(writer, Record(), Record(digest=2))
    await write(writer, Record(recorded_at_ms=NOON_MS - 3 * 86_400_000))
    look = await look_at(dsn)
    assert look.version.startswith("15." if runs_on_old_servers() else "18.")
    assert (look.is_standby, look.is_read_only, look.schema_fault) == (False, False, "")
    assert look.database_bytes is not None
    assert look.database_bytes > 7_000_000
    partitions = look.partitions
    assert partitions is not None
    # The day after the writer's own is made ahead.
    assert partitions.n_partitions == 5
    assert (partitions.first_day, partitions.last_day) == ("2026-11-19", "2026-11-23")
    assert partitions.bytes > 8192
    assert (partitions.default_rows, partitions.default_plausible) == (0, 0)
    assert (look.replicas, look.receiver) == ((), None)


async def test_plausible_rows_in_the_default_partition_are_counted_within_bounds(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.execute(
        "INSERT INTO positions SELECT imei, TIMESTAMPTZ '2031-01-01 UTC', 1, now(), 1, 1, 1, 1, 1, "
        "1, 1, 1, NULL, imei % 3 = 0, '{}' FROM generate_series(1, 90) AS imei"
    )
    look = await look_at(dsn)
    assert look.partitions is not None
    assert look.partitions.default_plausible == 60
    monkeypatch.setattr(store_partitions, "PLAUSIBLE_MAX", 20)
    look = await look_at(dsn)
    assert look.partitions is not None
    assert look.partitions.default_plausible == 20
    await admin.execute("ANALYZE positions_default")
    look = await look_at(dsn)
    assert look.partitions is not None
    assert (look.partitions.default_rows, look.partitions.n_rows) == (90, 90)


async def test_a_database_without_the_schema_says_so(database: str) -> None:
    look = await look_at(database)
    assert look.schema_fault is not None
    assert "migrations are pending" in look.schema_fault
    assert look.partitions is not None
    assert (look.partitions.n_partitions, look.partitions.default_plausible) == (0, None)


async def test_a_schema_that_is_older_is_looked_at_as_far_as_it_goes(
    dsn: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("DROP FUNCTION positions_default_plausible")
    await admin.execute("DELETE FROM teltonika_migrations WHERE name = '0004_default_plausible'")
    look = await look_at(dsn)
    assert look.schema_fault is not None
    assert "0004_default_plausible" in look.schema_fault
    assert look.partitions is not None
    assert (look.partitions.n_partitions, look.partitions.default_plausible) == (2, None)


@pytest.fixture
def writer_role_dsn(migrated_database: str) -> Iterator[str]:
    """A role that may write positions and nothing else, with nothing left to PUBLIC."""
    parts = urlsplit(migrated_database)
    database = parts.path.removeprefix("/")
    role = f"{database}_status"
    run_sql(migrated_database, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    run_sql(migrated_database, f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    run_sql(migrated_database, f"GRANT CONNECT ON DATABASE {database} TO {role}")
    run_sql(migrated_database, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    run_sql(migrated_database, f"GRANT USAGE ON SCHEMA public TO {role}")
    run_sql(migrated_database, f"GRANT SELECT, INSERT, UPDATE ON public.positions TO {role}")
    host = parts.netloc.rpartition("@")[2]
    yield parts._replace(netloc=f"{role}:{PASSWORD}@{host}").geturl()
    run_sql(migrated_database, f"DROP OWNED BY {role}")
    run_sql(migrated_database, f"DROP ROLE {role}")


async def test_a_role_that_may_read_little_learns_the_rest(writer_role_dsn: str) -> None:
    look = await look_at(writer_role_dsn)
    assert look.schema_fault == ""
    assert look.partitions is not None
    assert (look.partitions.n_partitions, look.partitions.default_plausible) == (2, None)
    assert look.replicas == ()
    assert look.database_bytes is not None


async def test_a_role_without_the_schema_learns_of_the_server(
    admin: asyncpg.Connection, writer_role_dsn: str
) -> None:
    role = urlsplit(writer_role_dsn).username
    await admin.execute(f"REVOKE USAGE ON SCHEMA public FROM {role}")
    look = await look_at(writer_role_dsn)
    assert (look.is_standby, look.schema_fault) == (False, None)


async def test_a_look_after_the_server_was_away_works_again(own_postgres: EmbeddedPostgres) -> None:
    overview = PostgresOverview(SessionConfig(dsn=own_postgres.dsn(), instance="status"))
    assert (await overview.look()).is_standby is False
    own_postgres.kill()
    for _ in range(2):
        with pytest.raises(SinkUnavailable):
            await overview.look()
    own_postgres.start()
    assert (await overview.look()).is_standby is False
    await overview.close()


# Replication of Postgres


@pytest.fixture
def standby(own_postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A standby that streams from `own_postgres`, made as an operator makes one."""
    with new_postgres(settings={"cluster_name": "b"}) as server:
        server.stop()
        shutil.rmtree(server._data_dir)
        base_backup(own_postgres, server._data_dir)
        server.start()
        yield server


def base_backup(server: EmbeddedPostgres, target: Path) -> None:
    parts = urlsplit(server.dsn())
    program = server._install.bin_dir / "pg_basebackup"
    command = [str(program), "-D", str(target), "-R", "-c", "fast", "-d", parts.geturl()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    owner = server._account
    if owner is not None:
        for path in (target, *target.rglob("*")):
            os.chown(path, owner.uid, owner.gid)
    target.chmod(0o700)


async def without_pg_monitor(server: EmbeddedPostgres) -> str:
    """DSN of a role that may log in."""
    superuser = await asyncpg.connect(server.dsn())
    await superuser.execute(f"CREATE ROLE curious LOGIN PASSWORD '{PASSWORD}'")
    await superuser.close()
    parts = urlsplit(server.dsn(over_tcp=True))
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"curious:{PASSWORD}@{host}").geturl()


async def test_a_primary_tells_of_its_standby_and_the_standby_of_what_it_receives(
    own_postgres: EmbeddedPostgres, standby: EmbeddedPostgres
) -> None:
    await prepare_schema(own_postgres.dsn(), own_postgres.dsn())

    async def streams() -> bool:
        look = await look_at(own_postgres.dsn())
        return [r.state for r in look.replicas or ()] == ["streaming"]

    await eventually_async(streams)
    # Without pg_monitor one sees that there is a standby, and no more.
    (hidden,) = (await look_at(await without_pg_monitor(own_postgres))).replicas or ()
    assert (hidden.state, hidden.behind_bytes, hidden.lag_s) == (None, None, None)
    (replica,) = (await look_at(own_postgres.dsn())).replicas or ()
    assert (replica.name, replica.sync_state) == ("b", "async")
    assert replica.behind_bytes is not None

    async def is_caught_up() -> bool:
        return (await look_at(standby.dsn())).schema_fault == ""

    await eventually_async(is_caught_up)
    look = await look_at(standby.dsn())
    assert (look.is_standby, look.is_read_only) == (True, True)
    assert look.receiver is not None
    assert (look.receiver.is_connected, look.receiver.status) == (True, "streaming")
    assert look.receiver.replayed_s_ago is not None
    own_postgres.stop()

    async def is_cut_off() -> bool:
        found = (await look_at(standby.dsn())).receiver
        return found is not None and not found.is_connected

    await eventually_async(is_cut_off)
