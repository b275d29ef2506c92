"""How far behind a group is, also where Redis says NULL."""

import pytest

from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream.accounts import GroupProgress, group_progress
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.health import GroupHealth, group_health

STREAM = "telemetry:teltonika"
GROUP = "processor"
FIRST_MS = 1_790_000_000_000
NOW_MS = FIRST_MS + 60_000

NOTHING = GroupHealth(
    group_exists=False,
    lag_entries=0,
    lag_s=0.0,
    pending=0,
    oldest_pending_s=0.0,
    consumers=0,
    stream_entries=0,
    stream_bytes=0,
    acknowledged=0,
    dead_lettered=0,
    first_id="0-0",
    last_delivered_id="0-0",
    last_generated_id="0-0",
    audit=None,
)


async def add(client: RedisClient, count: int, *, from_ms: int = FIRST_MS) -> list[str]:
    """Append entries ten milliseconds apart; their ids."""
    pipeline = client.pipeline(transaction=False)
    for i in range(count):
        pipeline.execute_command("XADD", STREAM, f"{from_ms + 10 * i}-0", "frame", "f")
    return [entry_id.decode() for entry_id in await pipeline.execute()]


async def make_group(client: RedisClient, at: str = "0") -> None:
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, at, "MKSTREAM")


async def read(client: RedisClient, count: int, consumer: str = "one") -> list[bytes]:
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", STREAM, ">")
    reply = await client.execute_command(*command)
    return [entry[0] for entry in reply[0][1]]


async def health(client: RedisClient) -> GroupHealth:
    return await group_health(client, STREAM, GROUP, now_ms=NOW_MS)


async def redis_lag(client: RedisClient) -> int | None:
    (group,) = await client.xinfo_groups(STREAM)
    lag: int | None = group["lag"]
    return lag


async def test_a_group_in_the_middle_of_its_work(client: RedisClient) -> None:
    ids = await add(client, 10)
    await make_group(client)
    await read(client, 3, "one")
    await read(client, 2, "two")
    await client.execute_command("XACK", STREAM, GROUP, ids[0], ids[4])
    await client.hset(f"{STREAM}:accounts", mapping={"acknowledged": 2, "dead_lettered": 1})
    found = await health(client)
    assert found == GroupHealth(
        group_exists=True,
        lag_entries=5,
        lag_s=59.95,
        pending=3,
        oldest_pending_s=59.99,
        consumers=2,
        stream_entries=10,
        stream_bytes=found.stream_bytes,
        acknowledged=2,
        dead_lettered=1,
        first_id=ids[0],
        last_delivered_id=ids[4],
        last_generated_id=ids[9],
        audit=None,
    )
    assert 1000 < found.stream_bytes < 100_000


async def test_a_group_that_has_settled_all_has_no_lag(client: RedisClient) -> None:
    ids = await add(client, 10)
    await make_group(client)
    await client.execute_command("XACK", STREAM, GROUP, *await read(client, 10))
    found = await health(client)
    assert (found.lag_entries, found.lag_s, found.pending, found.oldest_pending_s) == (0, 0, 0, 0)
    assert (found.last_delivered_id, found.last_generated_id) == (ids[9], ids[9])


async def test_nothing_there_is_all_zero(client: RedisClient) -> None:
    assert await health(client) == NOTHING
    assert await client.exists(STREAM) == 0


async def test_a_stream_without_the_group_has_no_lag_of_its_own(client: RedisClient) -> None:
    ids = await add(client, 10)
    await client.execute_command("XGROUP", "CREATE", STREAM, "audit", "0")
    found = await health(client)
    assert found.group_exists is False
    assert (found.lag_entries, found.lag_s, found.consumers) == (0, 0.0, 0)
    assert (found.stream_entries, found.first_id) == (10, ids[0])
    assert found.last_delivered_id == "0-0"


async def test_a_new_group_on_an_empty_stream_has_no_lag(client: RedisClient) -> None:
    await make_group(client)
    found = await health(client)
    assert (found.group_exists, found.lag_entries, found.lag_s) == (True, 0, 0.0)


async def test_a_group_that_was_set_back_has_a_lag_though_redis_says_null(
    client: RedisClient,
) -> None:
    ids = await add(client, 100)
    await make_group(client)
    await read(client, 100)
    await client.execute_command("XGROUP", "SETID", STREAM, GROUP, ids[59])
    assert await redis_lag(client) is None
    found = await health(client)
    assert (found.lag_entries, found.lag_s) == (40, 59.4)


async def test_after_a_deletion_ahead_the_lag_is_counted(client: RedisClient) -> None:
    ids = await add(client, 100)
    await make_group(client)
    await read(client, 10)
    await client.xdel(STREAM, ids[50], ids[51])
    assert await redis_lag(client) is None
    assert (await health(client)).lag_entries == 88


async def test_a_deletion_of_the_next_entry_moves_the_age(client: RedisClient) -> None:
    ids = await add(client, 100)
    await make_group(client)
    await read(client, 10)
    await client.xdel(STREAM, ids[10])
    found = await health(client)
    assert (found.lag_entries, found.lag_s) == (89, 59.89)


async def test_entries_trimmed_before_they_were_read_are_no_lag(client: RedisClient) -> None:
    await add(client, 100)
    await make_group(client)
    await read(client, 10)
    await client.xtrim(STREAM, maxlen=30, approximate=False)
    found = await health(client)
    assert (found.lag_entries, found.lag_s) == (30, 59.3)
    await read(client, 30)
    found = await health(client)
    assert (found.lag_entries, found.lag_s, found.pending) == (0, 0.0, 40)


async def test_a_stream_that_was_emptied_before_it_was_read_has_no_lag(
    client: RedisClient,
) -> None:
    await add(client, 100)
    await make_group(client)
    await read(client, 10)
    await client.xtrim(STREAM, maxlen=0, approximate=False)
    found = await health(client)
    assert (found.lag_entries, found.lag_s, found.pending) == (0, 0.0, 10)


async def test_a_group_made_in_the_middle_has_a_lag(client: RedisClient) -> None:
    ids = await add(client, 100)
    await make_group(client, at=ids[29])
    assert await redis_lag(client) is None
    assert (await health(client)).lag_entries == 70


@pytest.mark.parametrize("n_behind", [499, 500, 2000, 2900])
async def test_a_long_lag_that_redis_does_not_know_is_estimated(
    client: RedisClient, n_behind: int
) -> None:
    ids = await add(client, 3000)
    await make_group(client)
    await read(client, 3000)
    await client.execute_command("XGROUP", "SETID", STREAM, GROUP, ids[-1 - n_behind])
    assert await redis_lag(client) is None
    assert (await health(client)).lag_entries == pytest.approx(n_behind, rel=0.01)


async def test_an_estimate_stays_between_what_was_counted_and_what_is_there(
    client: RedisClient,
) -> None:
    # All but the first came in one millisecond: the ids say nothing.
    ids = await add(client, 1)
    for i in range(1000):
        await client.execute_command("XADD", STREAM, f"{FIRST_MS + 10}-{i}", "frame", "f")
    await make_group(client)
    await read(client, 1001)
    await client.execute_command("XGROUP", "SETID", STREAM, GROUP, f"{FIRST_MS + 10}-100")
    assert (await health(client)).lag_entries == 500
    await client.xdel(STREAM, ids[0])
    assert (await health(client)).lag_entries == 1000


async def test_a_clock_behind_the_ids_makes_no_negative_age(client: RedisClient) -> None:
    await add(client, 2, from_ms=NOW_MS + 10_000)
    await make_group(client)
    await read(client, 1)
    found = await health(client)
    assert (found.lag_entries, found.lag_s, found.oldest_pending_s) == (1, 0.0, 0.0)


async def test_a_key_of_another_type_is_a_matter_of_settings(client: RedisClient) -> None:
    await client.set(STREAM, "x")
    with pytest.raises(ConfigError, match="REDIS_TELEMETRY_STREAM"):
        await health(client)


async def test_a_server_that_is_away_is_unavailable() -> None:
    client = open_client("redis://127.0.0.1:1/0", name="test")
    with pytest.raises(StreamUnavailable):
        await health(client)
    await client.aclose()


async def progress(client: RedisClient) -> GroupProgress:
    return await group_progress(client, STREAM, GROUP)


async def test_progress_of_the_group(client: RedisClient) -> None:
    assert await progress(client) == GroupProgress(added=0, read=0, pending=0, has_read_all=False)
    ids = await add(client, 10)
    assert await progress(client) == GroupProgress(added=10, read=0, pending=0, has_read_all=False)
    await make_group(client)
    await read(client, 4)
    assert await progress(client) == GroupProgress(added=10, read=4, pending=4, has_read_all=False)
    await read(client, 6)
    assert await progress(client) == GroupProgress(added=10, read=10, pending=10, has_read_all=True)
    await client.execute_command("XACK", STREAM, GROUP, *ids)
    done = await progress(client)
    assert done == GroupProgress(added=10, read=10, pending=0, has_read_all=True)
    assert done.is_drained
