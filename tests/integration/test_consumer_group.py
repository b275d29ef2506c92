import asyncio

import pytest

from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream.connection import GroupMissingError, RedisClient, open_client
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup, GroupNames

NAMES = GroupNames("telemetry:teltonika", "processor", "one")


@pytest.fixture
def group(client: RedisClient) -> ConsumerGroup:
    return ConsumerGroup(client, client, NAMES)


async def add(client: RedisClient, frame: bytes = b"f") -> bytes:
    entry_id: bytes = await client.execute_command(
        "XADD", NAMES.stream, "*", "imei", "350000000000001", "frame", frame
    )
    return entry_id


async def test_the_group_is_made_once_with_its_stream(
    client: RedisClient, group: ConsumerGroup
) -> None:
    assert await group.ensure() is True
    assert await group.ensure() is False
    assert await client.execute_command("EXISTS", NAMES.stream) == 1
    assert await group.last_delivered_id() == "0-0"


async def test_what_waited_before_the_group_existed_is_read(
    client: RedisClient, group: ConsumerGroup
) -> None:
    entry_id = await add(client)
    await group.ensure()
    entries = await group.read_new(10, block_ms=0)
    assert entries == [[entry_id, [b"imei", b"350000000000001", b"frame", b"f"]]]


async def test_an_empty_stream_reads_as_nothing(group: ConsumerGroup) -> None:
    await group.ensure()
    assert await group.read_new(10, block_ms=0) == []
    assert await group.read_new(10, block_ms=BLOCK_MS) == []
    assert await group.read_own(b"0", 10) == []


async def test_own_pending_entries_are_read_again_until_acknowledged(
    client: RedisClient, group: ConsumerGroup
) -> None:
    first, second = await add(client), await add(client)
    await group.ensure()
    await group.read_new(10, block_ms=0)
    assert [entry[0] for entry in await group.read_own(b"0", 10)] == [first, second]
    assert [entry[0] for entry in await group.read_own(first, 10)] == [second]
    assert await group.xack([first]) == 1
    assert await group.xack([first]) == 0
    assert [entry[0] for entry in await group.read_own(b"0", 10)] == [second]


async def test_a_payload_trimmed_while_pending_reads_as_none(
    client: RedisClient, group: ConsumerGroup
) -> None:
    entry_id = await add(client)
    await group.ensure()
    await group.read_new(10, block_ms=0)
    await client.execute_command("XTRIM", NAMES.stream, "MAXLEN", 0)
    assert await group.read_own(b"0", 10) == [[entry_id, None]]


async def test_a_parked_read_returns_when_an_entry_comes(
    client: RedisClient, group: ConsumerGroup
) -> None:
    await group.ensure()
    parked = asyncio.create_task(group.read_new(10, block_ms=BLOCK_MS))
    entry_id = await add(client)
    assert [entry[0] for entry in await parked] == [entry_id]


async def test_a_vanished_group_has_its_own_error(
    client: RedisClient, group: ConsumerGroup
) -> None:
    await group.ensure()
    await client.execute_command("DEL", NAMES.stream)
    with pytest.raises(GroupMissingError):
        await group.read_new(10, block_ms=0)


async def test_a_key_of_another_type_is_a_matter_of_settings(
    client: RedisClient, group: ConsumerGroup
) -> None:
    await client.execute_command("SET", NAMES.stream, "x")
    with pytest.raises(ConfigError, match="REDIS_TELEMETRY_STREAM"):
        await group.ensure()


async def test_a_server_that_is_away_is_unavailable() -> None:
    client = open_client("redis://127.0.0.1:1/0", name="test")
    with pytest.raises(StreamUnavailable):
        await ConsumerGroup(client, client, NAMES).ensure()
    await client.aclose()
