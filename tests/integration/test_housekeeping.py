"""The chores as an instance does them, on a real server."""

import asyncio

import pytest

from teltonika_processor.events import ConsumersReaped, Event, StreamTrimmed
from teltonika_processor.service import housekeeping
from teltonika_processor.service.housekeeping import Housekeeping, Pace, redis_chores
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.group import GroupNames
from teltonika_processor.stream.trimming import Trimmer
from waiting import eventually_async

STREAM = "telemetry:teltonika"
NAMES = GroupNames(STREAM, "processor", "ours")
NOW_MS = 1_790_000_000_000


async def test_one_round_trims_reaps_and_forgets(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(redis_url, name="test")
    await client.execute_command("XGROUP", "CREATE", STREAM, "processor", "0", "MKSTREAM")
    for i in range(1000):
        await client.execute_command("XADD", STREAM, f"{NOW_MS - 1000 + i}-0", "frame", "f")
    command = ("XREADGROUP", "GROUP", "processor", "dead", "COUNT", 1000, "STREAMS", STREAM, ">")
    ids = [entry[0] for entry in (await client.execute_command(*command))[0][1]]
    await client.execute_command("XACK", STREAM, "processor", *ids[:900])
    await client.execute_command("XCLAIM", STREAM, "processor", "ours", 0, *ids[900:], "JUSTID")
    await client.hset(f"{STREAM}:attempts", mapping={ids[0]: "1", ids[900]: "1"})

    async def is_idle() -> bool:
        found = await client.xinfo_consumers(STREAM, "processor")
        return all(about["idle"] > 5 for about in found)

    await eventually_async(is_idle)
    monkeypatch.setattr(housekeeping, "REAP_IDLE_MS", 5)
    emitted: list[Event] = []
    rounds = 0
    now_s = 0.0

    async def sleep(_wait_s: float) -> None:
        nonlocal rounds, now_s
        rounds, now_s = rounds + 1, now_s + 60
        if rounds == 2:
            raise asyncio.CancelledError

    trimmer = Trimmer(client, NAMES, keep_ms=500, keep_bytes=1 << 50)
    chores = redis_chores(client, NAMES, trimmer, trims=True, unix_ms=lambda: NOW_MS)
    with pytest.raises(asyncio.CancelledError):
        await Housekeeping(chores, emitted.append, Pace(lambda: now_s, sleep)).run()
    assert emitted == [ConsumersReaped(consumers=("dead",)), StreamTrimmed(count=500)]
    assert await client.hkeys(f"{STREAM}:attempts") == [ids[900]]
    await client.aclose()
