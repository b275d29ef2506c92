"""A connection that was reset while nobody looked: the next command says that Redis is away."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from fault.proxy import Proxy
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream.connection import execute, open_client
from waiting import eventually_async


async def test_a_reset_seen_between_checkout_and_command_is_no_bug_of_ours(
    own_redis: EmbeddedRedis,
) -> None:
    with Proxy(own_redis.port) as proxy:
        client = open_client(proxy.through(own_redis.url(over_tcp=True)), name="test")
        assert await execute(client, "PING") is True
        connection = await client.connection_pool.get_connection()
        proxy.cut()

        async def is_closed() -> bool:
            return bool(connection._writer.transport.is_closing())

        await eventually_async(is_closed)
        with pytest.raises(RedisConnectionError):
            await connection.send_command("PING")
        await client.connection_pool.release(connection)
        assert await execute(client, "PING") is True
        await client.aclose()


async def test_a_server_that_was_demoted_is_left(own_redis: EmbeddedRedis) -> None:
    client = open_client(own_redis.url(), name="test", command_timeout_s=2.0)
    before = await execute(client, "CLIENT", "ID")
    await execute(client, "REPLICAOF", "127.0.0.1", own_redis.port)
    for write in (("XADD", "s", "*", "f", "v"), ("EVAL", "redis.call('SET', 'a', 'b')", 0)):
        with pytest.raises(StreamUnavailable):
            await execute(client, *write)
        # Where the name leads to now is asked anew.
        now = await execute(client, "CLIENT", "ID")
        assert now != before
        before = now
    await execute(client, "REPLICAOF", "NO", "ONE")
    await execute(client, "XADD", "s", "*", "f", "v")
    await client.aclose()
