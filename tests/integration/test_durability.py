"""What each mode demands of a real server before anything is appended, and after it was away."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from appending import STREAM, appending, packed, results, values, xadd
from fault.stand import frozen
from replication import follow
from servers import new_redis
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, execute, open_client
from waiting import eventually_async


@pytest.fixture
async def admin(own_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = open_client(own_redis.url(), name="admin")
    yield client
    await client.aclose()


@pytest.fixture
def replica() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True) as server:
        yield server


async def user_without(admin: RedisClient, server: EmbeddedRedis, *permissions: str) -> str:
    password = server.url().partition("unix://:")[2].partition("@")[0]
    grants = ("on", f">{password}", "~*", "&*", "+@all", *permissions)
    await execute(admin, "ACL", "SETUSER", "limited", *grants)
    return server.url().replace("unix://:", "unix://limited:")


@pytest.mark.parametrize("durability", ["fsync", "memory"])
async def test_a_server_that_syncs_always_is_taken(
    own_redis: EmbeddedRedis, durability: str
) -> None:
    async with appending(own_redis.url(), durability=durability) as gateway:
        assert await gateway.append(xadd("a")) is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendfsync", "everysec"),
        ("appendfsync", "no"),
        ("appendonly", "no"),
        ("no-appendfsync-on-rewrite", "yes"),
    ],
)
async def test_a_less_durable_server_is_refused_at_the_start_and_nothing_is_appended(
    own_redis: EmbeddedRedis, admin: RedisClient, name: str, value: str
) -> None:
    await execute(admin, "CONFIG", "SET", name, value)
    for durability in ("fsync", "replicated:1"):
        async with appending(own_redis.url(), durability=durability, vouched=True) as gateway:
            told = gateway.append(xadd("a"))
            said = f"INGEST_DURABILITY={durability}: Redis has {name} {value}. Either set"
            with pytest.raises(ConfigError) as caught:
                await gateway.task
            assert str(caught.value).startswith(said)
            assert await told is False
    assert await values(admin) == []
    async with appending(own_redis.url(), durability="memory") as gateway:
        assert await gateway.append(xadd("a")) is True


async def test_a_server_that_became_less_durable_while_it_was_away_is_not_answered_for(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        assert await gateway.append(xadd("a")) is True
        await execute(admin, "CONFIG", "SET", "appendfsync", "everysec")
        await execute(admin, "CLIENT", "KILL", "TYPE", "normal")
        assert type(await gateway.refused()) is StreamUnavailable
        waiting = gateway.append(xadd("b"))
        for _ in range(2):
            error = await gateway.refused()
            assert type(error) is ConfigError
            assert "Redis has appendfsync everysec. Either set the server so" in str(error)
        assert not gateway.appender.is_open
        assert not waiting.done()
        assert await values(admin) == ["a"]
        await execute(admin, "CONFIG", "SET", "appendfsync", "always")
        assert await waiting is True


async def test_a_log_that_was_only_just_turned_on_is_waited_for(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    """Until it is written the server says that it is on, and loses all when it is killed."""
    await execute(admin, "CONFIG", "SET", "appendonly", "no")
    await admin.mset({f"key {n}": "value" for n in range(20)})
    await execute(admin, "CONFIG", "SET", "rdb-key-save-delay", 50_000)
    await execute(admin, "CONFIG", "SET", "appendonly", "yes")
    async with appending(own_redis.url()) as gateway:
        told = gateway.append(xadd("a"))
        assert str(await gateway.refused()).startswith("Redis: it rewrites its log")
        assert not told.done()
        assert await told is True
    await admin.connection_pool.disconnect()
    own_redis.kill()
    own_redis.start()
    assert await values(admin) == ["a"]


async def test_where_config_is_forbidden_the_operator_must_vouch(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    url = await user_without(admin, own_redis, "-config")
    async with appending(url) as gateway:
        with pytest.raises(ConfigError) as caught:
            await gateway.task
    assert str(caught.value).startswith(
        "INGEST_DURABILITY=fsync: this user may not read appendfsync, no-appendfsync-on-rewrite. "
        "Either let the user read it (ACL: +info +config|get), or set "
        "INGEST_DURABILITY_VOUCHED=true"
    )
    async with appending(url, vouched=True) as gateway:
        assert await gateway.append(xadd("a")) is True
    async with appending(url, durability="memory") as gateway:
        assert await gateway.append(xadd("b")) is True


async def test_what_can_be_read_is_not_vouched_away(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    await execute(admin, "CONFIG", "SET", "appendonly", "no")
    url = await user_without(admin, own_redis, "-config")
    async with appending(url, vouched=True) as gateway:
        with pytest.raises(ConfigError, match="Redis has appendonly no"):
            await gateway.task


async def test_a_user_who_may_ask_nothing_can_be_vouched_for(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    url = await user_without(admin, own_redis, "-@dangerous")
    async with appending(url) as gateway:
        with pytest.raises(ConfigError, match="may not read appendonly, appendfsync, no-append"):
            await gateway.task
    async with appending(url, vouched=True) as gateway:
        assert await gateway.append(xadd("a")) is True


async def test_a_user_who_may_not_append_is_refused_at_the_start(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    url = await user_without(admin, own_redis, "-xadd")
    async with appending(url) as gateway:
        with pytest.raises(ConfigError, match="REDIS_URL: Redis refuses this user"):
            await gateway.task


async def test_a_user_who_loses_a_permission_is_told_and_waited_for(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    url = await user_without(admin, own_redis)
    async with appending(url) as gateway:
        await gateway.opened()
        await execute(admin, "ACL", "SETUSER", "limited", "-xadd")
        assert await gateway.append(xadd("a")) is False
        assert "refuses this user" in str(await gateway.refused())
        await execute(admin, "ACL", "SETUSER", "limited", "+xadd")
        assert await gateway.append(xadd("b")) is True


@pytest.mark.parametrize("durability", ["fsync", "memory"])
async def test_a_replica_is_refused_at_the_start(
    own_redis: EmbeddedRedis, admin: RedisClient, durability: str
) -> None:
    await execute(admin, "REPLICAOF", "127.0.0.1", "1")
    async with appending(own_redis.url(), durability=durability) as gateway:
        with pytest.raises(ConfigError, match="REDIS_URL: this server is a replica"):
            await gateway.task


async def test_a_probe_appends_nothing_and_makes_no_stream(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        assert await execute(admin, "EXISTS", STREAM) == 0


async def test_a_server_without_memory_is_not_appended_to_from_the_start(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    await execute(admin, "CONFIG", "SET", "maxmemory", "1")
    async with appending(own_redis.url()) as gateway:
        told = gateway.append(xadd("a"))
        assert type(await gateway.refused()) is StreamUnavailable
        assert not told.done()
        await execute(admin, "CONFIG", "SET", "maxmemory", "0")
        assert await told is True


async def test_a_server_that_is_set_otherwise_while_it_runs_is_left(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url(), ask_again_s=0.02) as gateway:
        await gateway.opened()
        assert await gateway.append(xadd("a")) is True
        await execute(admin, "CONFIG", "SET", "appendfsync", "everysec")
        assert "Redis has appendfsync everysec." in str(await gateway.refused())
        waits = gateway.append(xadd("b"))
        await execute(admin, "CONFIG", "SET", "appendfsync", "always")
        assert await waits is True
    assert await values(admin) == ["a", "b"]


async def test_a_log_that_is_rewritten_while_it_runs_changes_nothing(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url(), ask_again_s=0.05) as gateway:
        await gateway.opened()
        for _ in range(5):
            await execute(admin, "BGREWRITEAOF")
            assert await gateway.append(xadd("a")) is True
            await eventually_async(rewritten(admin))
        assert gateway.appender.is_open
        assert gateway.changes.empty()


def rewritten(admin: RedisClient) -> Callable[[], Awaitable[bool]]:
    async def is_done() -> bool:
        found = await admin.info("persistence")
        return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])

    return is_done


async def test_with_a_replica_appends_are_stored_there_too(
    own_redis: EmbeddedRedis, replica: EmbeddedRedis
) -> None:
    follow(replica, own_redis)
    async with appending(own_redis.url(), durability="replicated:1") as gateway:
        assert await results(gateway.append_all(*map(xadd, "abc"))) == [True] * 3
        reader = open_client(replica.url(), name="admin")
        assert await values(reader) == ["a", "b", "c"]
        await reader.aclose()


async def test_without_enough_replicas_nothing_is_appended(
    own_redis: EmbeddedRedis, admin: RedisClient, replica: EmbeddedRedis
) -> None:
    async with appending(own_redis.url(), durability="replicated:1") as gateway:
        told = gateway.append(xadd("a"))
        assert str(await gateway.refused()) == "Redis: 0 of 1 replicas answered in time"
        assert not told.done()
        assert await values(admin) == []
        follow(replica, own_redis)
        assert await told is True


async def test_an_append_that_too_few_replicas_have_is_not_stored(
    own_redis: EmbeddedRedis, admin: RedisClient, replica: EmbeddedRedis
) -> None:
    follow(replica, own_redis)
    async with appending(own_redis.url(), durability="replicated:1") as gateway:
        await gateway.opened()
        with frozen(replica.pid):
            assert await results(gateway.append_all(xadd("a"), xadd("b"))) == [False, False]
            assert not gateway.appender.is_open
            assert str(await gateway.refused()) == "Redis: 0 of 1 replicas answered in time"
        await gateway.opened()
        assert await gateway.append(xadd("c")) is True
    assert await values(admin) == ["a", "b", "c"]


async def test_out_of_memory_is_not_stored_though_replicas_are_there(
    own_redis: EmbeddedRedis, replica: EmbeddedRedis
) -> None:
    follow(replica, own_redis)
    full = packed("CONFIG", "SET", "maxmemory", "1")
    async with appending(own_redis.url(), durability="replicated:1") as gateway:
        await gateway.opened()
        told = gateway.append_all(xadd("a"), full, xadd("b"))
        assert await results(told) == [True, True, False]
