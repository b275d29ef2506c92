"""The clock of Redis, which is that of the ids of entries."""

from collections.abc import Sequence

from teltonika_processor.stream.connection import RedisClient, execute


def clock_us_of(reply: Sequence[bytes]) -> int:
    """Unix microseconds, of the reply to TIME."""
    seconds, microseconds = reply
    return int(seconds) * 1_000_000 + int(microseconds)


async def redis_clock_ms(client: RedisClient) -> int:
    """Unix milliseconds.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The user may not ask for it.
        ContractError: TIME was renamed.
    """
    return clock_us_of(await execute(client, "TIME")) // 1000
