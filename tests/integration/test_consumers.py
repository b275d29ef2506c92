"""Names leave the group; what is pending under them never does."""

from collections.abc import AsyncIterator

import pytest

from teltonika_processor.stream import consumers
from teltonika_processor.stream.connection import GroupMissingError, RedisClient, open_client
from teltonika_processor.stream.consumers import reap, remove_self
from teltonika_processor.stream.group import GroupNames
from waiting import eventually_async

STREAM = "telemetry:teltonika"
GROUP = "processor"
OURS = GroupNames(STREAM, GROUP, "ours")
AT_ONCE_MS = 5


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = open_client(redis_url, name="test")
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    yield client
    await client.aclose()


async def deliver(client: RedisClient, consumer: str) -> bytes:
    """One new entry, pending under `consumer`."""
    entry_id: bytes = await client.execute_command("XADD", STREAM, "*", "frame", "f")
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", STREAM, ">")
    reply = await client.execute_command(*command)
    assert [entry[0] for entry in reply[0][1]] == [entry_id]
    return entry_id


async def live_and_die(client: RedisClient, consumer: str) -> None:
    """A consumer that settled what it read."""
    await client.execute_command("XACK", STREAM, GROUP, await deliver(client, consumer))


async def consumers_in(client: RedisClient) -> set[str]:
    return {about["name"].decode() for about in await client.xinfo_consumers(STREAM, GROUP)}


async def pending_of(client: RedisClient, consumer: str) -> list[bytes]:
    rows = await client.execute_command("XPENDING", STREAM, GROUP, "-", "+", 10, consumer)
    return [row[0] for row in rows]


async def idle_for(client: RedisClient, least_ms: int) -> None:
    async def idle() -> bool:
        found = await client.xinfo_consumers(STREAM, GROUP)
        return all(about["idle"] > least_ms for about in found)

    await eventually_async(idle)


async def lease(client: RedisClient, consumer: str) -> None:
    await client.set(f"{STREAM}:consumer:{GROUP}:{consumer}", "somebody", px=10_000)


async def test_a_consumer_that_settled_all_takes_its_name_away(client: RedisClient) -> None:
    await live_and_die(client, "ours")
    await live_and_die(client, "other")
    assert await remove_self(client, OURS) is True
    assert await consumers_in(client) == {"other"}


async def test_a_consumer_with_pending_entries_stays_with_them(client: RedisClient) -> None:
    entry_id = await deliver(client, "ours")
    assert await remove_self(client, OURS) is False
    assert await pending_of(client, "ours") == [entry_id]


async def test_what_is_pending_of_others_does_not_keep_us(client: RedisClient) -> None:
    await live_and_die(client, "ours")
    entry_id = await deliver(client, "other")
    assert await remove_self(client, OURS) is True
    assert await pending_of(client, "other") == [entry_id]


async def test_a_name_that_was_never_in_the_group_is_gone(client: RedisClient) -> None:
    assert await remove_self(client, OURS) is True
    assert await consumers_in(client) == set()


async def test_a_group_that_is_not_there_has_its_own_error(client: RedisClient) -> None:
    await client.execute_command("XGROUP", "DESTROY", STREAM, GROUP)
    with pytest.raises(GroupMissingError):
        await remove_self(client, OURS)
    with pytest.raises(GroupMissingError):
        await reap(client, OURS)


async def test_a_hundred_restarts_under_new_names_leave_few_consumers(
    client: RedisClient,
) -> None:
    stuck = {}
    for number in range(100):
        name = f"pod-{number}"
        if number % 25 == 0:
            stuck[name] = await deliver(client, name)
        else:
            await live_and_die(client, name)
        if number % 10 == 9:
            await idle_for(client, AT_ONCE_MS)
            assert len(await reap(client, OURS, reap_idle_ms=AT_ONCE_MS)) >= 9
            assert await consumers_in(client) == set(stuck)
    assert len(stuck) == 4
    for name, entry_id in stuck.items():
        assert await pending_of(client, name) == [entry_id]


async def test_a_name_goes_once_its_entries_were_claimed_and_settled(client: RedisClient) -> None:
    entry_id = await deliver(client, "dead")
    await idle_for(client, AT_ONCE_MS)
    assert await reap(client, OURS, reap_idle_ms=AT_ONCE_MS) == ()
    await client.execute_command("XCLAIM", STREAM, GROUP, "ours", 0, entry_id)
    await idle_for(client, AT_ONCE_MS)
    assert await reap(client, OURS, reap_idle_ms=AT_ONCE_MS) == ("dead",)
    assert await pending_of(client, "ours") == [entry_id]


async def test_a_name_with_a_lease_is_alive_however_idle(client: RedisClient) -> None:
    for name in ("alive", "dead"):
        await live_and_die(client, name)
    await lease(client, "alive")
    await idle_for(client, AT_ONCE_MS)
    assert await reap(client, OURS, reap_idle_ms=AT_ONCE_MS) == ("dead",)
    assert await consumers_in(client) == {"alive"}


async def test_our_own_name_is_never_reaped(client: RedisClient) -> None:
    await live_and_die(client, "ours")
    await idle_for(client, AT_ONCE_MS)
    assert await reap(client, OURS, reap_idle_ms=AT_ONCE_MS) == ()
    assert await consumers_in(client) == {"ours"}


async def test_a_name_that_was_active_lately_stays(client: RedisClient) -> None:
    await live_and_die(client, "late")
    await idle_for(client, AT_ONCE_MS)
    assert await reap(client, OURS) == ()
    assert await consumers_in(client) == {"late"}


async def test_what_changed_since_the_first_look_counts(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dead", "leased", "busy"):
        await live_and_die(client, name)
    await idle_for(client, AT_ONCE_MS)
    look = consumers._seemingly_dead

    async def overtaken(*arguments: object) -> list[bytes]:
        found = await look(*arguments)
        await lease(client, "leased")
        await deliver(client, "busy")
        await idle_for(client, AT_ONCE_MS)
        return [*found, b"never-there"]

    monkeypatch.setattr(consumers, "_seemingly_dead", overtaken)
    assert await reap(client, OURS, reap_idle_ms=AT_ONCE_MS) == ("dead",)
    assert len(await pending_of(client, "busy")) == 1


async def test_a_consumer_that_came_back_since_the_first_look_stays(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live_and_die(client, "back")

    async def stale(*_: object) -> list[bytes]:
        return [b"back"]

    monkeypatch.setattr(consumers, "_seemingly_dead", stale)
    assert await reap(client, OURS, reap_idle_ms=60_000) == ()


async def test_names_of_any_bytes_are_reaped(client: RedisClient) -> None:
    await client.execute_command("XGROUP", "CREATECONSUMER", STREAM, GROUP, b"\xff\x00 name")
    await idle_for(client, AT_ONCE_MS)
    assert await reap(client, OURS, reap_idle_ms=AT_ONCE_MS) == ("\ufffd\x00 name",)


async def test_many_names_go_in_several_calls(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "_NAMES_A_CALL", 20)
    for number in range(50):
        await client.execute_command("XGROUP", "CREATECONSUMER", STREAM, GROUP, f"pod-{number}")
    await idle_for(client, AT_ONCE_MS)
    counts = [len(await reap(client, OURS, reap_idle_ms=AT_ONCE_MS)) for _ in range(4)]
    assert counts == [20, 20, 10, 0]
