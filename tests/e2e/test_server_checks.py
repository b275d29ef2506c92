"""A Redis that may lose the stream: said at the start, or refused where that was asked for."""

from collections.abc import Iterator

import pytest

from processes import Processor
from telemetry import BASE_MS, IMEI, STREAM, Key, Telemetry, entry, frame_at, stored_keys
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

STRICT = {"STRICT_CHECKS": "true"}


@pytest.fixture
def telemetry(own_redis: EmbeddedRedis) -> Iterator[Telemetry]:
    """The stream, with one entry in it."""
    telemetry = Telemetry(own_redis.url())
    telemetry.publish([entry(frame_at(BASE_MS))])
    yield telemetry
    telemetry.close()


def test_a_redis_without_its_log_is_refused_where_checks_are_strict(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry.client.config_set("appendonly", "no")
    with Processor(own_redis.url(), migrated_database, settings=STRICT) as processor:
        assert processor.exit_code() == 78
        failed = processor.wait_for("service.failed")
    assert failed["error"] == (
        "REDIS_URL: appendonly: found no, expected yes: a restart of the server loses every frame "
        "since the last snapshot\nSTRICT_CHECKS=false starts all the same"
    )
    assert telemetry.client.xinfo_groups(STREAM) == []


def test_a_redis_without_its_log_is_doubted_and_read_all_the_same(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry.client.config_set("appendonly", "no")
    with Processor(own_redis.url(), migrated_database) as processor:
        doubted = processor.wait_for("server.doubted")
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert (doubted["check"], doubted["found"], doubted["expected"]) == ("appendonly", "no", "yes")
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]


def test_a_durable_redis_passes_strict_checks_without_a_word(
    telemetry: Telemetry, own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    with Processor(own_redis.url(), migrated_database, settings=STRICT) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        assert processor.terminate() == 0
        assert all(event["event"] != "server.doubted" for event in processor.events)
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]
