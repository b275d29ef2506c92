"""The list of pending entries, and making those of a dead instance claimable."""

from collections.abc import AsyncIterator

import pytest

from teltonika_processor.stream import pending, release
from teltonika_processor.stream.claims import Claims
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.group import GroupNames
from teltonika_processor.stream.pending import (
    PendingEntry,
    pending_by_consumer,
    pending_entries,
)
from teltonika_processor.stream.release import CLAIMABLE_IDLE_MS, Release, Releases, Whereabouts

STREAM = "telemetry:teltonika"
GROUP = "processor"
IMEI = "356307042441013"
THRESHOLD_MS = 86_400_000
"""The most that the setting allows."""


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = open_client(redis_url, name="test")
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    yield client
    await client.aclose()


@pytest.fixture
def releases(client: RedisClient) -> Releases:
    return Releases(client, STREAM, GROUP)


async def deliver(client: RedisClient, consumer: str, count: int = 1) -> list[str]:
    """New entries, pending under `consumer`."""
    added = [
        await client.execute_command("XADD", STREAM, "*", "imei", IMEI, "frame", "f")
        for _ in range(count)
    ]
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", STREAM, ">")
    await client.execute_command(*command)
    return [entry_id.decode() for entry_id in added]


async def lease(client: RedisClient, consumer: str, px: int = 10_000) -> None:
    await client.set(f"{STREAM}:consumer:{GROUP}:{consumer}", "somebody", px=px)


async def claim_as(client: RedisClient, consumer: str) -> list[str]:
    """What a running instance takes with its next look."""
    names = GroupNames(STREAM, GROUP, consumer)
    claims = Claims(client, names, instance=consumer, threshold_ms=THRESHOLD_MS)
    page = await claims.next_page(400, now_ms=0)
    return [entry[0].decode() for entry in page.entries]


async def deliveries_of(client: RedisClient, entry_id: str) -> int:
    ((_, _, _, times),) = await client.execute_command(
        "XPENDING", STREAM, GROUP, entry_id, entry_id, 1
    )
    return int(times)


async def entries(client: RedisClient, **about: object) -> list[PendingEntry]:
    return await pending_entries(client, STREAM, GROUP, **{"limit": 50, **about})  # type: ignore[arg-type] # of tests


# The list


async def test_an_entry_has_its_holder_device_and_history(client: RedisClient) -> None:
    (first,) = await deliver(client, "one")
    await client.hset(f"{STREAM}:attempts", first, 2)
    await client.hset(f"{STREAM}:suspects", first, 1)
    (found,) = await entries(client)
    assert found.idle_ms < 20_000
    assert found == PendingEntry(
        id=first,
        consumer="one",
        imei=IMEI,
        payload_gone=False,
        idle_ms=found.idle_ms,
        deliveries=1,
        attempts=2,
        trials=1,
    )


async def test_an_entry_whose_payload_is_gone_or_without_a_device_is_listed(
    client: RedisClient,
) -> None:
    (first,) = await deliver(client, "one")
    await client.execute_command("XADD", STREAM, "*", "imei", "\x1b[31m", "frame", "f")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "one", "STREAMS", STREAM, ">")
    await client.execute_command("XDEL", STREAM, first)
    gone, odd = await entries(client)
    assert (gone.id, gone.imei, gone.payload_gone) == (first, None, True)
    assert (odd.imei, odd.payload_gone) == (None, False)


async def test_the_list_goes_by_pages_up_to_its_limit_and_by_consumer(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_PAGE", 7)
    ones = await deliver(client, "one", 20)
    twos = await deliver(client, "two", 3)
    assert [found.id for found in await entries(client)] == [*ones, *twos]
    assert [found.id for found in await entries(client, limit=9)] == ones[:9]
    assert [found.id for found in await entries(client, consumer="two")] == twos
    assert await entries(client, consumer="nobody") == []
    assert await entries(client, min_idle_ms=60_000) == []
    assert await pending_by_consumer(client, STREAM, GROUP) == {"one": 20, "two": 3}


async def test_without_a_group_nothing_is_pending(client: RedisClient) -> None:
    await client.execute_command("XGROUP", "DESTROY", STREAM, GROUP)
    assert await entries(client) == []
    assert await pending_by_consumer(client, STREAM, GROUP) == {}
    assert await Releases(client, STREAM, GROUP).ids_of("one", min_idle_ms=0) == []


# Releasing


async def test_what_is_released_is_claimed_by_the_next_look_of_any_instance(
    client: RedisClient, releases: Releases
) -> None:
    ids = await deliver(client, "dead", 5)
    kept = await deliver(client, "alive", 2)
    assert await claim_as(client, "alive") == []
    became = await releases.release("dead", ids, min_idle_ms=0, force=False)
    assert became == [Release.RELEASED] * 5
    assert [await deliveries_of(client, entry_id) for entry_id in ids] == [1] * 5
    assert [found.waits for found in await releases.where(ids)] == [True] * 5
    assert await claim_as(client, "alive") == ids
    assert [await deliveries_of(client, entry_id) for entry_id in ids] == [2] * 5
    assert {(found.holder, found.waits) for found in await releases.where(ids)} == {
        ("alive", False)
    }
    assert await claim_as(client, "other") == []
    assert {found.holder for found in await releases.where(kept)} == {"alive"}


async def test_where_entries_are_says_their_letters_too(
    client: RedisClient, releases: Releases
) -> None:
    settled, failed, held = await deliver(client, "one", 3)
    await client.execute_command("XACK", STREAM, GROUP, settled, failed)
    await client.hset(f"{STREAM}:lettered", failed, "crc_mismatch")
    first, second, third = await releases.where([settled, failed, held])
    assert first == Whereabouts(settled, None)
    assert second == Whereabouts(failed, None, letter="crc_mismatch")
    assert (third.holder, third.waits) == ("one", False)


async def test_what_may_not_be_released_stays_as_it_is(
    client: RedisClient, releases: Releases
) -> None:
    settled, moved, gone, young = await deliver(client, "dead", 4)
    await client.execute_command("XACK", STREAM, GROUP, settled)
    await client.execute_command("XCLAIM", STREAM, GROUP, "alive", 0, moved)
    await client.execute_command("XDEL", STREAM, gone)
    ids = [settled, moved, gone]
    assert await releases.release("dead", ids, min_idle_ms=0, force=False) == [
        Release.NOT_PENDING,
        Release.MOVED,
        Release.PAYLOAD_GONE,
    ]
    assert await releases.release("dead", [young], min_idle_ms=60_000, force=False) == [
        Release.NOT_IDLE
    ]
    # The id without a payload is still there for the instance that tells of the loss.
    assert await releases.ids_of("dead", min_idle_ms=0) == [gone, young]
    assert await claim_as(client, "alive") == []


async def test_a_holder_with_a_lease_is_left_alone_unless_forced(
    client: RedisClient, releases: Releases
) -> None:
    ids = await deliver(client, "busy", 2)
    await lease(client, "busy")
    assert await releases.release("busy", ids, min_idle_ms=0, force=False) == [Release.RUNNING] * 2
    assert await claim_as(client, "alive") == []
    assert await releases.release("busy", ids, min_idle_ms=0, force=True) == [Release.RELEASED] * 2
    assert await claim_as(client, "alive") == ids


async def test_an_idle_time_that_is_longer_is_kept(client: RedisClient, releases: Releases) -> None:
    (entry_id,) = await deliver(client, "dead")
    longer = 3 * CLAIMABLE_IDLE_MS
    command = ("XCLAIM", STREAM, GROUP, "dead", 0, entry_id, "IDLE", longer, "JUSTID")
    await client.execute_command(*command)
    await releases.release("dead", [entry_id], min_idle_ms=0, force=False)
    (found,) = await releases.where([entry_id])
    assert found.idle_ms >= longer


async def test_many_entries_go_in_several_calls(
    client: RedisClient, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_PART", 7)
    ids = await deliver(client, "dead", 20)
    assert await releases.ids_of("dead", min_idle_ms=0) == ids
    assert (
        await releases.release("dead", ids, min_idle_ms=0, force=False) == [Release.RELEASED] * 20
    )
    assert await claim_as(client, "alive") == ids
    found = await releases.until_claimed(ids, timeout_s=5.0)
    assert [one.holder for one in found] == ["alive"] * 20


async def test_waiting_ends_at_the_deadline_with_what_still_waits(
    client: RedisClient, releases: Releases
) -> None:
    taken, left = await deliver(client, "dead", 2)
    await releases.release("dead", [taken, left], min_idle_ms=0, force=False)
    await client.execute_command("XCLAIM", STREAM, GROUP, "alive", 0, taken)
    first, second = await releases.until_claimed([taken, left], timeout_s=0.3)
    assert (first.holder, first.waits) == ("alive", False)
    assert (second.holder, second.waits) == ("dead", True)


async def test_at_most_so_many_ids_are_taken_at_once(
    client: RedisClient, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "RELEASE_MAX", 3)
    ids = await deliver(client, "dead", 5)
    assert await releases.ids_of("dead", min_idle_ms=0) == ids[:3]


async def test_a_lease_that_lapses_is_that_of_a_dead_process(
    client: RedisClient, releases: Releases
) -> None:
    assert await releases.is_running("never") is False
    await lease(client, "dead", px=400)
    assert await releases.is_running("dead") is False
    await client.set(f"{STREAM}:consumer:{GROUP}:foreign", "no time limit")
    assert await releases.is_running("foreign") is True


async def test_a_lease_that_is_renewed_is_that_of_a_live_one(
    client: RedisClient, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lease(client, "alive", px=5000)
    sleep = release.asyncio.sleep

    async def renew(seconds: float) -> None:
        await sleep(seconds)
        await lease(client, "alive", px=10_000)

    monkeypatch.setattr(release.asyncio, "sleep", renew)
    assert await releases.is_running("alive") is True
