"""What a server's own settings say about the frames that are left to it."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from servers import new_redis, runs_on_old_servers
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.server_checks import (
    Doubt,
    check_server,
    read_server_facts,
    refuse,
)

EVICTS = (
    "maxmemory-policy: found allkeys-lru, expected noeviction: at its memory limit the server "
    "deletes whole streams with all they hold; with noeviction the gateway is refused instead, and "
    "the devices keep their records"
)
NO_LOG = (
    "appendonly: found no, expected yes: a restart of the server loses every frame since the last "
    "snapshot"
)


@pytest.fixture
async def client(own_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = open_client(own_redis.url(), name="test")
    yield client
    await client.aclose()


async def doubts(client: RedisClient) -> list[Doubt]:
    return await check_server(client, block_ms=500, command_timeout_s=5.0)


async def configure(client: RedisClient, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        await client.config_set(name, value)


def limited(server: EmbeddedRedis) -> str:
    return server.url().replace("unix://:", "unix://limited:").partition("?")[0]


async def client_with(admin: RedisClient, server: EmbeddedRedis, *permissions: str) -> RedisClient:
    """A client of a user that may do everything but for these permissions."""
    password = server.url().partition("unix://:")[2].partition("@")[0]
    grants = ("on", f">{password}", "~*", "&*", "+@all", *permissions)
    await admin.execute_command("ACL", "SETUSER", "limited", *grants)
    return open_client(limited(server), name="limited")


async def test_a_durable_server_without_eviction_gives_no_doubt(client: RedisClient) -> None:
    assert await doubts(client) == []


async def test_which_server_it_is(client: RedisClient) -> None:
    facts = await read_server_facts(client)
    assert facts.product == ("redis" if runs_on_old_servers() else "valkey")
    assert facts.version.startswith("7.0." if runs_on_old_servers() else "9.")
    assert (facts.role, facts.maxmemory, facts.maxmemory_policy) == ("master", 0, "noeviction")
    assert (facts.appendonly, facts.appendfsync) == (True, "always")


@pytest.mark.parametrize(
    ("settings", "check", "found"),
    [
        (
            {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            "maxmemory-policy",
            "allkeys-lru",
        ),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "allkeys-random"},
            "maxmemory-policy",
            "allkeys-random",
        ),
        ({"appendonly": "no"}, "appendonly", "no"),
        ({"appendfsync": "no"}, "appendfsync", "no"),
    ],
)
async def test_a_server_that_may_lose_the_stream_is_doubted(
    client: RedisClient, settings: Mapping[str, str], check: str, found: str
) -> None:
    await configure(client, settings)
    (doubt,) = await doubts(client)
    assert (doubt.check, doubt.found) == (check, found)


@pytest.mark.parametrize(
    "settings",
    [
        {"maxmemory-policy": "allkeys-lru"},
        {"maxmemory": "100mb"},
        {"maxmemory": "100mb", "maxmemory-policy": "volatile-lru"},
        {"appendfsync": "everysec"},
    ],
)
async def test_what_costs_no_frame_is_not_doubted(
    client: RedisClient, settings: Mapping[str, str]
) -> None:
    await configure(client, settings)
    assert await doubts(client) == []


async def test_a_replica_is_doubted() -> None:
    with new_redis() as other:
        # It need not reach its master to be one.
        replica = open_client(other.url(), name="replica")
        await replica.execute_command("REPLICAOF", "127.0.0.1", "1")
        (doubt,) = await doubts(replica)
        await replica.aclose()
    assert (doubt.check, doubt.found, doubt.expected) == ("role", "replica", "master")


@pytest.mark.parametrize(("timeout_s", "n_doubts"), [(0.4, 1), (0.5, 1), (0.6, 0)])
async def test_a_client_that_gives_up_before_block_ends_is_doubted(
    client: RedisClient, timeout_s: float, n_doubts: int
) -> None:
    found = await check_server(client, block_ms=500, command_timeout_s=timeout_s)
    assert [doubt.check for doubt in found] == ["command timeout"] * n_doubts


async def test_without_config_info_says_enough(
    client: RedisClient, own_redis: EmbeddedRedis
) -> None:
    user = await client_with(client, own_redis, "-config")
    assert await doubts(user) == []
    assert (await read_server_facts(user)).appendfsync is None
    await configure(client, {"appendonly": "no", "maxmemory": "100mb"})
    await configure(client, {"maxmemory-policy": "allkeys-lfu"})
    assert [doubt.found for doubt in await doubts(user)] == ["allkeys-lfu", "no"]
    await user.aclose()


async def test_a_user_who_may_ask_nothing_is_one_doubt(
    client: RedisClient, own_redis: EmbeddedRedis
) -> None:
    user = await client_with(client, own_redis, "-@dangerous")
    (doubt,) = await doubts(user)
    assert doubt.sentence == (
        "maxmemory-policy, appendonly: found not readable, expected a user who may run INFO "
        "(ACL: +info +config|get): whether the server may lose the stream cannot be checked"
    )
    facts = await read_server_facts(user)
    assert facts.product == ("redis" if runs_on_old_servers() else "valkey")
    await user.aclose()


async def test_a_wrong_password_is_no_doubt_but_an_error(own_redis: EmbeddedRedis) -> None:
    stranger = open_client(f"redis://:wrong@127.0.0.1:{own_redis.port}/0", name="stranger")
    with pytest.raises(ConfigError, match="REDIS_URL"):
        await doubts(stranger)
    await stranger.aclose()


async def test_a_server_so_old_that_it_has_no_hello_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := int((await reader.readline()).strip(b"*\r\n") or 0):
            lines = [await reader.readline() for _ in range(2 * words)]
            known = lines[1].strip() == b"CLIENT"
            writer.write(b"+OK\r\n" if known else b"-ERR unknown command `HELLO`\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = open_client(f"redis://127.0.0.1:{port}/0", name="test")
        with pytest.raises(ConfigError, match=r"at least Redis 7\.0 .* answers HELLO with"):
            await doubts(client)
        await client.aclose()


async def test_a_server_that_is_away_is_unavailable() -> None:
    client = open_client("redis://127.0.0.1:1/0", name="test")
    with pytest.raises(StreamUnavailable):
        await doubts(client)
    await client.aclose()


async def test_a_strict_start_says_every_doubt(client: RedisClient) -> None:
    await configure(client, {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    await configure(client, {"appendonly": "no"})
    error = refuse(await doubts(client))
    assert isinstance(error, ConfigError)
    assert str(error).splitlines() == [
        f"REDIS_URL: {EVICTS}",
        f"REDIS_URL: {NO_LOG}",
        "STRICT_CHECKS=false starts all the same",
    ]
