"""Devices in Postgres: listed in pages, looked at, let in."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import pytest

from pgbouncer import Pooler
from rows import DAY_MS, NOON_MS, Record
from teltonika_processor.errors import SinkRejected
from teltonika_processor.store import devices
from teltonika_processor.store.connection import Session
from teltonika_processor.store.devices import (
    Admitted,
    Filter,
    admit,
    device_pages,
    devices_session,
    stored_device,
    would_admit,
)
from teltonika_processor.store.positions import PositionWriter
from writing import IMEI, write

HOUR_S = 3600
NOON_S = NOON_MS / 1000


@pytest.fixture
async def session(writer_dsn: str, pooler: Pooler) -> AsyncIterator[Session]:
    """As the command opens it, by a pooler if there is one."""
    async with devices_session(writer_dsn, pooler=pooler) as session:
        yield session


async def listed(session: Session, limit: int = 100, after: int = 0, **wanted: Any) -> list[int]:
    pages = device_pages(session, Filter(**wanted), after=after, limit=limit)
    return [int(device.imei) for page in [page async for page in pages] for device in page]


async def admitted(session: Session, names: Mapping[int, str | None], *, allowed: bool) -> Admitted:
    planned = await would_admit(session, names, allowed=allowed)
    done = Admitted(0, 0, 0)
    async for part in admit(session, names, allowed=allowed):
        done = done.plus(part)
    assert done == planned
    return done


async def test_devices_are_listed_by_imei_in_pages_with_a_limit(
    session: Session, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_PAGE", 3)
    await admin.execute("INSERT INTO devices (imei) SELECT n FROM generate_series(1, 10) AS n")
    pages = device_pages(session, Filter(), after=0, limit=100)
    assert [[int(one.imei) for one in page] async for page in pages] == [
        [1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
        [10],
    ]
    assert await listed(session, limit=4) == [1, 2, 3, 4]
    assert await listed(session, after=8) == [9, 10]
    assert await listed(session, after=10) == []


async def test_devices_are_told_by_whether_they_are_allowed_and_when_they_were_heard_of(
    session: Session, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO devices (imei, allowed, last_seen_at) VALUES (1, true, NULL),"
        " (2, true, to_timestamp($1)), (3, false, to_timestamp($1 - 7200))",
        NOON_S,
    )
    assert await listed(session, allowed=True) == [1, 2]
    assert await listed(session, allowed=False) == [3]
    assert await listed(session, seen_from_s=NOON_S - HOUR_S) == [2]
    assert await listed(session, seen_before_s=NOON_S - HOUR_S) == [1, 3]
    assert await listed(session, seen_before_s=NOON_S - HOUR_S, allowed=True) == [1]


async def test_a_device_was_heard_of_with_its_newest_fix(
    session: Session, writer: PositionWriter
) -> None:
    await write(writer, Record(received_at_ms=NOON_MS + 1000))
    await write(writer, Record(recorded_at_ms=NOON_MS + 60_000, received_at_ms=NOON_MS + 61_000))
    (page,) = [page async for page in device_pages(session, Filter(), after=0, limit=9)]
    (device,) = page
    assert (device.imei, device.name, device.allowed) == (f"{IMEI}", None, False)
    # Registered once an hour; the fix is of a minute later.
    assert device.first_seen_at_ms == NOON_MS + 1000
    assert device.last_seen_at_ms == NOON_MS + 61_000
    assert device.last_recorded_at_ms == NOON_MS + 60_000
    assert await listed(session, seen_from_s=NOON_S + 60) == [IMEI]


async def test_one_device_is_shown_with_its_last_day(
    session: Session, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(
        writer,
        Record(digest=1, recorded_at_ms=NOON_MS - DAY_MS),
        Record(digest=2, recorded_at_ms=NOON_MS - DAY_MS - 1),
        Record(digest=3, recorded_at_ms=NOON_MS),
        Record(digest=4, recorded_at_ms=NOON_MS + 500, satellites=0),
        Record(digest=5, recorded_at_ms=NOON_MS + 1, clock_suspect=True),
        Record(digest=6, imei=7),
    )
    await admin.execute("UPDATE devices SET name = 'Van', attributes = '{\"team\": 3}'")
    stored = await stored_device(session, IMEI, now_ms=NOON_MS)
    assert stored.device is not None
    assert (stored.device.imei, stored.device.name) == (f"{IMEI}", "Van")
    assert stored.device.attributes == {"team": 3}
    assert stored.last_position is not None
    assert (stored.last_position.recorded_at_ms, stored.last_position.digest) == (NOON_MS, 3)
    assert (stored.last_position.longitude, stored.last_position.latitude) == (25.2797, 54.6872)
    recent = stored.recent
    assert (recent.n_records, recent.n_without_fix) == (3, 1)
    assert recent.newest_recorded_at_ms == NOON_MS + 500


async def test_the_last_day_opens_no_partition_of_another_time(
    session: Session, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    for day in range(5):
        await write(writer, Record(recorded_at_ms=NOON_MS - day * DAY_MS, digest=day))
    await admin.execute("BEGIN; LOCK TABLE positions_20261118, positions_20261119")
    assert (await stored_device(session, IMEI, now_ms=NOON_MS)).recent.n_records == 2
    await admin.execute("ROLLBACK")


async def test_a_device_that_nobody_knows_is_nothing(session: Session) -> None:
    stored = await stored_device(session, IMEI, now_ms=NOON_MS)
    assert (stored.device, stored.last_position, stored.is_anything) == (None, None, False)


async def test_devices_are_let_in_and_kept_out_and_a_second_time_changes_nothing(
    session: Session, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_PAGE", 2)
    await admin.execute("INSERT INTO devices (imei, name) VALUES (3, 'old'), (4, 'kept')")
    names = {5: "new", 3: "named", 4: None, 1: None}
    assert await admitted(session, names, allowed=True) == Admitted(2, 2, 0)
    assert await admitted(session, names, allowed=True) == Admitted(0, 0, 4)
    assert await admitted(session, {3: "other", 4: None}, allowed=True) == Admitted(0, 1, 1)
    assert await admitted(session, {4: None, 9: None}, allowed=False) == Admitted(1, 1, 0)
    rows = await admin.fetch("SELECT imei, name, allowed FROM devices ORDER BY imei")
    assert [tuple(row) for row in rows] == [
        (1, None, True),
        (3, "other", True),
        (4, "kept", False),
        (5, "new", True),
        (9, None, False),
    ]


async def test_what_the_processor_saw_of_a_device_stays_when_it_is_let_in(
    session: Session, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record())
    before = await admin.fetchrow("SELECT first_seen_at, last_seen_at FROM devices")
    assert await admitted(session, {IMEI: "Van"}, allowed=True) == Admitted(0, 1, 0)
    assert await admin.fetchrow("SELECT first_seen_at, last_seen_at FROM devices") == before


async def test_a_constraint_of_the_operators_is_told_as_a_refusal(
    writer_dsn: str, pooler: Pooler, admin: asyncpg.Connection
) -> None:
    await admin.execute("ALTER TABLE devices ADD CHECK (name <> 'x')")
    with pytest.raises(SinkRejected, match="23514"):
        async with devices_session(writer_dsn, pooler=pooler) as session:
            await admitted(session, {1: "x"}, allowed=True)
