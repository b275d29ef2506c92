"""Zones in the table: versions, and the marks of an edit that also reach a batch that is open."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from crossings import NOON, marked
from rows import NOON_MS, Record
from teltonika_processor.store import zone_edits
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.store.zones import (
    Edited,
    ZoneColumns,
    all_zones,
    disable_zone,
    plan_zones,
    write_zones,
)
from writing import IMEI, write

HOUR = timedelta(hours=1)


def pit(**changes: Any) -> ZoneColumns:
    columns: dict[str, Any] = {
        "name": "pit",
        "kind": "circle",
        "geometry": {"type": "Point", "coordinates": [25.0, 54.0]},
        "radius_m": 100.0,
        "direction": None,
        "hysteresis_m": 0.0,
        "minimum_lap_s": None,
    }
    return ZoneColumns(**{**columns, **changes})


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="zones"))
    yield found
    await found.close()


async def finish(session: Any) -> None:
    async for _ in finish_edits(session):
        pass


async def test_a_zone_is_added_changed_and_left_as_it_is(session: Any) -> None:
    box = pit(name="box", radius_m=10.0)
    assert await write_zones(session, [pit(), box], valid_from=NOON) == [
        Edited("pit", "added"),
        Edited("box", "added"),
    ]
    wider = pit(radius_m=200.0)
    assert await write_zones(session, [wider, box], valid_from=NOON + HOUR) == [
        Edited("pit", "changed"),
        Edited("box", "unchanged"),
    ]
    found = [
        (
            *(zone.id, zone.version, zone.columns.name, zone.columns.radius_m),
            *(zone.valid_from, zone.valid_to),
        )
        for zone in await all_zones(session)
    ]
    assert found == [
        (1, 1, "pit", 100.0, NOON, NOON + HOUR),
        (1, 2, "pit", 200.0, NOON + HOUR, None),
        (2, 1, "box", 10.0, NOON, None),
    ]


async def test_an_edit_marks_every_device_for_the_time_that_it_changes(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    for number, hours in enumerate((-1, 0, 2)):
        await write(writer, Record(imei=IMEI + number, recorded_at_ms=NOON_MS + hours * 3_600_000))
    await write_zones(session, [pit()], valid_from=NOON)
    assert [zone.is_marked for zone in await all_zones(session)] == [False]
    await finish(session)
    assert await marked(admin) == [(IMEI + 1, 0.0, 0.0), (IMEI + 2, 0.0, 7200.0)]
    assert [zone.is_marked for zone in await all_zones(session)] == [True]
    await finish(session)


async def test_a_zone_that_counts_no_more_marks_what_comes_behind(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write_zones(session, [pit()], valid_from=NOON)
    await finish(session)
    await write(writer, Record(recorded_at_ms=NOON_MS + 2 * 3_600_000))
    await admin.execute("UPDATE refold SET ranges = '{}'")
    assert await disable_zone(session, "pit", valid_to=NOON + HOUR)
    await finish(session)
    assert await marked(admin) == [(IMEI, 3600.0, 7200.0)]
    assert not await disable_zone(session, "pit", valid_to=NOON + HOUR)
    assert not await disable_zone(session, "pits", valid_to=NOON)


async def test_an_edit_that_waits_says_for_whom(
    session: Any, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_edits, "_TOLD_EVERY_S", 0.0)
    told = asyncio.Queue[Sequence[str]]()

    async def whole() -> list[int]:
        return [n async for n in finish_edits(session, told.put_nowait)]

    batch = await asyncpg.connect(dsn, server_settings={"application_name": "of the night"})
    try:
        pid = batch.get_server_pid()
        await batch.execute("BEGIN; CREATE TABLE written (n int)")
        await write_zones(session, [pit()], valid_from=NOON)
        finishing = asyncio.create_task(whole())
        writers = await asyncio.wait_for(told.get(), 10)
        is_waiting = not finishing.done()
    finally:
        batch.terminate()
    assert await finishing == []
    assert is_waiting
    assert f"pid {pid} (of the night, " in " ".join(writers)


@pytest.mark.parametrize("begun", ["before the edit", "while the edit is written"])
async def test_an_edit_waits_for_the_batch_that_is_open_and_then_marks_its_device(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection, dsn: str, begun: str
) -> None:
    """A fixed interleaving: it stored its first fix and asked for zones before there was one.

    A batch that began while the edit was written has a higher number than any transaction that has
    ended when the edit has: no snapshot tells of it but as one that is yet to come.
    """
    await write(writer, Record(imei=IMEI + 1))
    batch = await asyncpg.connect(dsn)
    edit = session.transaction(isolation="read_committed")
    try:
        if begun == "while the edit is written":
            await edit.start()
            await write_zones(session, [pit()], valid_from=NOON - HOUR)
        await batch.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        await batch.execute(
            "INSERT INTO positions VALUES"
            " ($1, $2, 5, now(), 25, 54, 0, 0, 9, 0, 0, 0, NULL, false, '{}')",
            IMEI,
            NOON,
        )
        assert not await batch.fetchval("SELECT EXISTS (SELECT FROM zones)")
        if begun == "while the edit is written":
            await edit.commit()
        else:
            await write_zones(session, [pit()], valid_from=NOON - HOUR)
        finishing = asyncio.create_task(finish(session))
        done, _ = await asyncio.wait({finishing}, timeout=0.5)
        is_marked_early = await marked(admin) != []
        await batch.execute(
            "INSERT INTO last_position VALUES ($1, $2, 5, now(), 25, 54, 0, 0, 9, 0, 0, 0)",
            IMEI,
            NOON,
        )
        await batch.execute("COMMIT")
    finally:
        batch.terminate()
    await finishing
    assert (done, is_marked_early) == (set(), False)
    assert await marked(admin) == [(IMEI, -3600.0, 0.0), (IMEI + 1, -3600.0, 0.0)]


async def test_more_devices_than_a_page_are_all_marked(
    session: Any, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO last_position SELECT n, $1, 1, now(), 25, 54, 0, 0, 9, 0, 0, 0"
        " FROM generate_series(1, 2500) AS n",
        NOON,
    )
    await write_zones(session, [pit()], valid_from=NOON)
    await finish(session)
    assert await admin.fetchval("SELECT count(*) FROM refold WHERE NOT isempty(ranges)") == 2500


async def test_edits_of_one_stretch_are_marked_in_one_pass(
    session: Any, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO last_position SELECT n, $1, 1, now(), 25, 54, 0, 0, 9, 0, 0, 0"
        " FROM generate_series(1, 1500) AS n",
        NOON,
    )
    await write_zones(session, [pit(name=f"pit {n}") for n in range(20)], valid_from=NOON)
    assert [n async for n in finish_edits(session)] == [1000, 1500]
    assert {zone.is_marked for zone in await all_zones(session)} == {True}


async def test_a_zone_of_always_counts_from_the_first_fix_on(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record())
    assert await write_zones(session, [pit()], valid_from=None) == [Edited("pit", "added")]
    assert [(zone.valid_from, zone.valid_to) for zone in await all_zones(session)] == [(None, None)]
    await finish(session)
    ((imei, begin, end),) = await marked(admin)
    assert (imei, end) == (IMEI, 0.0)
    assert begin == (datetime(2010, 1, 1, tzinfo=UTC) - NOON).total_seconds()


async def test_the_same_zone_from_an_earlier_time_is_a_change(session: Any) -> None:
    await write_zones(session, [pit()], valid_from=NOON)
    assert await plan_zones(session, [pit()], valid_from=NOON + HOUR) == [
        Edited("pit", "unchanged")
    ]
    for earlier in (NOON - HOUR, None):
        assert await plan_zones(session, [pit()], valid_from=earlier) == [Edited("pit", "changed")]
        assert await write_zones(session, [pit()], valid_from=earlier) == [Edited("pit", "changed")]
    found = [(zone.version, zone.valid_from, zone.valid_to) for zone in await all_zones(session)]
    assert found == [(1, NOON, NOON), (2, NOON - HOUR, NOON - HOUR), (3, None, None)]


async def test_a_zone_that_counts_no_more_comes_back_as_a_new_version(session: Any) -> None:
    await write_zones(session, [pit()], valid_from=NOON)
    assert await disable_zone(session, "pit", valid_to=NOON + HOUR)
    assert await plan_zones(session, [pit()], valid_from=NOON) == [Edited("pit", "changed")]
    assert await write_zones(session, [pit()], valid_from=NOON + HOUR) == [Edited("pit", "added")]
    found = [(zone.version, zone.valid_from, zone.valid_to) for zone in await all_zones(session)]
    assert found == [(1, NOON, NOON + HOUR), (2, NOON + HOUR, None)]


async def test_disabling_before_the_newest_version_ends_the_older_ones_too(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(recorded_at_ms=NOON_MS + 3 * 3_600_000))
    await write_zones(session, [pit()], valid_from=NOON)
    await write_zones(session, [pit(radius_m=5.0)], valid_from=NOON + 2 * HOUR)
    await finish(session)
    await admin.execute("UPDATE refold SET ranges = '{}'")
    assert await disable_zone(session, "pit", valid_to=NOON + HOUR)
    await finish(session)
    found = [(zone.version, zone.valid_from, zone.valid_to) for zone in await all_zones(session)]
    assert found == [(1, NOON, NOON + HOUR), (2, NOON + 2 * HOUR, NOON + 2 * HOUR)]
    assert await marked(admin) == [(IMEI, 3600.0, 10_800.0)]
    assert await disable_zone(session, "pit", valid_to=None)
    assert [zone.valid_to for zone in await all_zones(session)] == [NOON, NOON + 2 * HOUR]


async def test_an_edit_in_the_middle_of_marking_for_the_same_stretch_stays_unfinished(
    session: Any, admin: asyncpg.Connection, dsn: str
) -> None:
    """The second changes what the first one's devices were derived by, and not the stretch."""
    await admin.execute(
        "INSERT INTO last_position (imei, recorded_at, digest, received_at, longitude, latitude,"
        " altitude_m, angle_deg, satellites, speed_kmh, priority, event_io_id)"
        " SELECT imei, $1, 1, $1, 25, 54, 0, 0, 5, 0, 0, 0"
        " FROM generate_series(350000000000000, 350000000001499) AS imei",
        NOON,
    )
    await write_zones(session, [pit()], valid_from=None)
    marking = finish_edits(session)
    assert await anext(marking) == 1000
    other = await open_session(SessionConfig(dsn=dsn, instance="other"))
    await disable_zone(other, "pit", valid_to=NOON)
    await other.close()
    assert [n async for n in marking] == [1500]
    assert not (await all_zones(session))[0].is_marked
    assert [n async for n in finish_edits(session)] == [1000, 1500]
    assert (await all_zones(session))[0].is_marked
