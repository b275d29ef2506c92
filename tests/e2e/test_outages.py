"""Servers that are not there, go away, and come back."""

import os
import signal
import time

import pytest

from fault.proxy import Proxy
from processes import Processor
from telemetry import (
    BASE_MS,
    GROUP,
    IMEI,
    STREAM,
    Key,
    Telemetry,
    entry,
    fetch,
    frame_at,
    holding,
    stored_keys,
)
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.store.migrate import LOCK_KEY
from waiting import eventually

NOWHERE_REDIS = "redis://127.0.0.1:1/0"
NOWHERE_POSTGRES = "postgresql://127.0.0.1:1/nowhere"

END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'teltonika-processor/%'
"""


def test_redis_killed_and_restarted_is_read_on(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    url = own_redis.url()
    telemetry = Telemetry(url)
    with Processor(url, migrated_database) as processor:
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        own_redis.kill()
        away = processor.wait_for("retry.scheduled")
        assert (away["stage"], away["error_type"]) == ("read", "StreamUnavailable")
        own_redis.start()
        telemetry.publish([entry(frame_at(BASE_MS + 1000))])
        eventually(telemetry.settled)
        processor.wait_for("retry.succeeded")
        assert processor.terminate() == 0
    telemetry.close()
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1000)]


def test_postgres_killed_and_restarted_is_written_on(
    own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    telemetry = Telemetry(redis_url)
    dsn = own_postgres.dsn()
    with Processor(redis_url, dsn) as processor:
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        own_postgres.kill()
        telemetry.publish([entry(frame_at(BASE_MS + 1000))])
        away = processor.wait_for("retry.scheduled")
        assert (away["stage"], away["error_type"]) == ("sink", "SinkUnavailable")
        assert telemetry.pending() == 1
        own_postgres.start()
        eventually(telemetry.settled)
        assert processor.terminate() == 0
        assert processor.wait_for("consumer.stopped")["dead_lettered"] == 0
    telemetry.close()
    assert stored_keys(dsn) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1000)]


def test_a_flushed_redis_gets_its_group_back(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry = Telemetry(own_redis.url())
    with Processor(own_redis.url(), migrated_database) as processor:
        processor.wait_for("consumer.started")
        telemetry.client.flushall()
        telemetry.publish([entry(frame_at(BASE_MS))])
        processor.wait_for("group.missing")
        eventually(lambda: stored_keys(migrated_database) == [Key(IMEI, BASE_MS)])
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    telemetry.close()


def test_what_a_server_restored_from_a_backup_lacks_is_not_taken_for_stored(
    own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """The instance is idle meanwhile: what it remembers as committed is not there any more."""
    telemetry = Telemetry(redis_url)
    dsn = own_postgres.dsn()
    with Processor(redis_url, dsn) as processor:
        processor.wait_for("consumer.started")
        telemetry.publish([entry(frame_at(BASE_MS + i * 1000)) for i in range(4)])
        eventually(telemetry.settled)
        fetch(dsn, END_SESSIONS)
        fetch(dsn, "TRUNCATE positions, last_position, devices")
        telemetry.client.xgroup_setid(STREAM, GROUP, "0")
        eventually(lambda: telemetry.settled() and len(stored_keys(dsn)) == 4)
        assert processor.terminate() == 0
    telemetry.close()
    assert fetch(dsn, "SELECT count(*) AS n FROM devices")[0]["n"] == 1
    assert fetch(dsn, "SELECT count(*) AS n FROM last_position")[0]["n"] == 1


def test_a_start_without_servers_waits_and_can_be_stopped() -> None:
    with Processor(NOWHERE_REDIS, NOWHERE_POSTGRES) as processor:
        starting = processor.wait_for("consumer.starting")
        assert processor.wait_for("retry.scheduled")["stage"] == "sink"
        assert processor.terminate() == 0
    assert (starting["redis"], starting["database"]) == (NOWHERE_REDIS, NOWHERE_POSTGRES)
    assert starting["waits_s"] is None
    assert all(line.startswith("{") for line in processor.output)


def test_a_start_that_waits_for_another_migration_can_be_stopped(
    redis_url: str, database: str
) -> None:
    settings = {"STARTUP_TIMEOUT_MS": "1000"}
    with (
        holding(database, f"SELECT pg_advisory_lock({LOCK_KEY})"),
        Processor(redis_url, database, settings=settings) as processor,
    ):
        asking = "SELECT FROM pg_stat_activity WHERE application_name LIKE '%-migrate/%'"
        eventually(lambda: fetch(database, asking))
        assert processor.terminate(timeout_s=5) == 0


def test_a_held_name_without_a_time_limit_is_left_to_its_holder(
    redis_url: str, migrated_database: str
) -> None:
    telemetry = Telemetry(redis_url)
    telemetry.client.set("telemetry:teltonika:consumer:processor:one", "somebody")
    telemetry.close()
    with Processor(redis_url, migrated_database) as processor:
        assert processor.wait_for("consumer.renamed")["taken"] == "one-2"
        assert processor.terminate() == 0


def hang(server: EmbeddedRedis) -> None:
    """Stop the server's process once the processor's read is parked in it."""
    telemetry = Telemetry(server.url())
    eventually(lambda: telemetry.client.info("clients")["blocked_clients"] == 1)
    telemetry.close()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)


def go_on(server: EmbeddedRedis) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGCONT)


def test_a_redis_that_hangs_does_not_hold_up_a_second_signal(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    with Processor(own_redis.url(), migrated_database) as processor:
        hang(own_redis)
        try:
            processor.signal(signal.SIGTERM)
            processor.wait_for("consumer.draining")
            processor.signal(signal.SIGTERM)
            assert processor.exit_code(timeout_s=2) == 0
        finally:
            go_on(own_redis)


def test_a_redis_that_hangs_leaves_the_drain_within_its_deadline(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    settings = {"DRAIN_TIMEOUT_MS": "500", "WRITE_TIMEOUT_MS": "500"}
    with Processor(own_redis.url(), migrated_database, settings=settings) as processor:
        hang(own_redis)
        try:
            assert processor.terminate(timeout_s=5) == 73
        finally:
            go_on(own_redis)


@pytest.mark.parametrize(("n_signals", "within_s"), [(1, 2.7), (2, 1.5)])
def test_two_servers_that_hang_hold_up_the_end_for_no_longer_than_docker_waits(
    own_redis: EmbeddedRedis, own_postgres: EmbeddedPostgres, n_signals: int, within_s: float
) -> None:
    """The drain, 0.5 s for what does not hear that it is cancelled, 1.2 s for all farewells."""
    telemetry = Telemetry(own_redis.url())
    settings = {"DRAIN_TIMEOUT_MS": "500", "WRITE_TIMEOUT_MS": "500", "LOG_LEVEL": "debug"}
    with Proxy(own_redis.port) as redis_wire, Proxy(own_postgres.port) as postgres_wire:
        redis_url = redis_wire.through(own_redis.url(over_tcp=True))
        dsn = postgres_wire.through(own_postgres.dsn(over_tcp=True))
        with Processor(redis_url, dsn, settings=settings) as processor:
            processor.wait_for("consumer.started")
            postgres_wire.stall()
            telemetry.publish([entry(frame_at(BASE_MS))])
            processor.wait_for("batch.decoded")
            redis_wire.stall()
            began = time.monotonic()
            processor.signal(signal.SIGTERM)
            processor.wait_for("consumer.draining")
            if n_signals == 2:
                processor.signal(signal.SIGTERM)
            assert processor.exit_code(timeout_s=10) == 73
            took_s = time.monotonic() - began
    telemetry.close()
    assert took_s < within_s


def test_postgres_not_reached_in_time_is_exit_75() -> None:
    settings = {"STARTUP_TIMEOUT_MS": "300"}
    with Processor(NOWHERE_REDIS, NOWHERE_POSTGRES, settings=settings) as processor:
        assert processor.exit_code() == 75
        failed = processor.wait_for("service.failed")
    expected = "Postgres was not reached within STARTUP_TIMEOUT_MS=300: Postgres: "
    assert failed["error"].startswith(expected)


def test_redis_not_reached_in_time_is_exit_75(migrated_database: str) -> None:
    settings = {"STARTUP_TIMEOUT_MS": "2000"}
    with Processor(NOWHERE_REDIS, migrated_database, settings=settings) as processor:
        assert processor.exit_code() == 75
        failed = processor.wait_for("service.failed")
    expected = "Redis was not reached within STARTUP_TIMEOUT_MS=2000: Redis: "
    assert failed["error"].startswith(expected)


def test_a_database_without_the_schema_is_exit_76(redis_url: str, database: str) -> None:
    with Processor(redis_url, database, "--no-migrate") as processor:
        assert processor.exit_code() == 76
        failed = processor.wait_for("service.failed")
    assert "migrate" in failed["error"]


def test_an_empty_database_is_migrated_at_the_start(redis_url: str, database: str) -> None:
    with Processor(redis_url, database) as processor:
        checked = processor.wait_for("schema.checked")
        processor.wait_for("consumer.started")
        assert processor.terminate() == 0
    assert checked["applied"][0].startswith("0001")
    assert fetch(database, "SELECT count(*) AS n FROM positions")[0]["n"] == 0


def test_a_table_dropped_under_the_processor_stops_it_with_everything_pending(
    redis_url: str, migrated_database: str
) -> None:
    telemetry = Telemetry(redis_url)
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("consumer.started")
        fetch(migrated_database, "DROP TABLE last_position")
        telemetry.publish([entry(frame_at(BASE_MS))])
        assert processor.exit_code() == 76
    assert telemetry.pending() == 1
    assert telemetry.letters() == []
    telemetry.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"BATCH_FRAMES": "none"}, "BATCH_FRAMES"), ({"LOG_LEVEL": "loud"}, "LOG_LEVEL")],
)
def test_a_wrong_setting_is_exit_78(settings: dict[str, str], named: str) -> None:
    with Processor(NOWHERE_REDIS, NOWHERE_POSTGRES, settings=settings) as processor:
        assert processor.exit_code() == 78
    assert named in "".join(processor.output)


def test_a_mistyped_variable_is_named_with_its_likely_meaning() -> None:
    settings = {"REDIS_TELEMETRY_STRAEM": "x", "STARTUP_TIMEOUT_MS": "100"}
    with Processor(NOWHERE_REDIS, NOWHERE_POSTGRES, settings=settings) as processor:
        processor.exit_code()
        mistyped = processor.wait_for("setting.mistyped")
    assert (mistyped["found"], mistyped["likely"]) == (
        "REDIS_TELEMETRY_STRAEM",
        "REDIS_TELEMETRY_STREAM",
    )


def test_a_password_appears_in_no_line(redis_url: str) -> None:
    secret = "postgresql://user:hunter2@127.0.0.1:1/nowhere"
    settings = {"STARTUP_TIMEOUT_MS": "300", "LOG_LEVEL": "debug"}
    with Processor(redis_url, secret, settings=settings) as processor:
        assert processor.exit_code() == 75
    assert "hunter2" not in "".join(processor.output)
