"""A command with the settings' Redis: its name in CLIENT LIST, its exit code, its end."""

from collections.abc import Iterator

import pytest
import redis
import typer

from telemetry import GROUP, STREAM
from teltonika_processor.cli.redis_run import run_on_redis
from teltonika_processor.settings import Settings
from teltonika_processor.stream.audit import audited_stream
from teltonika_processor.stream.connection import RedisClient, execute
from waiting import eventually


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def names_in(client: redis.Redis) -> set[str]:
    return {about["name"] for about in client.client_list()} - {""}


def test_a_command_is_named_while_it_runs_and_leaves_with_its_code(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")
    seen: set[str] = set()

    async def run(command_client: RedisClient, settings: Settings) -> int:
        await execute(command_client, "PING")
        seen.update(names_in(client))
        assert settings.redis_url.get_secret_value() == redis_url
        return 3

    with pytest.raises(typer.Exit) as left:
        run_on_redis("pending", run)
    assert left.value.exit_code == 3
    assert seen == {"teltonika-processor/pending"}
    eventually(lambda: not names_in(client))


async def test_an_audit_is_named_as_the_other_commands(client: redis.Redis, redis_url: str) -> None:
    async with audited_stream(redis_url, STREAM, GROUP) as stream:
        await stream.now_ms()
        assert names_in(client) == {"teltonika-processor/audit"}
