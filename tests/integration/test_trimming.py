"""What every group has acknowledged is trimmed in time; nothing else ever is."""

import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream import trimming
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.group import GroupNames
from teltonika_processor.stream.ids import ms_of
from teltonika_processor.stream.trimming import Trimmer

STREAM = "telemetry:teltonika"
NAMES = GroupNames(STREAM, "processor", "one")
NOW_MS = 1_790_000_000_000
NEVER_MS = 10**12
ANY_SIZE = 1 << 50

# The size of a node of the stream here, so that what is cut can be said to the entry.
NODE = 10


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = open_client(redis_url, name="test")
    before = await client.config_get("stream-node-max-entries")
    await client.config_set("stream-node-max-entries", NODE)
    yield client
    await client.config_set("stream-node-max-entries", before["stream-node-max-entries"])
    await client.aclose()


async def add(client: RedisClient, count: int, *, from_ms: int, size: int = 10) -> list[str]:
    """Append entries one millisecond apart; their ids."""
    pipeline = client.pipeline(transaction=False)
    for i in range(count):
        pipeline.execute_command("XADD", STREAM, f"{from_ms + i}-0", "frame", bytes(size))
    return [entry_id.decode() for entry_id in await pipeline.execute()]


async def make_group(client: RedisClient, group: str = "processor", at: str = "0") -> None:
    await client.execute_command("XGROUP", "CREATE", STREAM, group, at, "MKSTREAM")


async def read(client: RedisClient, count: int, group: str = "processor") -> list[bytes]:
    command = ("XREADGROUP", "GROUP", group, "one", "COUNT", count, "STREAMS", STREAM, ">")
    reply = await client.execute_command(*command)
    return [entry[0] for entry in reply[0][1]] if reply else []


async def xack(client: RedisClient, ids: list[Any], group: str = "processor") -> None:
    await client.execute_command("XACK", STREAM, group, *ids)


async def settle(client: RedisClient, count: int, group: str = "processor") -> None:
    await xack(client, await read(client, count, group), group)


async def ids_in(client: RedisClient) -> list[str]:
    return [entry[0].decode() for entry in await client.xrange(STREAM)]


def trimmer(client: RedisClient, *, keep_ms: int = NEVER_MS, keep_bytes: int = ANY_SIZE) -> Trimmer:
    return Trimmer(client, NAMES, keep_ms=keep_ms, keep_bytes=keep_bytes)


async def test_acknowledged_entries_go_when_they_are_old_enough(client: RedisClient) -> None:
    ids = await add(client, 100, from_ms=NOW_MS - 100)
    await make_group(client)
    await settle(client, 100)
    trim = trimmer(client, keep_ms=50)
    assert (await trim.trim(NOW_MS)).n_removed == 50
    assert await ids_in(client) == ids[50:]
    assert (await trim.trim(NOW_MS)).n_removed == 0
    # Whole nodes only: of the next 15 entries 10 go.
    assert (await trim.trim(NOW_MS + 15)).n_removed == 10
    assert (await trim.trim(NOW_MS + 1000)).n_removed == 40
    assert await ids_in(client) == []


async def test_undelivered_entries_stay_however_old_and_large(client: RedisClient) -> None:
    ids = await add(client, 100, from_ms=NOW_MS - 10**9)
    await make_group(client)
    trim = trimmer(client, keep_ms=0, keep_bytes=0)
    assert (await trim.trim(NOW_MS)).n_removed == 0
    assert await ids_in(client) == ids
    await settle(client, 40)
    assert (await trim.trim(NOW_MS)).n_removed == 40
    assert await ids_in(client) == ids[40:]


async def test_a_pending_entry_in_the_middle_stays_with_what_follows(
    client: RedisClient,
) -> None:
    ids = await add(client, 100, from_ms=NOW_MS - 100)
    await make_group(client)
    await read(client, 100)
    await xack(client, [*ids[:33], *ids[34:]])
    trim = trimmer(client, keep_ms=0, keep_bytes=0)
    assert (await trim.trim(NOW_MS)).n_removed == 30
    assert await ids_in(client) == ids[30:]
    await xack(client, [ids[33]])
    assert (await trim.trim(NOW_MS)).n_removed == 70


async def test_the_group_that_is_furthest_behind_decides(client: RedisClient) -> None:
    ids = await add(client, 100, from_ms=NOW_MS - 100)
    await make_group(client)
    await make_group(client, "audit")
    await make_group(client, "live", at="$")
    await settle(client, 100)
    trim = trimmer(client, keep_ms=0, keep_bytes=0)
    assert (await trim.trim(NOW_MS)).n_removed == 0
    await settle(client, 20, "audit")
    assert (await trim.trim(NOW_MS)).n_removed == 20
    assert await ids_in(client) == ids[20:]


async def test_entries_undelivered_again_stay_below_the_pending_ones(
    client: RedisClient,
) -> None:
    ids = await add(client, 100, from_ms=NOW_MS - 100)
    await make_group(client)
    await read(client, 100)
    await xack(client, ids[:90])
    await client.execute_command("XGROUP", "SETID", STREAM, "processor", ids[19])
    assert (await trimmer(client, keep_ms=0, keep_bytes=0).trim(NOW_MS)).n_removed == 20
    assert await ids_in(client) == ids[20:]


async def test_without_a_group_nothing_goes(client: RedisClient) -> None:
    await add(client, 100, from_ms=NOW_MS - 10**9)
    assert (await trimmer(client, keep_ms=0, keep_bytes=0).trim(NOW_MS)).n_removed == 0
    assert await client.xlen(STREAM) == 100


async def test_without_our_group_nothing_goes_though_others_have_gone_on(
    client: RedisClient,
) -> None:
    await add(client, 100, from_ms=NOW_MS - 10**9)
    await make_group(client, "audit")
    await settle(client, 100, "audit")
    assert (await trimmer(client, keep_ms=0, keep_bytes=0).trim(NOW_MS)).n_removed == 0
    assert await client.xlen(STREAM) == 100


async def test_above_the_size_young_entries_go_sooner_as_many_as_are_too_many(
    client: RedisClient,
) -> None:
    await add(client, 1000, from_ms=NOW_MS, size=200)
    await make_group(client)
    await settle(client, 1000)
    whole = await client.memory_usage(STREAM)
    trim = trimmer(client, keep_bytes=whole // 2)
    assert 400 <= (await trim.trim(NOW_MS)).n_removed <= 600
    assert await client.memory_usage(STREAM) < whole * 0.55
    for _ in range(3):
        await trim.trim(NOW_MS)
    # It stops there: what fits is kept.
    assert await client.xlen(STREAM) >= 400


async def test_above_the_size_what_is_needed_stays(client: RedisClient) -> None:
    ids = await add(client, 1000, from_ms=NOW_MS, size=200)
    await make_group(client)
    await settle(client, 100)
    trimmed = await trimmer(client, keep_bytes=1000).trim(NOW_MS)
    assert trimmed.n_removed == 100
    assert await ids_in(client) == ids[100:]
    assert trimmed.excess_is_needed is True
    assert trimmed.n_bytes == await client.memory_usage(STREAM)
    again = await trimmer(client, keep_bytes=ANY_SIZE).trim(NOW_MS)
    assert (again.n_removed, again.excess_is_needed) == (0, False)


@pytest.mark.parametrize(
    ("keep_ms", "keep_bytes", "kept"), [(20, ANY_SIZE, 20), (NEVER_MS, 0, 0), (20, 0, 0)]
)
async def test_whichever_keeps_less_decides(
    client: RedisClient, keep_ms: int, keep_bytes: int, kept: int
) -> None:
    await add(client, 100, from_ms=NOW_MS - 100)
    await make_group(client)
    await settle(client, 100)
    await trimmer(client, keep_ms=keep_ms, keep_bytes=keep_bytes).trim(NOW_MS)
    assert await client.xlen(STREAM) == kept


async def test_a_large_stream_is_trimmed_in_calls_of_bounded_length(
    client: RedisClient,
) -> None:
    await client.config_set("stream-node-max-entries", 100)
    await add(client, 100_000, from_ms=NOW_MS - 100_000)
    await make_group(client)
    for _ in range(10):
        await settle(client, 10_000)
    await client.config_set("slowlog-log-slower-than", 0)
    await client.config_set("slowlog-max-len", 1000)
    await client.execute_command("SLOWLOG", "RESET")
    removed = (await trimmer(client, keep_ms=0).trim(NOW_MS)).n_removed
    calls = [c for c in await client.slowlog_get(1000) if c["command"].startswith(b"EVAL")]
    await client.config_set("slowlog-log-slower-than", 10_000)
    assert removed == 100_000
    assert len(calls) == 11
    longest_ms = max(call["duration"] for call in calls) / 1e3
    assert longest_ms < 100


async def test_one_trim_is_bounded_too(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "_ENTRIES_A_CALL", 20)
    monkeypatch.setattr(trimming, "_CALLS_A_TRIM", 3)
    await add(client, 100, from_ms=NOW_MS - 100)
    await make_group(client)
    await settle(client, 100)
    trim = trimmer(client, keep_ms=0)
    assert (await trim.trim(NOW_MS)).n_removed == 60
    assert (await trim.trim(NOW_MS)).n_removed == 40


async def test_ids_beyond_exact_lua_numbers_compare_as_numbers(client: RedisClient) -> None:
    # As floating point these three are one number; as text "9.." is above "10..".
    ids = [
        "9007199254740993-9",
        "9007199254740993-10",
        "9007199254740994-0",
        "18446744073709551614-18446744073709551614",
    ]
    await client.config_set("stream-node-max-entries", 1)
    for entry_id in ids:
        await client.execute_command("XADD", STREAM, entry_id, "frame", "f")
    await make_group(client)
    await read(client, 4)
    await xack(client, [ids[0], ids[2], ids[3]])
    trim = trimmer(client, keep_ms=0)
    far_ms = 18446744073709551615
    assert (await trim.trim(far_ms)).n_removed == 1
    assert await ids_in(client) == ids[1:]
    await xack(client, [ids[1]])
    # A number that cannot be counted up keeps its entry.
    assert (await trim.trim(far_ms)).n_removed == 2
    assert await ids_in(client) == ids[3:]


async def test_a_stream_that_is_not_there_is_no_error(client: RedisClient) -> None:
    assert (await trimmer(client, keep_ms=0).trim(NOW_MS)).n_removed == 0
    assert await trimmer(client, keep_ms=0).forget_old() == 0
    assert await client.exists(STREAM) == 0


async def test_a_key_of_another_type_is_a_matter_of_settings(client: RedisClient) -> None:
    await client.set(STREAM, "x")
    with pytest.raises(ConfigError, match="REDIS_TELEMETRY_STREAM"):
        await trimmer(client, keep_ms=0).trim(NOW_MS)
    with pytest.raises(ConfigError, match="REDIS_TELEMETRY_STREAM"):
        await trimmer(client, keep_ms=0).forget_old()


async def test_a_server_that_is_away_is_unavailable() -> None:
    client = open_client("redis://127.0.0.1:1/0", name="test")
    with pytest.raises(StreamUnavailable):
        await trimmer(client).trim(NOW_MS)
    await client.aclose()


# Random histories: TEST_SEED repeats one.


async def needed_now(client: RedisClient) -> set[str]:
    """Undelivered to or pending in any group: asked entry by entry, not by smallest ids."""
    needed: set[str] = set()
    for group in await client.xinfo_groups(STREAM):
        name = group["name"].decode()
        after = "(" + group["last-delivered-id"].decode()
        needed |= {entry[0].decode() for entry in await client.xrange(STREAM, min=after)}
        rows = await client.xpending_range(STREAM, name, min="-", max="+", count=10_000)
        needed |= {row[0].decode() for row in rows}
    return needed


class History:
    """Random life of a stream with three groups."""

    def __init__(self, client: RedisClient, seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.now_ms = NOW_MS
        self.groups = ["processor", "audit", "live"]

    async def step(self) -> None:
        steps = [self.add, self.add, self.read, self.read, self.settle, self.settle, self.rarely]
        await self.random.choice(steps)()

    async def add(self) -> None:
        count = self.random.randrange(1, 60)
        await add(self.client, count, from_ms=self.now_ms, size=self.random.randrange(300))
        self.now_ms += count + self.random.randrange(50)

    async def read(self) -> None:
        group = self.random.choice(self.groups)
        await read(self.client, self.random.randrange(1, 100), group)

    async def settle(self) -> None:
        group = self.random.choice(self.groups)
        rows = await self.client.xpending_range(STREAM, group, min="-", max="+", count=10_000)
        ids = [row[0] for row in rows if self.random.random() < 0.8]
        if ids:
            await xack(self.client, ids, group)

    async def rarely(self) -> None:
        ids = await ids_in(self.client)
        if not ids or self.random.random() < 0.7:
            return
        one = self.random.choice(ids)
        if self.random.random() < 0.5:
            await self.client.xdel(STREAM, one)
        else:
            group = self.random.choice(self.groups)
            await self.client.execute_command("XGROUP", "SETID", STREAM, group, one)


async def test_no_history_loses_what_a_group_needs(client: RedisClient) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"TEST_SEED={seed}")  # noqa: T201 -- shown where the test fails
    history = History(client, seed)
    for group in history.groups:
        await make_group(client, group)
    trimmed = 0
    for _ in range(300):
        await history.step()
        keep_ms = history.random.choice([0, 30, 300, NEVER_MS])
        keep_bytes = history.random.choice([0, 20_000, ANY_SIZE])
        before, needed = await ids_in(client), await needed_now(client)
        trim = trimmer(client, keep_ms=keep_ms, keep_bytes=keep_bytes)
        removed = (await trim.trim(history.now_ms)).n_removed
        after = await ids_in(client)
        assert after == before[removed:], seed
        assert needed.intersection(before) <= set(after), seed
        if keep_bytes == ANY_SIZE:
            young = [i for i in before if ms_of(i) >= history.now_ms - keep_ms]
            assert set(young) <= set(after), seed
        if keep_ms == 0:
            # A pending entry whose payload somebody deleted holds back what follows it.
            first = min(map(ms_of, needed), default=history.now_ms)
            assert sum(ms_of(i) < first for i in after) < NODE, seed
        trimmed += removed
    assert trimmed > 0, seed


# What the operator's hashes hold


HASHES = ["attempts", "suspects", "dropped", "replayed"]


async def fields_of(client: RedisClient, name: str) -> list[str]:
    return sorted(field.decode() for field in await client.hkeys(f"{STREAM}:{name}"))


async def test_the_hashes_forget_entries_that_left_the_stream(client: RedisClient) -> None:
    ids = await add(client, 30, from_ms=NOW_MS)
    await make_group(client)
    await settle(client, 30)
    for name in HASHES:
        await client.hset(f"{STREAM}:{name}", mapping={ids[9]: "1", ids[10]: "1", "no id": "1"})
    trim = trimmer(client, keep_ms=0)
    assert await trim.forget_old() == 0
    await client.xtrim(STREAM, minid=ids[10], approximate=False)
    assert await trim.forget_old() == 4
    for name in HASHES:
        assert await fields_of(client, name) == [ids[10], "no id"]


async def test_the_hashes_of_an_empty_stream_forget_all_that_it_had(client: RedisClient) -> None:
    ids = await add(client, 30, from_ms=NOW_MS)
    await make_group(client)
    await settle(client, 30)
    await client.hset(f"{STREAM}:attempts", mapping={ids[29]: "1", f"{NOW_MS + 30}-0": "1"})
    await client.xtrim(STREAM, maxlen=0, approximate=False)
    assert await trimmer(client).forget_old() == 1
    assert await fields_of(client, "attempts") == [f"{NOW_MS + 30}-0"]


async def test_letters_that_were_moved_are_forgotten_by_their_own_ids(client: RedisClient) -> None:
    await add(client, 1, from_ms=NOW_MS)
    await make_group(client)
    moved = {f"letter:{at_ms}-0": "1" for at_ms in (NOW_MS - 1, NOW_MS)}
    await client.hset(f"{STREAM}:replayed", mapping=moved)
    assert await trimmer(client).forget_old() == 1
    assert await fields_of(client, "replayed") == [f"letter:{NOW_MS}-0"]


async def test_a_pending_entry_that_somebody_trimmed_is_not_forgotten(
    client: RedisClient,
) -> None:
    ids = await add(client, 30, from_ms=NOW_MS)
    await make_group(client)
    await read(client, 30)
    await xack(client, [*ids[:5], *ids[6:]])
    await client.hset(f"{STREAM}:attempts", mapping={ids[4]: "1", ids[5]: "2"})
    await client.xtrim(STREAM, maxlen=0, approximate=False)
    assert await trimmer(client).forget_old() == 1
    assert await fields_of(client, "attempts") == [ids[5]]


async def test_a_group_that_never_read_keeps_nothing_that_it_cannot_get(
    client: RedisClient,
) -> None:
    ids = await add(client, 30, from_ms=NOW_MS)
    await make_group(client)
    await client.hset(f"{STREAM}:attempts", mapping={ids[9]: "1", ids[10]: "1"})
    await client.xtrim(STREAM, minid=ids[10], approximate=False)
    assert await trimmer(client).forget_old() == 1
    assert await fields_of(client, "attempts") == [ids[10]]


async def test_a_large_hash_is_forgotten_in_several_looks(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "_FIELDS_A_PAGE", 500)
    monkeypatch.setattr(trimming, "_PAGES_A_LOOK", 2)
    await add(client, 1, from_ms=NOW_MS)
    await make_group(client)
    old = {f"{NOW_MS - 5000 + i}-0": "1" for i in range(5000)}
    await client.hset(f"{STREAM}:dropped", mapping=old)
    trim = trimmer(client)
    counts = [await trim.forget_old() for _ in range(20)]
    assert counts[0] < 3000
    assert sum(counts) == 5000
    assert await client.exists(f"{STREAM}:dropped") == 0
