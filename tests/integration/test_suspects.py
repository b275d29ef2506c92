"""Trials that never ended are remembered until the entry is settled; XACK is counted once."""

from collections.abc import Sequence

import pytest

from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.group import ConsumerGroup, GroupNames
from teltonika_processor.stream.suspects import Suspects

STREAM = "telemetry:teltonika"
ATTEMPTS = "telemetry:teltonika:attempts"
SUSPECTS = "telemetry:teltonika:suspects"
ACCOUNTS = "telemetry:teltonika:accounts"
NAMES = GroupNames(STREAM, "processor", "ours")


@pytest.fixture
async def group(client: RedisClient) -> ConsumerGroup:
    group = ConsumerGroup(client, client, NAMES)
    await group.ensure()
    return group


@pytest.fixture
def suspects(client: RedisClient) -> Suspects:
    return Suspects(client, STREAM)


async def deliver(client: RedisClient, count: int, consumer: str = "ours") -> list[bytes]:
    """New entries, pending under `consumer`."""
    pipeline = client.pipeline(transaction=False)
    for _ in range(count):
        pipeline.execute_command("XADD", STREAM, "*", "frame", "f")
    ids: list[bytes] = await pipeline.execute()
    names = GroupNames(STREAM, "processor", consumer)
    entries = await ConsumerGroup(client, client, names).read_new(count, block_ms=0)
    assert [entry[0] for entry in entries] == ids
    return ids


async def know(client: RedisClient, ids: Sequence[bytes]) -> None:
    """Each of `ids` failed once and crashed us twice."""
    await client.hset(ATTEMPTS, mapping=dict.fromkeys(ids, 1))
    await client.hset(SUSPECTS, mapping=dict.fromkeys(ids, 2))


async def known(client: RedisClient) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    return await client.hgetall(ATTEMPTS), await client.hgetall(SUSPECTS)


# Trials


async def test_an_entry_that_was_never_tried_alone_crashed_nobody(suspects: Suspects) -> None:
    assert await suspects.crashes(b"1-0") == 0


async def test_trials_that_never_ended_are_crashes(suspects: Suspects) -> None:
    await suspects.note(b"1-0", 2)
    assert await suspects.crashes(b"1-0") == 2


async def test_trials_are_in_a_hash_beside_the_stream(
    client: RedisClient, suspects: Suspects
) -> None:
    await suspects.note(b"1-0", 1)
    await suspects.note(b"2-0", 3)
    assert await client.hgetall(SUSPECTS) == {b"1-0": b"1", b"2-0": b"3"}


async def test_trials_noted_twice_say_the_same(suspects: Suspects) -> None:
    await suspects.note(b"1-0", 1)
    await suspects.note(b"1-0", 1)
    assert await suspects.crashes(b"1-0") == 1


async def test_another_instance_sees_the_crashes(client: RedisClient, suspects: Suspects) -> None:
    await suspects.note(b"1-0", 2)
    assert await Suspects(client, STREAM).crashes(b"1-0") == 2


async def test_an_entry_with_no_trials_left_is_removed(
    client: RedisClient, suspects: Suspects
) -> None:
    await suspects.note(b"1-0", 1)
    await suspects.note(b"2-0", 1)
    await suspects.note(b"1-0", 0)
    assert await client.hgetall(SUSPECTS) == {b"2-0": b"1"}


async def test_an_entry_that_is_not_there_may_be_removed(
    client: RedisClient, suspects: Suspects
) -> None:
    await suspects.note(b"1-0", 0)
    assert await client.exists(SUSPECTS) == 0


# XACK


async def test_a_redelivered_entry_that_is_settled_is_forgotten(
    client: RedisClient, group: ConsumerGroup
) -> None:
    first, second, other = await deliver(client, 3)
    await know(client, [first, second, other])
    assert await group.xack([first, second], redelivered=True) == 2
    assert await known(client) == ({other: b"1"}, {other: b"2"})


async def test_xack_of_new_entries_forgets_nothing(
    client: RedisClient, group: ConsumerGroup
) -> None:
    (entry_id,) = await deliver(client, 1)
    await know(client, [entry_id])
    assert await group.xack([entry_id], redelivered=False) == 1
    assert await known(client) == ({entry_id: b"1"}, {entry_id: b"2"})


@pytest.mark.parametrize("redelivered", [False, True])
async def test_xack_is_counted(
    client: RedisClient, group: ConsumerGroup, *, redelivered: bool
) -> None:
    ids = await deliver(client, 3)
    await group.xack(ids[:2], redelivered=redelivered)
    await group.xack(ids[2:], redelivered=redelivered)
    assert await client.hgetall(ACCOUNTS) == {b"acknowledged": b"3"}


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_second_xack_counts_nothing(
    client: RedisClient, group: ConsumerGroup, *, redelivered: bool
) -> None:
    ids = await deliver(client, 2)
    await group.xack(ids, redelivered=redelivered)
    assert await group.xack(ids, redelivered=redelivered) == 0
    assert await client.hgetall(ACCOUNTS) == {b"acknowledged": b"2"}


async def test_only_those_that_were_still_pending_are_counted(
    client: RedisClient, group: ConsumerGroup
) -> None:
    first, second, third = await deliver(client, 3)
    await group.xack([first])
    assert await group.xack([first, second, third]) == 2
    assert await client.hgetall(ACCOUNTS) == {b"acknowledged": b"3"}


async def test_an_entry_that_another_consumer_claimed_is_counted_by_one_of_the_two(
    client: RedisClient, group: ConsumerGroup
) -> None:
    ids = await deliver(client, 1)
    other = ConsumerGroup(client, client, GroupNames(STREAM, "processor", "other"))
    await client.execute_command("XCLAIM", STREAM, "processor", "other", 0, *ids)
    assert (await group.xack(ids), await other.xack(ids, redelivered=True)) == (1, 0)
    assert await client.hgetall(ACCOUNTS) == {b"acknowledged": b"1"}


async def test_xack_of_nothing_counts_nothing(client: RedisClient, group: ConsumerGroup) -> None:
    await deliver(client, 1)
    assert await group.xack([], redelivered=True) == 0
    assert await client.exists(ACCOUNTS) == 0


async def test_more_ids_than_one_script_takes_are_settled_and_counted(
    client: RedisClient, group: ConsumerGroup
) -> None:
    ids = await deliver(client, 12_000)
    assert await group.xack(ids) == 12_000
    assert await client.hgetall(ACCOUNTS) == {b"acknowledged": b"12000"}


async def test_more_ids_than_one_script_takes_are_forgotten(
    client: RedisClient, group: ConsumerGroup
) -> None:
    ids = await deliver(client, 12_000)
    await know(client, ids)
    await group.xack(ids, redelivered=True)
    assert await known(client) == ({}, {})


# Deliveries


async def test_deliveries_are_counted_entry_by_entry(
    client: RedisClient, group: ConsumerGroup
) -> None:
    first, second = await deliver(client, 2)
    await group.read_own(first, 10)
    await group.read_own(first, 10)
    assert await group.deliveries(first, second, 10) == {first: 1, second: 3}


async def test_deliveries_are_those_between_two_ids(
    client: RedisClient, group: ConsumerGroup
) -> None:
    ids = await deliver(client, 4)
    assert await group.deliveries(ids[1], ids[2], 10) == {ids[1]: 1, ids[2]: 1}


async def test_no_more_deliveries_than_asked_for(client: RedisClient, group: ConsumerGroup) -> None:
    ids = await deliver(client, 4)
    assert await group.deliveries(ids[0], ids[3], 2) == {ids[0]: 1, ids[1]: 1}


async def test_deliveries_to_others_are_not_ours(client: RedisClient, group: ConsumerGroup) -> None:
    (theirs,) = await deliver(client, 1, "other")
    (ours,) = await deliver(client, 1)
    assert await group.deliveries(theirs, ours, 10) == {ours: 1}


async def test_a_settled_entry_has_no_deliveries(client: RedisClient, group: ConsumerGroup) -> None:
    first, second = await deliver(client, 2)
    await group.xack([first])
    assert await group.deliveries(first, second, 10) == {second: 1}
