from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.dead_letters import DeadLetter, DeadLetters, LetterReceipt
from teltonika_processor.stream.group import ConsumerGroup, GroupNames

NAMES = GroupNames("telemetry:teltonika", "processor", "one")
FIELDS = [b"imei", b"350000000000001", b"frame", b"\x00\xff", b"later", b"kept"]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = open_client(redis_url, name="test")
    yield client
    await client.aclose()


@pytest.fixture
def letters(client: RedisClient) -> DeadLetters:
    return DeadLetters(client, NAMES, instance="one")


async def pending_entry(client: RedisClient) -> bytes:
    group = ConsumerGroup(client, client, NAMES)
    await group.ensure()
    entry_id: bytes = await client.execute_command("XADD", NAMES.stream, "*", *FIELDS)
    assert len(await group.read_new(1, block=False)) == 1
    return entry_id


def letter_of(entry_id: bytes) -> DeadLetter:
    return DeadLetter(
        entry_id=entry_id,
        fields=FIELDS,
        reason="crc_mismatch",
        error="found 0x0001, computed 0x0002",
        offset=62,
        attempts=1,
    )


async def pending(client: RedisClient) -> int:
    summary = await client.execute_command("XPENDING", NAMES.stream, NAMES.group)
    return int(summary["pending"] if isinstance(summary, dict) else summary[0])


async def letters_in(client: RedisClient) -> list[dict[bytes, bytes]]:
    found = await client.xrange(f"{NAMES.stream}:dlq")
    return [fields for _, fields in found]


async def test_a_letter_carries_every_field_and_why(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    receipt = await letters.write([letter_of(entry_id)], failed_at_ms=1_790_000_000_000)
    assert receipt == LetterReceipt(frozenset({entry_id}))
    assert await letters_in(client) == [
        {
            b"imei": b"350000000000001",
            b"frame": b"\x00\xff",
            b"later": b"kept",
            b"reason": b"crc_mismatch",
            b"error": b"found 0x0001, computed 0x0002",
            b"offset": b"62",
            b"attempts": b"1",
            b"source_id": entry_id,
            b"failed_at_ms": b"1790000000000",
            b"instance": b"one",
        }
    ]
    assert await pending(client) == 0


async def test_an_entry_no_longer_pending_gets_no_second_letter(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    letter = letter_of(entry_id)
    assert (await letters.write([letter, letter], failed_at_ms=1)).written == {entry_id}
    assert (await letters.write([letter], failed_at_ms=2)).written == set()
    assert len(await letters_in(client)) == 1


async def test_an_entry_settled_by_another_instance_gets_no_letter(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await client.execute_command("XACK", NAMES.stream, NAMES.group, entry_id)
    assert (await letters.write([letter_of(entry_id)], failed_at_ms=1)).written == set()
    assert await letters_in(client) == []


async def test_out_of_memory_leaves_the_entry_pending(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await client.config_set("maxmemory", 1)
    try:
        receipt = await letters.write([letter_of(entry_id)], failed_at_ms=1)
    finally:
        await client.config_set("maxmemory", 0)
    assert isinstance(receipt.error, StreamUnavailable)
    assert receipt.written == set()
    assert await pending(client) == 1
    assert await letters_in(client) == []
    assert (await letters.write([letter_of(entry_id)], failed_at_ms=1)).written == {entry_id}


async def test_more_letters_than_one_pipeline_holds(
    client: RedisClient, letters: DeadLetters
) -> None:
    ids = [await pending_entry(client) for _ in range(300)]
    receipt = await letters.write([letter_of(entry_id) for entry_id in ids], failed_at_ms=1)
    assert receipt == LetterReceipt(frozenset(ids))
    assert [fields[b"source_id"] for fields in await letters_in(client)] == ids


@pytest.mark.parametrize("n_foreign", [3_400, 3_600, 20_000])
async def test_an_entry_of_very_many_fields_is_lettered_whole(
    client: RedisClient, letters: DeadLetters, n_foreign: int
) -> None:
    first, last = await pending_entry(client), await pending_entry(client)
    foreign = [part for i in range(n_foreign) for part in (b"f%d" % i, b"v")]
    wide = replace(letter_of(first), fields=[*FIELDS, *foreign])
    receipt = await letters.write([wide, letter_of(last)], failed_at_ms=1)
    assert receipt == LetterReceipt(frozenset({first, last}))
    found = await letters_in(client)
    assert len(found[0]) == 3 + n_foreign + 7
    assert [fields[b"source_id"] for fields in found] == [first, last]
    assert await pending(client) == 0
    assert (await letters.write([wide], failed_at_ms=2)).written == set()


async def test_letters_of_many_bytes_are_cut_into_several_pipelines(
    client: RedisClient, letters: DeadLetters
) -> None:
    ids = [await pending_entry(client) for _ in range(3)]
    heavy = [replace(letter_of(i), fields=[b"frame", bytes(3 * 1024 * 1024)]) for i in ids]
    assert (await letters.write(heavy, failed_at_ms=1)).written == set(ids)
