"""Told to stop: what was read is settled, nothing new is read, and nothing of ours stays behind."""

import signal
import socket
import time
from collections.abc import Iterator
from statistics import median
from typing import Final

import pytest

from fault.patched import hang_between_start_and_farewell
from fault.proxy import Direction, Proxy
from fault.wire import ENTRIES
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
    locked,
    stored_keys,
)
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from waiting import eventually

LEASE: Final = "telemetry:teltonika:consumer:processor:one"
N_FRAMES: Final = 2000
PER_FRAME: Final = 5
DEBUG: Final = {"LOG_LEVEL": "debug"}
SHORT: Final = {"DRAIN_TIMEOUT_MS": "1000", "WRITE_TIMEOUT_MS": "1000", **DEBUG}
# Two writers with one read each, one that waits, and one in the reader's hand.
FULL: Final = 4


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def backlog(n_frames: int = N_FRAMES) -> tuple[list[dict[str, bytes | str]], list[Key]]:
    """Frames of 40 devices, and the keys that they must leave."""
    entries, keys = [], []
    for i in range(n_frames):
        imei = IMEI + i % 40
        times = [BASE_MS + (i * PER_FRAME + k) * 1000 for k in range(PER_FRAME)]
        entries.append(entry(frame_at(*times), imei))
        keys += [Key(imei, time_ms) for time_ms in times]
    return entries, sorted(keys, key=lambda key: (key.imei, key.recorded_at_ms))


def one_frame(number: int = 0) -> dict[str, bytes | str]:
    return entry(frame_at(BASE_MS + number * 1000))


def key_of(number: int = 0) -> Key:
    return Key(IMEI, BASE_MS + number * 1000)


def delivered(telemetry: Telemetry) -> int:
    """Entries that the group was given so far."""
    (group,) = telemetry.client.xinfo_groups(STREAM)
    return int(group["entries-read"] or 0)


def consumers(telemetry: Telemetry) -> list[bytes]:
    return [about["name"] for about in telemetry.client.xinfo_consumers(STREAM, GROUP)]


def entries_read_after_draining(processor: Processor) -> list[int]:
    """What each read brought that came back after the signal."""
    names = [event["event"] for event in processor.events]
    after = processor.events[names.index("consumer.draining") :]
    return [event["count"] for event in after if event["event"] == "entries.read"]


def drain_with_another(redis_url: str, dsn: str, telemetry: Telemetry) -> None:
    """A next instance under the same name takes what is left."""
    with Processor(redis_url, dsn) as successor:
        successor.wait_for("consumer.started")
        eventually(telemetry.settled)
        assert successor.terminate() == 0


# Under full load


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_full_load_settles_what_was_read_and_leaves_the_rest(
    telemetry: Telemetry, redis_url: str, migrated_database: str, number: signal.Signals
) -> None:
    entries, keys = backlog()
    telemetry.publish(entries)
    settings = {"BATCH_FRAMES": "50", **DEBUG}
    with Processor(redis_url, migrated_database, settings=settings, fresh=True) as processor:
        processor.wait_for("batch.committed")
        processor.signal(number)
        assert processor.exit_code() == 0
        stopped = processor.wait_for("consumer.stopped")
        assert len(entries_read_after_draining(processor)) <= 1
    assert stopped["reason"] == number.name
    assert 0 < stopped["entries"] < N_FRAMES
    assert stopped["entries"] == delivered(telemetry)
    assert telemetry.pending() == 0
    assert len(stored_keys(migrated_database)) == stopped["stored"]
    drain_with_another(redis_url, migrated_database, telemetry)
    assert stored_keys(migrated_database) == keys


def test_a_full_pipeline_reads_nothing_after_the_signal_and_settles_all_it_holds(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    entries, keys = backlog()
    telemetry.publish(entries)
    with Processor(redis_url, migrated_database, settings=DEBUG) as processor:
        with locked(migrated_database, "positions"):
            processor.wait_for("batch.decoded", lambda batch: batch["batch_id"] == FULL)
            held = delivered(telemetry)
            processor.signal(signal.SIGTERM)
            draining = processor.wait_for("consumer.draining")
        assert processor.exit_code() == 0
        assert entries_read_after_draining(processor) == []
        stopped = processor.wait_for("consumer.stopped")
    assert 0 < held < N_FRAMES
    assert draining["in_flight_entries"] == held
    assert delivered(telemetry) == stopped["entries"] == held
    assert telemetry.pending() == 0
    assert len(stored_keys(migrated_database)) == held * PER_FRAME
    drain_with_another(redis_url, migrated_database, telemetry)
    assert stored_keys(migrated_database) == keys


def test_a_deadline_that_passes_under_full_load_leaves_everything_to_the_next(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    entries, keys = backlog()
    telemetry.publish(entries)
    with (
        locked(migrated_database, "positions"),
        Processor(redis_url, migrated_database, settings=SHORT) as processor,
    ):
        processor.wait_for("batch.decoded", lambda batch: batch["batch_id"] == FULL)
        held = delivered(telemetry)
        assert processor.terminate(timeout_s=5) == 73
        stopped = processor.wait_for("consumer.stopped")
    assert (stopped["exit_code"], stopped["in_flight_entries"]) == (73, held)
    assert telemetry.pending() == delivered(telemetry) == held
    assert consumers(telemetry) == [b"one"]
    assert stored_keys(migrated_database) == []
    drain_with_another(redis_url, migrated_database, telemetry)
    assert stored_keys(migrated_database) == keys
    assert telemetry.letters() == []


def test_a_stop_under_full_load_takes_at_most_2_s(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    n_frames = 10_000
    telemetry.publish(backlog(n_frames)[0])
    took_s = []
    for full in (2000, 4000, 6000):
        with Processor(redis_url, migrated_database) as processor:
            processor.wait_for("consumer.started")
            eventually(lambda enough=full: delivered(telemetry) >= enough)
            asked_at = time.monotonic()
            assert processor.terminate() == 0
            took_s.append(time.monotonic() - asked_at)
            stored = processor.wait_for("consumer.stopped")["stored"]
        assert stored > 0
        assert telemetry.pending() == 0
        assert delivered(telemetry) < n_frames
    print("seconds from SIGTERM to the end:", [round(s, 2) for s in took_s])  # noqa: T201 -- figure
    assert median(took_s) <= 2.0


# What is between the commit and the XACK


def test_what_was_committed_before_the_signal_is_acknowledged_after_it(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry = Telemetry(own_redis.url())
    telemetry.publish([one_frame()])
    with Processor(own_redis.url(), migrated_database, settings=DEBUG) as processor:
        with locked(migrated_database, "positions"):
            eventually(lambda: telemetry.pending() == 1)
            telemetry.client.execute_command("CLIENT", "PAUSE", 30_000, "WRITE")
        processor.wait_for("batch.committed")
        processor.signal(signal.SIGTERM)
        assert processor.wait_for("consumer.draining")["in_flight_entries"] == 1
        assert telemetry.pending() == 1
        telemetry.client.execute_command("CLIENT", "UNPAUSE")
        assert processor.exit_code() == 0
    assert telemetry.pending() == 0
    assert consumers(telemetry) == []
    telemetry.close()
    assert stored_keys(migrated_database) == [key_of()]


# What stays behind


def test_a_consumer_with_nothing_pending_is_removed_and_gives_its_name_back(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    telemetry.publish([one_frame()])
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert consumers(telemetry) == [b"one"]
        assert telemetry.client.exists(LEASE) == 1
        assert processor.terminate() == 0
        processor.wait_for("consumer.removed")
    assert consumers(telemetry) == []
    assert telemetry.client.exists(LEASE) == 0


def test_a_consumer_with_an_entry_to_try_again_stays_and_its_name_is_free(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    damaged = bytearray(frame_at(BASE_MS))
    damaged[20] ^= 1
    telemetry.publish([entry(bytes(damaged)), one_frame(1)])
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("frame.rejected")
        eventually(lambda: telemetry.pending() == 1)
        assert processor.terminate() == 0
        assert all(event["event"] != "consumer.removed" for event in processor.events)
    assert consumers(telemetry) == [b"one"]
    assert telemetry.pending() == 1
    assert telemetry.client.exists(LEASE) == 0
    assert stored_keys(migrated_database) == [key_of(1)]


def test_every_session_and_connection_is_closed_in_order(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    ours = (
        "SELECT application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE 'teltonika-processor%'"
    )
    telemetry.publish(backlog(400)[0])
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert fetch(migrated_database, ours)
        assert processor.terminate() == 0
    eventually(lambda: not fetch(migrated_database, ours))
    (sessions,) = fetch(
        migrated_database,
        "SELECT sessions_abandoned, sessions_fatal, sessions_killed FROM pg_stat_database "
        "WHERE datname = current_database()",
    )
    # Abandoned is what ended without a farewell.
    assert tuple(sessions) == (0, 0, 0)
    names = [client["name"] for client in telemetry.client.client_list()]
    assert not [name for name in names if name.startswith("teltonika-processor")]


# Reads that are parked


def test_an_idle_instance_ends_when_its_parked_read_does(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database) as processor:
        eventually(lambda: telemetry.client.info("clients")["blocked_clients"] == 1)
        asked_at = time.monotonic()
        assert processor.terminate() == 0
        took_s = time.monotonic() - asked_at
    # BLOCK is 500 ms; the rest is closing and the interpreter's end.
    assert took_s < 2.0


def test_what_a_parked_read_brings_after_the_signal_is_settled_too(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry = Telemetry(own_redis.url())
    with Proxy(own_redis.port) as wire:
        url = wire.through(own_redis.url(over_tcp=True))
        with Processor(url, migrated_database, settings=DEBUG) as processor:
            eventually(lambda: telemetry.client.info("clients")["blocked_clients"] == 1)
            on_its_way = wire.on(ENTRIES, Direction.TO_CLIENT)
            telemetry.publish([one_frame()])
            on_its_way.wait()
            processor.signal(signal.SIGTERM)
            processor.wait_for("consumer.draining")
            on_its_way.release()
            assert processor.exit_code() == 0
            assert entries_read_after_draining(processor) == [1]
    assert (telemetry.pending(), delivered(telemetry)) == (0, 1)
    assert consumers(telemetry) == []
    telemetry.close()
    assert stored_keys(migrated_database) == [key_of()]


def test_a_read_that_waits_for_more_entries_is_not_followed_by_another(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    settings = {"COMMIT_INTERVAL_MS": "1000", **DEBUG}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        processor.wait_for("consumer.started")
        telemetry.publish([one_frame(0)])
        processor.wait_for("batch.committed")
        telemetry.publish([one_frame(1)])
        eventually(lambda: delivered(telemetry) == 2)
        telemetry.publish([one_frame(2)])
        processor.signal(signal.SIGTERM)
        assert processor.exit_code() == 0
        assert processor.wait_for("consumer.stopped")["entries"] == 2
    assert delivered(telemetry) == 2
    assert telemetry.pending() == 0
    assert stored_keys(migrated_database) == [key_of(0), key_of(1)]


# While a server is away


def test_a_stop_while_redis_is_away_needs_nothing_of_it(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    with Processor(own_redis.url(), migrated_database) as processor:
        processor.wait_for("consumer.started")
        own_redis.kill()
        assert processor.wait_for("retry.scheduled")["stage"] == "read"
        assert processor.terminate(timeout_s=5) == 0


def test_what_was_committed_while_redis_is_away_is_pending_and_no_row_comes_twice(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    telemetry = Telemetry(own_redis.url())
    telemetry.publish([one_frame()])
    with Processor(own_redis.url(), migrated_database, settings=SHORT) as processor:
        with locked(migrated_database, "positions"):
            eventually(lambda: telemetry.pending() == 1)
            own_redis.kill()
        processor.wait_for("retry.scheduled", lambda retry: retry["stage"] == "xack")
        assert processor.terminate(timeout_s=8) == 73
        assert processor.wait_for("consumer.stopped")["in_flight_entries"] == 1
    assert stored_keys(migrated_database) == [key_of()]
    own_redis.start()
    assert telemetry.pending() == 1
    drain_with_another(own_redis.url(), migrated_database, telemetry)
    telemetry.close()
    assert stored_keys(migrated_database) == [key_of()]


def test_a_stop_while_postgres_is_away_and_nothing_is_in_hand_is_a_drain(
    own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    with Processor(redis_url, own_postgres.dsn()) as processor:
        processor.wait_for("consumer.started")
        own_postgres.kill()
        assert processor.terminate(timeout_s=5) == 0


def test_what_is_in_hand_while_postgres_is_away_stays_pending_and_lands_later(
    own_postgres: EmbeddedPostgres, telemetry: Telemetry, redis_url: str
) -> None:
    dsn = own_postgres.dsn()
    with Processor(redis_url, dsn, settings=SHORT) as processor:
        processor.wait_for("consumer.started")
        own_postgres.kill()
        telemetry.publish([one_frame()])
        assert processor.wait_for("retry.scheduled")["stage"] == "sink"
        assert processor.terminate(timeout_s=8) == 73
    assert telemetry.pending() == 1
    assert consumers(telemetry) == [b"one"]
    own_postgres.start()
    drain_with_another(redis_url, dsn, telemetry)
    assert stored_keys(dsn) == [key_of()]


def test_a_drain_outlives_an_outage_that_ends_before_its_deadline(
    own_postgres: EmbeddedPostgres, telemetry: Telemetry, redis_url: str
) -> None:
    dsn = own_postgres.dsn()
    with Processor(redis_url, dsn) as processor:
        processor.wait_for("consumer.started")
        own_postgres.kill()
        telemetry.publish([one_frame()])
        processor.wait_for("retry.scheduled")
        processor.signal(signal.SIGTERM)
        processor.wait_for("consumer.draining")
        own_postgres.start()
        assert processor.exit_code() == 0
    assert telemetry.pending() == 0
    assert stored_keys(dsn) == [key_of()]


# In every phase of the start


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_start_that_waits_for_a_silent_postgres_can_be_stopped(
    redis_url: str, silent_port: int
) -> None:
    dsn = f"postgresql://127.0.0.1:{silent_port}/fleet"
    with Processor(redis_url, dsn) as processor:
        processor.wait_for("consumer.starting")
        assert processor.terminate(timeout_s=5) == 0


def test_a_start_that_waits_for_a_silent_redis_can_be_stopped(
    migrated_database: str, silent_port: int
) -> None:
    with Processor(f"redis://127.0.0.1:{silent_port}", migrated_database) as processor:
        processor.wait_for("schema.checked")
        assert processor.terminate(timeout_s=5) == 0


def test_a_start_that_waits_for_redis_to_come_can_be_stopped(migrated_database: str) -> None:
    with Processor("redis://127.0.0.1:1/0", migrated_database) as processor:
        assert processor.wait_for("retry.scheduled")["stage"] == "read"
        assert processor.terminate(timeout_s=5) == 0


def test_a_start_that_watches_a_held_name_can_be_stopped(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    telemetry.client.set(LEASE, "somebody", px=9000)
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("schema.checked")
        eventually(lambda: "pttl" in [about["cmd"] for about in telemetry.client.client_list()])
        assert processor.terminate(timeout_s=5) == 0
        assert all(event["event"] != "consumer.started" for event in processor.events)
    assert telemetry.client.get(LEASE) == b"somebody"


@pytest.mark.parametrize(("n_signals", "within_s"), [(1, 2.7), (2, 1.5)])
def test_a_start_whose_servers_hang_holds_up_the_end_for_no_longer_than_the_farewells(
    telemetry: Telemetry, redis_url: str, migrated_database: str, n_signals: int, within_s: float
) -> None:
    with Processor(redis_url, migrated_database, first=hang_between_start_and_farewell) as start:
        eventually(lambda: telemetry.client.exists(LEASE))
        began = time.monotonic()
        start.signal(signal.SIGTERM)
        if n_signals == 2:
            start.signal(signal.SIGINT)
        assert start.exit_code(timeout_s=10) == 0
        took_s = time.monotonic() - began
        assert all(event["event"] != "consumer.started" for event in start.events)
    assert took_s < within_s


def test_a_stop_right_after_the_start_ends_at_once_and_loses_nothing(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    for number in range(10):
        with Processor(redis_url, migrated_database, settings=DEBUG) as processor:
            processor.wait_for("consumer.started")
            telemetry.publish([one_frame(number)])
            assert processor.terminate(timeout_s=5) == 0
        assert telemetry.pending() == 0
        assert telemetry.client.exists(LEASE) == 0
        assert consumers(telemetry) == []
        assert delivered(telemetry) == len(stored_keys(migrated_database))
    drain_with_another(redis_url, migrated_database, telemetry)
    assert stored_keys(migrated_database) == [key_of(number) for number in range(10)]
