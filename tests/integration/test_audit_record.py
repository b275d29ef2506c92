"""What an audit found, kept in Redis: only the latest counts, and rubbish is nobody's audit."""

import dataclasses
import time

import pytest

from telemetry import GROUP, STREAM
from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream.audit_record import RecordedAudit, record_audit
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.health import group_health

KEY = "telemetry:teltonika:audit"
FOUND = RecordedAudit(
    at_ms=1_790_000_000_500,
    duration_ms=210,
    entries=304,
    records=608,
    missing_entries=1,
    missing_records=2,
    by="host-a",
)
CLEAN = dataclasses.replace(
    FOUND, at_ms=FOUND.at_ms + 60_000, missing_entries=0, missing_records=0, by="host-b"
)


async def shown(client: RedisClient) -> RecordedAudit | None:
    """What an instance sees, once there is a stream."""
    await client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    return (await group_health(client, STREAM, GROUP, now_ms=FOUND.at_ms)).audit


async def test_the_hash_says_in_words_what_was_found(client: RedisClient, redis_url: str) -> None:
    assert await record_audit(redis_url, STREAM, FOUND)
    assert await client.hgetall(KEY) == {
        b"at_ms": b"1790000000500",
        b"duration_ms": b"210",
        b"entries": b"304",
        b"records": b"608",
        b"missing_entries": b"1",
        b"missing_records": b"2",
        b"by": b"host-a",
    }
    assert await shown(client) == FOUND


async def test_a_later_audit_replaces_an_earlier_one_and_not_the_other_way_round(
    client: RedisClient, redis_url: str
) -> None:
    assert await record_audit(redis_url, STREAM, FOUND)
    assert await record_audit(redis_url, STREAM, CLEAN)
    assert not await record_audit(redis_url, STREAM, FOUND)
    assert await shown(client) == CLEAN


async def test_a_record_of_the_future_keeps_nobody_out(client: RedisClient, redis_url: str) -> None:
    an_hour_ahead = time.time_ns() // 1_000_000 + 3_600_000
    assert await record_audit(redis_url, STREAM, dataclasses.replace(CLEAN, at_ms=an_hour_ahead))
    assert await record_audit(redis_url, STREAM, FOUND)
    assert await shown(client) == FOUND


async def test_without_a_record_nothing_is_known(client: RedisClient) -> None:
    assert await shown(client) is None


@pytest.mark.parametrize("garbled", [{"at_ms": "soon"}, {"entries": "-1"}, {"records": ""}])
async def test_a_hash_that_somebody_garbled_is_no_audit_and_is_replaced(
    client: RedisClient, redis_url: str, garbled: dict[str, str]
) -> None:
    assert await record_audit(redis_url, STREAM, FOUND)
    await client.hset(KEY, mapping=garbled)
    assert await shown(client) is None
    assert await record_audit(redis_url, STREAM, FOUND)
    assert (await group_health(client, STREAM, GROUP, now_ms=0)).audit == FOUND


async def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(StreamUnavailable):
        await record_audit("redis://127.0.0.1:1", STREAM, FOUND)
