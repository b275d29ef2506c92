"""A connection that was reset while nobody looked: the next command says that Redis is away."""

import pytest

from fault.proxy import Proxy
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream.connection import execute, open_client


async def test_a_reset_that_the_loop_has_not_seen_is_no_bug_of_ours(
    own_redis: EmbeddedRedis,
) -> None:
    with Proxy(own_redis.port) as proxy:
        client = open_client(proxy.through(own_redis.url(over_tcp=True)), name="test")
        assert await execute(client, "PING") is True
        # The loop does not turn between the reset and the command.
        proxy.cut()
        with pytest.raises(StreamUnavailable):
            await execute(client, "PING")
        assert await execute(client, "PING") is True
        await client.aclose()
