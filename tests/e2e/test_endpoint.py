"""What a running process says of itself over HTTP, held against what it did."""

import json
import signal
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import pytest

from processes import Processor
from scraped import answer, figures
from telemetry import BASE_MS, IMEI, STREAM, Telemetry, entry, frame_at, locked
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from waiting import eventually

READY = (200, "ok\n")
HOUR_MS = 3_600_000
# Two writers with one read each, one that waits, and one in the reader's hand.
FULL = 4


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def status(processor: Processor) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(answer(processor, "/status")[1])
    return document


def shown(processor: Processor, expected: Mapping[str, float]) -> dict[str, float]:
    """What /metrics has under these names."""
    found = figures(processor)
    return {name: found[name] for name in expected}


def damaged(frame: bytes) -> bytes:
    return frame[:20] + bytes([frame[20] ^ 1]) + frame[21:]


# Metrics


def test_metrics_are_what_became_of_good_damaged_and_repeated_entries(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    imeis = [IMEI + i % 3 for i in range(6)]
    frames = [frame_at(BASE_MS + i * 2000, BASE_MS + i * 2000 + 1000) for i in range(6)]
    good = [entry(frame, imei) for frame, imei in zip(frames, imeis, strict=True)]
    copy = good[:1]
    bad = [entry(damaged(frame)) for frame in frames[:3]]
    retransmitted = good[:2]
    expected = {
        "entries_read_total{source=new}": 12,
        "entries_read_total{source=own}": 0,
        "entries_read_total{source=claimed}": 0,
        "records_decoded_total": 18,
        "records_stored_total": 12,
        "records_duplicate_total": 6,
        "records_retransmitted_total": 4,
        "entries_xacked_total": 9,
        "entries_dead_lettered_total{code=crc_mismatch}": 3,
        "entries_dead_lettered_total{code=truncated}": 0,
        "entries_failed_total{code=crc_mismatch}": 0,
        "devices_rehydrated_total": 3,
        "group_created_total": 1,
    }
    seen_once_a_second = {
        "group_lag_entries": 0,
        "group_lag_seconds": 0,
        "group_pending_entries": 0,
        "group_oldest_pending_seconds": 0,
        "group_consumers": 1,
        "group_acknowledged_entries": 9,
        "group_dead_lettered_entries": 3,
        "stream_entries": 12,
        "device_state_devices": 3,
        "entries_in_flight": 0,
        "redis_reachable": 1,
        "postgres_writable": 1,
        "ready": 1,
    }
    telemetry.publish([*good, *copy, *bad])
    # One writer, since nothing is remembered beyond the opening of another one's session.
    settings = {"MAX_ATTEMPTS": "1", "WRITERS": "1"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        telemetry.publish(retransmitted)
        eventually(telemetry.settled)
        eventually(lambda: shown(processor, seen_once_a_second) == seen_once_a_second)
        assert shown(processor, expected) == expected
        found = figures(processor)
        for stage in ("read", "decode", "state", "sink", "xack", "dead_letter"):
            assert found[f"stage_duration_seconds_count{{stage={stage}}}"] > 0
        assert processor.terminate() == 0


def test_what_waits_and_what_is_held_show_as_lag_and_pending_and_are_no_reason_to_be_unready(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    an_hour_ago = time.time_ns() // 1_000_000 - HOUR_MS
    for i in range(400):
        telemetry.client.xadd(STREAM, dict(entry(frame_at(BASE_MS + i))), id=f"{an_hour_ago}-{i}")
    settings = {"BATCH_FRAMES": "50", "LOG_LEVEL": "debug"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        with locked(migrated_database, "positions"):
            processor.wait_for("batch.decoded", lambda batch: batch["batch_id"] == FULL)
            held = telemetry.pending()
            full = {"group_pending_entries": held, "entries_in_flight": held}
            eventually(lambda: shown(processor, full) == full)
            found = figures(processor)
            assert answer(processor, "/readyz") == answer(processor, "/livez") == READY
        eventually(telemetry.settled)
        eventually(lambda: figures(processor)["group_pending_entries"] == 0)
        assert processor.terminate() == 0
    assert 0 < held < 400
    assert found["group_lag_entries"] == 400 - held
    assert 3600 <= found["group_lag_seconds"] < 3700
    assert 3600 <= found["group_oldest_pending_seconds"] < 3700


# Health


def test_an_instance_is_ready_until_it_drains_and_lives_on_meanwhile(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    telemetry.publish([entry(frame_at(BASE_MS))])
    with Processor(redis_url, migrated_database) as processor:
        with locked(migrated_database, "positions"):
            eventually(lambda: answer(processor, "/readyz") == READY)
            eventually(lambda: telemetry.pending() == 1)
            processor.signal(signal.SIGTERM)
            processor.wait_for("consumer.draining")
            assert answer(processor, "/readyz") == (503, "Draining: SIGTERM.\n")
            assert answer(processor, "/livez") == READY
            eventually(lambda: figures(processor)["entries_in_flight"] == 1)
        assert processor.exit_code() == 0


def test_without_postgres_an_instance_is_not_ready_and_lives_and_with_it_ready_again(
    own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    with Processor(redis_url, own_postgres.dsn()) as processor:
        eventually(lambda: answer(processor, "/readyz") == READY)
        own_postgres.kill()
        eventually(lambda: answer(processor, "/readyz")[0] == 503)
        _, sentence = answer(processor, "/readyz")
        assert sentence.startswith("Postgres is not writable: ")
        assert len(sentence.splitlines()) == 1
        assert answer(processor, "/livez") == READY
        eventually(lambda: figures(processor)["postgres_writable"] == 0)
        own_postgres.start()
        eventually(lambda: answer(processor, "/readyz") == READY)
        assert processor.terminate() == 0


# Status


def test_status_names_the_instance_and_its_accounts_and_no_password(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    password = own_redis.url().partition("@")[0].rpartition(":")[2]
    mark = "&" if "?" in migrated_database else "?"
    dsn = f"{migrated_database}{mark}password=hunter2"
    telemetry = Telemetry(own_redis.url())
    frame = frame_at(BASE_MS, BASE_MS + 1000)
    telemetry.publish([entry(frame), entry(frame)])
    settings = {"DATABASE_MIGRATION_URL": dsn}
    with Processor(own_redis.url(), dsn, settings=settings) as processor:
        eventually(lambda: answer(processor, "/readyz") == READY)
        eventually(lambda: status(processor)["pipeline"]["totals"]["entries"] == 2)
        code, body = answer(processor, "/status")
        assert processor.terminate() == 0
    telemetry.close()
    document: dict[str, Any] = json.loads(body)
    assert code == 200
    assert {name: document[name] for name in ("version", "stream", "group", "consumer")} == {
        "version": version("teltonika-processor"),
        "stream": "telemetry:teltonika",
        "group": "processor",
        "consumer": "one",
    }
    assert (document["alive"], document["ready"], document["failings"]) == (True, True, [])
    totals = document["pipeline"]["totals"]
    assert totals == {"entries": 2, "records": 4, "stored": 2, "duplicates": 2, "dead_lettered": 0}
    assert document["settings"]["DATABASE_URL"].startswith("postgresql://")
    assert "hunter2" not in body
    assert len(password) > 10
    assert password not in body
