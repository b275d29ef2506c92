"""What an examination is told by a real Redis, each problem provoked."""

from collections.abc import AsyncIterator

import pytest

from teltonika_processor.doctor.findings import Finding
from teltonika_processor.doctor.redis_server import server_findings
from teltonika_processor.doctor.streams import Expected, other_stream_finding, stream_findings
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.model import consumer_lease_key
from teltonika_processor.stream.connection import RedisClient, execute, open_client
from teltonika_processor.stream.other_streams import find_elsewhere, find_other_streams
from teltonika_processor.stream.server_facts import (
    RedisFacts,
    acl_name,
    read_redis_facts,
    service_commands,
)
from teltonika_processor.stream.stream_facts import StreamFacts, read_stream_facts

STREAM = "telemetry:teltonika"
GROUP = "processor"
EXPECTED = Expected(stream=STREAM, group=GROUP, claimed_after_ms=35_000, keep_ms=600_000)
FRAME = ("imei", "356307042441013", "frame", b"\x00")


@pytest.fixture
async def client(own_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = open_client(own_redis.url(), name="test")
    yield client
    await client.aclose()


@pytest.fixture
async def limited(client: RedisClient, own_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    """A user without any right but to connect; tests give more with ``allow``."""
    password = own_redis.url().partition("unix://:")[2].partition("@")[0]
    await execute(client, "ACL", "SETUSER", "limited", "on", f">{password}", "resetkeys", "-@all")
    await allow(client, "+hello", "+ping", "+client", "+select")
    address = own_redis.url().replace("unix://:", "unix://limited:").partition("?")[0]
    user = open_client(address, name="limited")
    yield user
    await user.aclose()


async def allow(client: RedisClient, *rules: str) -> None:
    await execute(client, "ACL", "SETUSER", "limited", *rules)


async def facts(client: RedisClient) -> RedisFacts:
    return await read_redis_facts(client, stream=STREAM, group=GROUP)


async def now_ms(client: RedisClient) -> int:
    seconds, _ = await execute(client, "TIME")
    return int(seconds) * 1000


async def of_server(client: RedisClient, check: str) -> Finding:
    found = server_findings(await facts(client), STREAM)
    return next(finding for finding in found if finding.check == check)


async def of_stream(client: RedisClient, check: str) -> Finding:
    told = await read_stream_facts(client, STREAM, GROUP)
    found = stream_findings(told, EXPECTED, now_ms=await now_ms(client))
    return next(finding for finding in found if finding.check == check)


async def test_a_healthy_server_is_ok_in_every_check(client: RedisClient) -> None:
    found = await facts(client)
    assert {f.check: f.found for f in server_findings(found, STREAM) if f.status != "ok"} == {}
    assert (found.user, found.denied, found.failing) == ("default", (), ())
    assert found.clock is not None
    assert found.clock.apart_ms < 1000
    assert found.memory is not None
    assert 0 < found.memory.used < found.memory.machine


@pytest.mark.parametrize(
    ("settings", "check", "status"),
    [
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "maxmemory-policy", "failure"),
        ({"maxmemory": "1mb"}, "memory", "warning"),
        ({"appendonly": "no"}, "appendonly", "failure"),
        ({"appendfsync": "everysec"}, "appendfsync", "warning"),
        ({"appendfsync": "no"}, "appendfsync", "failure"),
    ],
)
async def test_a_server_that_is_set_up_wrongly(
    client: RedisClient, settings: dict[str, str], check: str, status: str
) -> None:
    for name, value in settings.items():
        await execute(client, "CONFIG", "SET", name, value)
    assert (await of_server(client, check)).status == status


async def test_a_user_who_may_do_nothing_leaves_everything_unknown(limited: RedisClient) -> None:
    found = {f.check: f.status.value for f in server_findings(await facts(limited), STREAM)}
    assert found == {
        "reachable": "ok",
        "version": "ok",
        "role": "ok",
        "maxmemory-policy": "unknown",
        "appendonly": "unknown",
        "appendfsync": "unknown",
        "persistence": "unknown",
        "memory": "unknown",
        "permissions": "unknown",
    }
    assert (await facts(limited)).clock is None
    hidden = await read_stream_facts(limited, STREAM, GROUP)
    assert hidden == StreamFacts(kind=None, consumers=None, gateway_lags_ms=None)
    told = list(stream_findings(hidden, EXPECTED, now_ms=0))
    assert {f.check: f.status.value for f in told} == {
        "stream": "unknown",
        "group": "unknown",
        "group-position": "unknown",
        "other-groups": "unknown",
        "dead-consumers": "unknown",
        "running": "unknown",
    }
    assert await find_other_streams(limited, STREAM) is None
    assert await find_elsewhere(limited, STREAM, [1]) is None


async def test_each_permission_more_makes_one_check_more_known(
    client: RedisClient, limited: RedisClient
) -> None:
    await execute(client, "XADD", STREAM, "*", *FRAME)
    await execute(client, "XGROUP", "CREATE", STREAM, GROUP, "0")
    await allow(client, "~*", "+type")
    assert (await of_server(limited, "memory")).status == "unknown"
    assert (await of_stream_as(limited, client, "stream")).remedy == "give the user +xinfo|stream"
    await allow(client, "+xinfo|stream")
    assert (await of_stream_as(limited, client, "stream")).status == "ok"
    assert (await of_stream_as(limited, client, "group")).remedy == "give the user +xinfo|groups"
    await allow(client, "+xinfo|groups", "+info")
    assert (await of_stream_as(limited, client, "group")).status == "ok"
    assert (await of_stream_as(limited, client, "running")).status == "unknown"
    assert (await of_server(limited, "memory")).status == "ok"
    await allow(client, "+xinfo|consumers", "+mget")
    assert (await of_stream_as(limited, client, "running")).status == "warning"


async def test_without_the_list_of_groups_one_that_is_missing_has_no_consumers(
    client: RedisClient, limited: RedisClient
) -> None:
    await execute(client, "XADD", STREAM, "*", *FRAME)
    await allow(client, "~*", "+type", "+xinfo|stream", "+xinfo|consumers")
    told = await read_stream_facts(limited, STREAM, GROUP)
    assert told.stream is not None
    assert (told.stream.groups, told.consumers) == (None, ())


async def test_without_type_a_stream_is_looked_at_and_something_else_is_unknown(
    client: RedisClient, limited: RedisClient
) -> None:
    await allow(client, "~*", "+xinfo")
    assert (await of_stream_as(limited, client, "stream")).status == "unknown"
    await execute(client, "XADD", STREAM, "*", *FRAME)
    assert (await of_stream_as(limited, client, "stream")).status == "ok"
    assert (await of_stream_as(limited, client, "group")).found == "processor does not exist"
    await execute(client, "DEL", STREAM)
    await execute(client, "SET", STREAM, "something else")
    assert await read_stream_facts(limited, STREAM, GROUP) == StreamFacts(kind=None)


async def of_stream_as(user: RedisClient, admin: RedisClient, check: str) -> Finding:
    told = await read_stream_facts(user, STREAM, GROUP)
    found = stream_findings(told, EXPECTED, now_ms=await now_ms(admin))
    return next(finding for finding in found if finding.check == check)


async def test_commands_that_the_user_may_not_run_are_named_without_being_run(
    client: RedisClient, limited: RedisClient
) -> None:
    await allow(client, "+@all", "~*", "&*", "-xtrim", "-memory", "-subscribe")
    assert (await facts(limited)).denied == ("xtrim", "memory|usage", "subscribe")
    await allow(client, "+@all", "&*", "resetkeys", f"~{STREAM}")
    denied = (await facts(limited)).denied
    assert denied is not None
    assert {"xadd", "hset", "hincrby", "get", "set"} <= set(denied)
    assert not {"xreadgroup", "xack", "xinfo|groups", "eval"} & set(denied)
    remedy = (await of_server(limited, "permissions")).remedy
    await execute(client, *remedy.partition(";")[0].split(), f"~{STREAM}*")
    assert (await facts(limited)).denied == ()
    assert await execute(client, "DBSIZE") == 0


async def test_the_documented_keys_and_channels_are_enough(
    client: RedisClient, limited: RedisClient
) -> None:
    await allow(client, "+@all", f"~{STREAM}*", f"&{STREAM}*")
    assert (await facts(limited)).denied == ()


# Our stream


async def test_a_stream_that_is_read_is_ok(client: RedisClient) -> None:
    await execute(client, "XADD", STREAM, "*", *FRAME)
    await execute(client, "XGROUP", "CREATE", STREAM, GROUP, "0")
    await execute(client, "XREADGROUP", "GROUP", GROUP, "one", "STREAMS", STREAM, ">")
    await execute(client, "SET", consumer_lease_key(STREAM, GROUP, "one"), "me", "PX", 10_000)
    told = await read_stream_facts(client, STREAM, GROUP)
    found = list(stream_findings(told, EXPECTED, now_ms=await now_ms(client)))
    assert {f.check: f.found for f in found if f.status != "ok"} == {}
    assert (await of_stream(client, "running")).found == "one"
    assert (await of_stream(client, "group")).found == "processor: lag 0, pending 1"


async def test_another_type_under_the_name_is_a_failure(client: RedisClient) -> None:
    await execute(client, "HSET", STREAM, "field", "value")
    assert (await of_stream(client, "stream")).found == f"{STREAM} is a hash"


async def test_a_group_set_beyond_the_end_gets_nothing_until_it_is_set_back(
    client: RedisClient,
) -> None:
    await execute(client, "XADD", STREAM, "*", *FRAME)
    await execute(client, "XGROUP", "CREATE", STREAM, GROUP, "9999999999999-0")
    read = ("XREADGROUP", "GROUP", GROUP, "one", "STREAMS", STREAM, ">")
    assert not await execute(client, *read)
    finding = await of_stream(client, "group-position")
    assert finding.status == "failure"
    remedy = finding.remedy.partition(":  ")[0].partition(": what")[0]
    await execute(client, *remedy.split())
    assert len((await execute(client, *read))[0][1]) == 1


async def test_entries_trimmed_before_they_were_delivered_are_counted(client: RedisClient) -> None:
    await execute(client, "XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    for _ in range(10):
        await execute(client, "XADD", STREAM, "*", *FRAME)
    read = ("XREADGROUP", "GROUP", GROUP, "one", "COUNT", 4, "STREAMS", STREAM, ">")
    await execute(client, *read)
    await execute(client, "XTRIM", STREAM, "MAXLEN", "=", 6)
    assert (await of_stream(client, "group-position")).status == "ok"
    await execute(client, "XTRIM", STREAM, "MAXLEN", "=", 3)
    assert (await of_stream(client, "group-position")).found == (
        "3 entries were trimmed or deleted before they were delivered"
    )


async def test_a_group_made_on_a_trimmed_stream_has_lost_nothing(client: RedisClient) -> None:
    for _ in range(10):
        await execute(client, "XADD", STREAM, "*", *FRAME)
    await execute(client, "XTRIM", STREAM, "MAXLEN", "=", 3)
    await execute(client, "XGROUP", "CREATE", STREAM, GROUP, "0")
    assert (await of_stream(client, "group-position")).status == "ok"
    read = ("XREADGROUP", "GROUP", GROUP, "one", "COUNT", 2, "STREAMS", STREAM, ">")
    await execute(client, *read)
    assert (await of_stream(client, "group-position")).status == "ok"
    await execute(client, *read)
    assert (await of_stream(client, "group")).found == "processor: lag 0, pending 3"
    assert (await of_stream(client, "group-position")).status == "ok"


async def test_the_gateways_clock_is_read_off_the_newest_entries(client: RedisClient) -> None:
    ms = await now_ms(client)
    fields = (*FRAME, "received_at_ms")
    await execute(client, "XADD", STREAM, f"{ms}-0", *fields, str(ms - 7))
    await execute(client, "XADD", STREAM, f"{ms}-1", *FRAME)
    await execute(client, "XADD", STREAM, f"{ms}-2", *fields, "soon")
    await execute(client, "XADD", STREAM, f"{ms}-3", *fields, "5", "replayed_from", "1-1")
    await execute(client, "XADD", STREAM, f"{ms}-4", *fields, str(ms + 90_000))
    told = await read_stream_facts(client, STREAM, GROUP)
    assert told.gateway_lags_ms == (-90_000, 7)


# Other streams


async def test_only_streams_that_may_be_meant_to_be_ours_are_found(client: RedisClient) -> None:
    for name in ("telemetry:other", "telemtry:teltonika"):
        await execute(client, "XADD", name, "*", *FRAME)
    for name in ("telemetry:logs", "jobs", f"{STREAM}:dlq", f"{STREAM}:2", "telemetry:x:dlq"):
        await execute(client, "XADD", name, "*", "field", "value")
    await execute(client, "HSET", "telemetry:hash", "field", "value")
    others = await find_other_streams(client, STREAM)
    assert others is not None
    assert others.complete
    assert [(other.name, other.holds_frames, other.is_read) for other in others.streams] == [
        ("telemetry:logs", False, False),
        ("telemetry:other", True, False),
        ("telemtry:teltonika", True, False),
    ]
    finding = other_stream_finding(others, StreamFacts(kind="none"), now_ms=await now_ms(client))
    assert (finding.status, finding.found) == (
        "failure",
        "frames are written to telemetry:other, telemtry:teltonika, and ours is not written",
    )


async def test_a_user_of_our_keys_alone_learns_which_streams_are_hidden(
    client: RedisClient, limited: RedisClient
) -> None:
    await execute(client, "XADD", "telemetry:other", "*", *FRAME)
    await allow(client, "+scan", "+xinfo|stream", f"~{STREAM}*")
    others = await find_other_streams(limited, STREAM)
    assert others is not None
    assert (others.streams, others.hidden) == ((), ("telemetry:other",))
    await allow(client, "%R~*")
    others = await find_other_streams(limited, STREAM)
    assert others is not None
    assert [other.name for other in others.streams] == ["telemetry:other"]


async def test_the_documented_rights_leave_nothing_unknown(
    client: RedisClient, limited: RedisClient
) -> None:
    names = {acl_name(command) for command in service_commands(STREAM, GROUP)}
    await allow(client, *(f"+{name}" for name in names), f"~{STREAM}*", f"&{STREAM}*")
    rights = "+info +config|get +acl|whoami +acl|dryrun +time +type +mget +scan %R~*"
    await allow(client, *rights.split())
    await execute(client, "XADD", STREAM, "*", *FRAME)
    await execute(client, "XADD", "telemetry:other", "*", *FRAME)
    await execute(client, "XGROUP", "CREATE", STREAM, GROUP, "0")
    found = await facts(limited)
    told = await read_stream_facts(limited, STREAM, GROUP)
    now = await now_ms(client)
    findings = [
        *server_findings(found, STREAM),
        *stream_findings(told, EXPECTED, now_ms=now),
        other_stream_finding(await find_other_streams(limited, STREAM), told, now_ms=now),
    ]
    assert [finding.check for finding in findings if finding.status == "unknown"] == []
    assert found.denied == ()
    assert found.clock is not None
    assert await find_elsewhere(limited, STREAM, [1]) == {}


async def test_a_user_whose_scripts_may_not_look_learns_nothing_of_other_databases(
    client: RedisClient, limited: RedisClient
) -> None:
    await allow(client, "~*", "+eval")
    assert await find_elsewhere(limited, STREAM, [1]) is None
    await allow(client, "+type")
    assert await find_elsewhere(limited, STREAM, [1]) == {}


async def test_a_stream_that_another_group_reads_is_told_apart(client: RedisClient) -> None:
    await execute(client, "XADD", "telemetry:other", "*", *FRAME)
    await execute(client, "XGROUP", "CREATE", "telemetry:other", "theirs", "$")
    others = await find_other_streams(client, STREAM)
    assert others is not None
    assert [other.is_read for other in others.streams] == [True]


async def test_the_default_name_is_looked_for_under_another_setting(client: RedisClient) -> None:
    await execute(client, "XADD", STREAM, "*", "field", "value")
    await execute(client, "XADD", "fleet:2", "*", "field", "value")
    others = await find_other_streams(client, "fleet:1")
    assert others is not None
    assert [other.name for other in others.streams] == ["fleet:2", STREAM]


async def test_a_look_through_very_many_keys_ends_in_time(client: RedisClient) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(5000):
        pipeline.execute_command("SET", f"key-{number}", "")
    await pipeline.execute()
    times_s = iter([0.0, *([4.0] * 100)])
    others = await find_other_streams(client, STREAM, clock=lambda: next(times_s))
    assert others is not None
    assert not others.complete
    finding = other_stream_finding(others, StreamFacts(kind="none"), now_ms=await now_ms(client))
    assert finding.status == "unknown"


async def test_our_stream_in_another_database_is_found_and_ours_stays_selected(
    own_redis: EmbeddedRedis, client: RedisClient
) -> None:
    other = open_client(own_redis.url(3), name="other")
    await execute(other, "XADD", STREAM, "5000-0", *FRAME)
    await execute(other, "SET", "key", "of database 3")
    await other.aclose()
    found = await facts(client)
    assert (found.databases, found.database) == ((3,), 0)
    assert await find_elsewhere(client, STREAM, [1, 3]) == {3: 5000}
    assert await execute(client, "GET", "key") is None
