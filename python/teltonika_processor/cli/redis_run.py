"""One command with the settings' Redis, on a connection of its own that CLIENT LIST names."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NoReturn, TypeAlias

import typer

from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import RedisClient, open_client

RedisCommand: TypeAlias = Callable[[RedisClient, Settings], Awaitable[int]]


def run_on_redis(name: str, command: RedisCommand) -> NoReturn:
    """Run one command with the settings' Redis, and leave with its exit code.

    Args:
        name: The command's, as in: teltonika-processor/pending.
        command: What to do; its exit code.
    """

    async def run(settings: Settings) -> int:
        async with redis_of(settings, name) as client:
            return await command(client, settings)

    with failures_told():
        code = asyncio.run(run(command_settings()))
    raise typer.Exit(code)


@asynccontextmanager
async def redis_of(settings: Settings, name: str) -> AsyncIterator[RedisClient]:
    """A client of the settings' Redis for the command `name`, which is closed afterwards.

    Raises:
        ConfigError: The URL sets an option that must not be changed.
    """
    url = settings.redis_url.get_secret_value()
    client = open_client(url, name=f"teltonika-processor/{name}")
    try:
        yield client
    finally:
        await client.aclose()
