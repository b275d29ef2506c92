"""A connection that was reset while nobody looked: the next command says that Redis is away."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from fault.proxy import Proxy
from teltonika_processor.embedded import EmbeddedRedis
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
