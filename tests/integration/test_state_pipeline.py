"""What a pipeline remembers of devices: asked for before it is needed, and never more than true."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

import pipelines
from pipelines import Held, Running, running
from servers import create_database, database_dsn, drop_database
from telemetry import BASE_MS, IMEI, STREAM, Telemetry, entry, frame_at
from teltonika_processor.codec.native import DeviceState, Rows
from teltonika_processor.events import BatchCommitted, DevicesRehydrated, RetryScheduled
from waiting import eventually_async

END_SESSIONS = """
SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
WHERE application_name = 'teltonika-processor/one' AND datname = current_database()
"""

Entries = Sequence[Mapping[str, bytes | str]]


@dataclass
class Writes:
    """Rows of each write."""

    rows: list[int] = field(default_factory=list)

    def __call__(self, rows: Rows) -> None:
        self.rows.append(rows.n_rows)


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
async def admin(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database)
    yield connection
    await connection.close()


def held_by(writes: Writes) -> Held:
    held = Held(fault=writes)
    held.write_now.set()
    return held


def at_once(telemetry: Telemetry, entries: Entries) -> None:
    """Append entries so that one read takes them all."""
    transaction = telemetry.client.pipeline(transaction=True)
    for fields in entries:
        transaction.xadd(STREAM, dict(fields))
    transaction.execute()


async def settle(run: Running, entries: Entries) -> None:
    at_once(run.telemetry, entries)
    await eventually_async(run.settled)


async def warm_up(run: Running) -> None:
    """Let both writers open their sessions, since nothing is remembered beyond that."""
    for i in range(2):
        await settle(run, [entry(frame_at(BASE_MS + i), IMEI - 1)])


def rehydrated(run: Running) -> list[tuple[int, int]]:
    """(devices, found) of each look-up."""
    return [
        (event.devices, event.found) for event in run.events if isinstance(event, DevicesRehydrated)
    ]


def committed(run: Running) -> BatchCommitted:
    """The last one."""
    return [event for event in run.events if isinstance(event, BatchCommitted)][-1]


# Before a batch is folded


async def test_a_batch_waits_for_the_state_of_its_devices(
    redis_url: str, migrated_database: str, admin: asyncpg.Connection, writes: Writes
) -> None:
    async with running(redis_url, migrated_database, held=held_by(writes)) as run:
        await warm_up(run)
        before = len(rehydrated(run))
        await admin.execute("BEGIN; LOCK TABLE last_position IN ACCESS EXCLUSIVE MODE")
        at_once(run.telemetry, [entry(frame_at(BASE_MS), IMEI + i) for i in range(2)])
        (retry,) = await run.said(RetryScheduled)
        assert isinstance(retry, RetryScheduled)
        assert retry.error_type == "SinkUnavailable"
        assert (writes.rows, rehydrated(run)[before:]) == ([1, 1], [])
        assert (run.telemetry.pending(), len(run.pipeline.ledger)) == (2, 2)
        await admin.execute("ROLLBACK")
        await eventually_async(run.settled)
    assert (writes.rows, rehydrated(run)[before:]) == ([1, 1, 2], [(2, 0)])
    assert run.pipeline.totals.stored == 4


async def test_all_cold_devices_of_a_batch_are_asked_for_at_once_and_only_once(
    redis_url: str, migrated_database: str, writes: Writes
) -> None:
    async with running(redis_url, migrated_database, held=held_by(writes)) as run:
        await warm_up(run)
        before = len(rehydrated(run))
        await settle(run, [entry(frame_at(BASE_MS), IMEI + i) for i in range(30)])
        assert rehydrated(run)[before:] == [(30, 0)]
        await settle(run, [entry(frame_at(BASE_MS + 1000), IMEI + i) for i in range(30)])
    assert rehydrated(run)[before:] == [(30, 0)]
    assert writes.rows == [1, 1, 30, 30]


async def test_a_new_instance_finds_the_devices_that_have_a_position(
    redis_url: str, migrated_database: str, writes: Writes
) -> None:
    async with running(redis_url, migrated_database, held=held_by(writes)) as run:
        no_fix = frame_at(BASE_MS, satellites=0)
        await settle(run, [entry(frame_at(BASE_MS)), entry(no_fix, IMEI + 1)])
    async with running(redis_url, migrated_database, held=held_by(writes)) as run:
        await settle(run, [entry(frame_at(BASE_MS + 1000), IMEI + i) for i in range(3)])
    assert rehydrated(run) == [(3, 1)]


# What is remembered of commits


async def test_what_is_sent_again_is_acknowledged_without_postgres(
    redis_url: str, migrated_database: str, admin: asyncpg.Connection, writes: Writes
) -> None:
    entries = [
        entry(frame_at(BASE_MS + i * 1000, BASE_MS + i * 1000 + 500), IMEI + i % 2)
        for i in range(4)
    ]
    async with running(redis_url, migrated_database, held=held_by(writes)) as run:
        await warm_up(run)
        await settle(run, entries)
        await admin.execute("BEGIN; LOCK TABLE positions, last_position, devices")
        await settle(run, entries)
        await admin.execute("ROLLBACK")
    assert [rows for rows in writes.rows if rows] == [1, 1, 8]
    again = committed(run)
    assert (again.entries, again.records, again.stored, again.retransmitted) == (4, 8, 0, 8)
    assert (run.pipeline.totals.entries, run.pipeline.totals.stored) == (10, 10)
    assert not any(isinstance(event, RetryScheduled) for event in run.events)


async def test_on_a_new_connection_nothing_is_remembered(
    redis_url: str, migrated_database: str, admin: asyncpg.Connection, writes: Writes
) -> None:
    """It may lead to another server, or to the same one with an older history."""
    first, second = entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS + 1000))
    async with running(redis_url, migrated_database, held=held_by(writes)) as run:
        await warm_up(run)
        await settle(run, [first])
        await settle(run, [first])
        assert committed(run).retransmitted == 1
        before = len(rehydrated(run))
        assert await admin.fetchval(END_SESSIONS) == 2
        await settle(run, [second])
        assert rehydrated(run)[before:] == [(1, 1)]
        await settle(run, [first])
        last = committed(run)
        assert (last.stored, last.duplicates, last.retransmitted) == (0, 1, 0)


# A restart

MOVING, RESTING, PARKED, LATE = IMEI, IMEI + 1, IMEI + 2, IMEI + 3
NO_FIX = {"satellites": 0}
# Late records, copies, records of one millisecond that differ; every device is in every batch.
BATCHES: Sequence[Entries] = (
    (
        entry(frame_at(BASE_MS + 9000), MOVING),
        entry(frame_at(BASE_MS + 1000), MOVING),
        entry(frame_at(BASE_MS + 5000, speed_kmh=40), RESTING),
        entry(frame_at(BASE_MS, **NO_FIX), PARKED),
        entry(frame_at(BASE_MS + 9000), LATE),
    ),
    (
        entry(frame_at(BASE_MS + 2000), MOVING),
        entry(frame_at(BASE_MS + 9000), MOVING),
        entry(frame_at(BASE_MS + 5000, speed_kmh=41), RESTING),
        entry(frame_at(BASE_MS, **NO_FIX), PARKED),
        entry(frame_at(BASE_MS + 1000), LATE),
    ),
    (
        entry(frame_at(BASE_MS + 9000, speed_kmh=90), MOVING),
        entry(frame_at(BASE_MS + 3000, BASE_MS + 9000), MOVING),
        entry(frame_at(BASE_MS + 5000, speed_kmh=42), RESTING),
        entry(frame_at(BASE_MS + 5000, speed_kmh=40), RESTING),
        entry(frame_at(BASE_MS + 1000, **NO_FIX), PARKED),
        entry(frame_at(BASE_MS + 2000), LATE),
    ),
)


@dataclass(frozen=True)
class Left:
    """What a history leaves: rows of both tables, and (held, position) of each device."""

    positions: list[str]
    last_positions: list[str]
    devices: dict[int, tuple[bool, Any]]


@pytest.fixture
def second_database(migrated_database: str, maintenance_dsn: str) -> Iterator[str]:
    """Another one like the first, which nobody has used yet."""
    name = migrated_database.partition("?")[0].rpartition("/")[2]
    create_database(maintenance_dsn, f"{name}_2", template=name)
    yield database_dsn(maintenance_dsn, f"{name}_2")
    drop_database(maintenance_dsn, f"{name}_2")


async def left_by(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, dsn: str, lives: Sequence[Sequence[Entries]]
) -> Left:
    """Run the batches of each life in a pipeline of its own, with a state of its own."""
    states: list[DeviceState] = []

    def new_state(devices_max: int) -> DeviceState:
        states.append(DeviceState(devices_max))
        return states[-1]

    monkeypatch.setattr(pipelines, "DeviceState", new_state)
    for batches in lives:
        async with running(redis_url, dsn, held=held_by(Writes())) as run:
            for entries in batches:
                await settle(run, entries)
    telemetry = Telemetry(redis_url)
    telemetry.client.flushdb()
    telemetry.close()
    assert len(states) == len(lives)
    connection = await asyncpg.connect(dsn)
    order = "ORDER BY imei, recorded_at, digest"
    positions = f"SELECT (to_jsonb(p) - 'received_at')::text FROM positions AS p {order}"
    last_positions = f"SELECT to_jsonb(p)::text FROM last_position AS p {order}"
    left = Left(
        [row[0] for row in await connection.fetch(positions)],
        [row[0] for row in await connection.fetch(last_positions)],
        {
            imei: (states[-1].holds(imei), states[-1].position(imei))
            for imei in (MOVING, RESTING, PARKED, LATE)
        },
    )
    await connection.close()
    return left


@pytest.mark.parametrize("restart_after", [1, 2])
async def test_a_restart_leaves_the_tables_and_the_state_as_without_it(
    monkeypatch: pytest.MonkeyPatch,
    redis_url: str,
    migrated_database: str,
    second_database: str,
    restart_after: int,
) -> None:
    lives = (BATCHES[:restart_after], BATCHES[restart_after:])
    without = await left_by(monkeypatch, redis_url, migrated_database, (BATCHES,))
    restarted = await left_by(monkeypatch, redis_url, second_database, lives)
    assert restarted == without
    assert (len(without.positions), len(without.last_positions)) == (13, 3)
    newest_us = {imei: held[1] and held[1][0] for imei, held in without.devices.items()}
    assert newest_us == {
        MOVING: (BASE_MS + 9000) * 1000,
        RESTING: (BASE_MS + 5000) * 1000,
        PARKED: None,
        LATE: (BASE_MS + 9000) * 1000,
    }
    assert all(is_held for is_held, _ in without.devices.values())
