"""The running service trims what everybody has acknowledged, and nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from processes import Processor
from telemetry import BASE_MS, STREAM, Telemetry, entry, frame_at, stored_keys
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

KEEP_NOTHING = {"STREAM_KEEP_MS": "0"}
N_ENTRIES = 1000
# Whole nodes of the stream go: so many entries at most are in one.
NODE = 100


@pytest.fixture
def telemetry(own_redis: EmbeddedRedis) -> Iterator[Telemetry]:
    telemetry = Telemetry(own_redis.url())
    yield telemetry
    telemetry.close()


def good(count: int) -> list[dict[str, bytes | str]]:
    return [entry(frame_at(BASE_MS + i * 1000)) for i in range(count)]


def ids_from(telemetry: Telemetry, first: bytes) -> list[bytes]:
    """What the stream holds from this id on."""
    return [entry_id for entry_id, _ in telemetry.client.xrange(STREAM, first)]


def commands(telemetry: Telemetry) -> Mapping[str, Any]:
    """How often the server did each command, those of scripts included."""
    statistics: Mapping[str, Any] = telemetry.client.info("commandstats")
    return statistics


def test_acknowledged_entries_leave_the_stream(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry.publish(good(N_ENTRIES))
    with Processor(own_redis.url(), migrated_database, settings=KEEP_NOTHING) as processor:
        processor.wait_for("consumer.started")
        eventually(lambda: telemetry.client.xlen(STREAM) < NODE)
        assert processor.terminate() == 0
    assert "cmdstat_xtrim" in commands(telemetry)
    assert telemetry.settled()
    assert len(stored_keys(migrated_database)) == N_ENTRIES


def test_a_pending_entry_stays_with_all_that_came_after_it(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    entries = good(N_ENTRIES)
    entries[500] = entry(frame_at(BASE_MS)[:-1])
    ids = telemetry.publish(entries)
    with Processor(own_redis.url(), migrated_database, settings=KEEP_NOTHING) as processor:
        processor.wait_for("consumer.started")
        eventually(lambda: telemetry.client.xlen(STREAM) < 500 + NODE)
        assert processor.terminate() == 0
    assert ids_from(telemetry, ids[500]) == ids[500:]
    assert telemetry.pending() == 1
    assert telemetry.client.exists(f"{STREAM}:dlq") == 0


def test_what_another_group_was_not_given_stays(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    ids = telemetry.publish(good(N_ENTRIES))
    telemetry.client.xgroup_create(STREAM, "another", ids[699])
    with Processor(own_redis.url(), migrated_database, settings=KEEP_NOTHING) as processor:
        processor.wait_for("consumer.started")
        eventually(lambda: telemetry.client.xlen(STREAM) < 300 + NODE)
        assert processor.terminate() == 0
    assert ids_from(telemetry, ids[700]) == ids[700:]
    assert len(stored_keys(migrated_database)) == N_ENTRIES


def test_nothing_goes_where_somebody_else_trims(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    ids = telemetry.publish(good(N_ENTRIES))
    settings = {**KEEP_NOTHING, "STREAM_TRIM": "false"}

    def looks() -> int:
        """The watch looks at the stream as often as one would trim it: once a second."""
        return int(commands(telemetry)["cmdstat_xinfo|stream"]["calls"])

    with Processor(own_redis.url(), migrated_database, settings=settings) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        before = looks()
        eventually(lambda: looks() >= before + 3)
        assert processor.terminate() == 0
    assert "cmdstat_xtrim" not in commands(telemetry)
    assert ids_from(telemetry, ids[0]) == ids
