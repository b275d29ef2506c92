"""Who is in the group and whether an instance runs under the name."""

import pytest

from servers import runs_on_old_servers
from teltonika_processor.stream import roster
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.roster import Member, read_roster

STREAM = "telemetry:teltonika"
GROUP = "processor"


async def make_group(client: RedisClient) -> None:
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")


async def deliver(client: RedisClient, consumer: str) -> str:
    entry_id: bytes = await client.execute_command("XADD", STREAM, "*", "frame", "f")
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", STREAM, ">")
    await client.execute_command(*command)
    return entry_id.decode()


async def lease(client: RedisClient, consumer: str) -> None:
    await client.set(f"{STREAM}:consumer:{GROUP}:{consumer}", "somebody", px=10_000)


async def members(client: RedisClient) -> tuple[Member, ...]:
    return (await read_roster(client, STREAM, GROUP)).members


async def test_without_a_stream_or_a_group_nobody_is_there(client: RedisClient) -> None:
    assert await members(client) == ()
    await client.execute_command("XADD", STREAM, "*", "frame", "f")
    assert await members(client) == ()


async def test_who_holds_a_lease_runs_and_each_has_what_it_holds(client: RedisClient) -> None:
    await make_group(client)
    first = await deliver(client, "two")
    await deliver(client, "two")
    await client.execute_command("XACK", STREAM, GROUP, await deliver(client, "one"))
    await lease(client, "one")
    one, two = await members(client)
    assert (one.name, one.is_running, one.pending, one.oldest_pending_id) == ("one", True, 0, None)
    assert (two.name, two.is_running, two.pending) == ("two", False, 2)
    assert two.oldest_pending_id == first
    assert one.lease_ms is not None
    assert 9000 < one.lease_ms <= 10_000
    assert two.idle_ms is not None
    assert (two.inactive_ms is None) == runs_on_old_servers()


async def test_a_name_that_was_never_given_an_entry_has_no_time_of_its_last(
    client: RedisClient,
) -> None:
    await make_group(client)
    await client.execute_command("XGROUP", "CREATECONSUMER", STREAM, GROUP, b"\xff name")
    (found,) = await members(client)
    assert (found.name, found.raw_name) == ("\udcff name", b"\xff name")
    assert found.inactive_ms is None


async def test_one_that_starts_is_found_where_nobody_runs_or_when_asked_for(
    client: RedisClient,
) -> None:
    await lease(client, "starting")
    (found,) = await members(client)
    assert (found.name, found.is_running, found.is_in_group) == ("starting", True, False)
    await make_group(client)
    await deliver(client, "one")
    await lease(client, "one")
    assert [member.name for member in await members(client)] == ["one"]
    everybody = await read_roster(client, STREAM, GROUP, with_starting=True)
    assert [member.name for member in everybody.members] == ["one", "starting"]
    assert everybody.n_running == 2


async def test_of_too_many_names_those_that_were_active_lately_are_looked_at(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "_MEMBERS_MAX", 3)
    await make_group(client)
    for number in range(5):
        await client.execute_command("XGROUP", "CREATECONSUMER", STREAM, GROUP, f"pod-{number}")
    found = await read_roster(client, STREAM, GROUP)
    assert (len(found.members), found.n_unseen) == (3, 2)
