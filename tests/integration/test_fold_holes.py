"""Marks that end where a device has no fix for longer than is read at once."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from crossings import NOON, at, crossings
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.store.zones import ZoneColumns, disable_zone, write_zones
from teltonika_processor.timing.zone_cache import load_zones
from writing import IMEI, write

DAY_S = 86_400
DAY = timedelta(days=1)

PIT = ZoneColumns(
    name="pit",
    kind="circle",
    geometry={"type": "Point", "coordinates": [25.0, 0.0]},
    radius_m=100.0,
)


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="test-0"))
    yield found
    await found.close()


@pytest.fixture
async def was_ended(session: Any, writer: PositionWriter) -> None:
    """Inside at noon, not seen for ten days, while the zone ended after five."""
    await write_zones(session, [PIT], valid_from=None)
    await write(writer, at(0, 0), at(10 * DAY_S, 0), at(10 * DAY_S + 1, 0))
    await disable_zone(session, "pit", valid_to=NOON + 5 * DAY)
    await derive(session)


async def derive(session: Any) -> None:
    """Finish the edits, and fold until nothing is marked."""
    async for _ in finish_edits(session):
        pass
    zones = await load_zones(session)
    folder = Folder(session, FoldLimits())
    while (await folder.fold(zones, [IMEI])).n_marked:
        pass


@pytest.mark.usefixtures("was_ended")
async def test_an_earlier_end_of_a_zone_moves_the_exit_behind_the_hole(
    session: Any, admin: asyncpg.Connection
) -> None:
    assert [row[1:3] for row in await crossings(admin)] == [
        ("initial", 0.0),
        ("exit", 5.0 * DAY_S),
    ]
    await disable_zone(session, "pit", valid_to=NOON + DAY)
    await derive(session)
    assert [row[1:3] for row in await crossings(admin)] == [("initial", 0.0), ("exit", 1.0 * DAY_S)]


@pytest.mark.usefixtures("was_ended")
async def test_a_zone_that_never_counted_leaves_no_exit_behind_the_hole(
    session: Any, admin: asyncpg.Connection
) -> None:
    await disable_zone(session, "pit", valid_to=None)
    await derive(session)
    assert await crossings(admin) == []


@pytest.mark.usefixtures("was_ended")
async def test_a_fix_between_two_stretches_that_are_marked_is_derived_too(
    session: Any, admin: asyncpg.Connection
) -> None:
    """The first has no fix, and the second begins behind the one that ends the segment over it."""
    await admin.execute("DELETE FROM timing_records WHERE kind = 'exit'")
    await admin.execute(
        "UPDATE refold SET ranges = tstzmultirange("
        " tstzrange($1::timestamptz, $1::timestamptz + interval '2 days', '[]'),"
        " tstzrange($1::timestamptz + '10 days', $1::timestamptz + '11 days', '[]'))",
        NOON + DAY,
    )
    await derive(session)
    assert [row[1:3] for row in await crossings(admin)] == [
        ("initial", 0.0),
        ("exit", 5.0 * DAY_S),
    ]
