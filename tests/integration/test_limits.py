"""Other limits of what is a path: all crossings are derived again, and their revisions say why."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import asyncpg
import pytest

from any_order import folding, nobody_is_marked
from crossings import NOON, at, crossings, marked
from moments import Beside
from rows import NOON_MS, Record
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones, ZonesChanged
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.timing import count_underived
from teltonika_processor.store.zone_edits import count_unfinished_edits, finish_edits
from teltonika_processor.store.zones import PathLimits, ZoneColumns, change_limits, write_zones
from teltonika_processor.timing.zone_cache import load_zones
from writing import IMEI, write

LINE: Final = ZoneColumns(
    name="line",
    kind="gate",
    geometry={"type": "LineString", "coordinates": [[24.0, 0.0], [26.0, 0.0]]},
    direction="both",
)
BEFORE: Final = NOON - timedelta(hours=1)

# 2 s, and 30 m/s, from one side of the line to the other: a path by the limits of the table.
THERE: Final = (at(0, -30), at(2, 30))
CROSSED: Final = [(1, "cross", 1.0, "right_to_left", "ok", 2.0)]
NO_PATH: Final = PathLimits(gap_s=1.5, jump_m_s=140.0)
EVER_LESS: Final = PathLimits(gap_s=1.25, jump_m_s=140.0)


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="limits"))
    yield found
    found.terminate()


@pytest.fixture
async def derived(session: Any, writer: PositionWriter, admin: asyncpg.Connection) -> None:
    """A device has crossed the line, and all is derived."""
    await write_zones(session, [LINE], valid_from=BEFORE)
    await finish(session)
    await write(writer, *THERE)
    await fold_all(session, admin)
    assert await crossings(admin) == CROSSED
    assert await causes(admin) == []


async def finish(session: Any) -> int:
    """How many devices were looked at."""
    return max([n async for n in finish_edits(session)], default=0)


async def fold(session: Any, known: KnownZones) -> None:
    await Folder(session, FoldLimits()).fold(known, [IMEI])


async def fold_all(session: Any, admin: asyncpg.Connection) -> None:
    while await marked(admin):
        await fold(session, await load_zones(session))


async def causes(admin: asyncpg.Connection) -> list[tuple[str, bool]]:
    """Why each crossing was replaced, and whether there is another in its place."""
    rows = await admin.fetch(
        "SELECT cause, is_now IS NOT NULL FROM timing_revisions ORDER BY revised_at"
    )
    return [tuple(row) for row in rows]


@pytest.mark.usefixtures("derived")
async def test_what_other_limits_replace_was_asked_for(
    session: Any, admin: asyncpg.Connection
) -> None:
    assert await change_limits(session, NO_PATH)
    assert (await count_unfinished_edits(session), await count_underived(session)) == (1, 1)
    assert await finish(session) == 1
    assert await count_unfinished_edits(session) == 0
    assert [row[0] for row in await marked(admin)] == [IMEI]
    await fold_all(session, admin)
    assert await crossings(admin) == []
    assert await causes(admin) == [("rerun", False)]
    assert await finish(session) == await count_underived(session) == 0


@pytest.mark.usefixtures("derived")
async def test_late_data_behind_other_limits_is_late_data(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    assert await change_limits(session, PathLimits(gap_s=299.0, jump_m_s=140.0))
    await finish(session)
    await fold_all(session, admin)
    await write(writer, at(1, -20))
    await fold_all(session, admin)
    assert await crossings(admin) == [(1, "cross", 1.4, "right_to_left", "ok", 2.0)]
    assert await causes(admin) == [("late_data", True)]


@pytest.mark.usefixtures("derived")
async def test_what_a_kill_left_of_it_is_finished_by_an_instance_for_the_same_cause(
    dsn: str, session: Any, admin: asyncpg.Connection
) -> None:
    """Killed between the commit and the marks."""
    assert await change_limits(session, NO_PATH)
    session.terminate()
    async with folding(dsn, 1, FoldLimits()):
        await nobody_is_marked(admin, 20)
    assert await crossings(admin) == []
    assert await causes(admin) == [("rerun", False)]


@pytest.mark.usefixtures("derived")
async def test_a_batch_between_the_commit_and_the_marks_is_derived_for_the_same_cause(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    """Its fold is the first by the other limits: what it replaces goes because of them."""
    await change_limits(session, NO_PATH)
    await write(writer, at(0, -30, digest=2))
    await fold_all(session, admin)
    assert await crossings(admin) == []
    assert await causes(admin) == [("rerun", False)]


@pytest.mark.usefixtures("derived")
@pytest.mark.parametrize("moment", ["marks", "fixes", "count"])
async def test_a_fold_beside_the_change_is_begun_again(
    session: Any, dsn: str, writer: PositionWriter, admin: asyncpg.Connection, moment: str
) -> None:
    """A fixed interleaving: it has read the mark of a batch, or is about to."""
    await write(writer, at(0, -30, digest=2))
    changing = await open_session(SessionConfig(dsn=dsn, instance="change"))
    known = await load_zones(session)
    beside: Any = Beside(session, moment, lambda: change_limits(changing, NO_PATH))
    with pytest.raises(ZonesChanged):
        await fold(beside, known)
    changing.terminate()
    await fold_all(session, admin)
    assert await causes(admin) == [("rerun", False)]


@pytest.mark.usefixtures("derived")
async def test_a_change_in_the_middle_of_marking_stays_unfinished(
    session: Any, dsn: str, admin: asyncpg.Connection
) -> None:
    """Devices that were marked for the first may be derived before the second is there."""
    await add_devices(admin, 1500)
    await change_limits(session, NO_PATH)
    marking = finish_edits(session)
    assert await anext(marking) == 1000
    other = await open_session(SessionConfig(dsn=dsn, instance="other"))
    await change_limits(other, EVER_LESS)
    other.terminate()
    assert [n async for n in marking] == [1501]
    assert await count_unfinished_edits(session) == 1
    assert [n async for n in finish_edits(session)] == [1000, 1501]
    assert await count_unfinished_edits(session) == 0


@pytest.mark.usefixtures("derived")
async def test_a_zone_that_is_edited_is_no_rerun(session: Any, admin: asyncpg.Connection) -> None:
    other_way = replace(LINE, direction="left_to_right")
    await write_zones(session, [other_way], valid_from=BEFORE)
    await finish(session)
    await fold_all(session, admin)
    assert await causes(admin) == [("zone_edit", False)]


async def test_without_zones_nobody_is_marked(
    session: Any, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(recorded_at_ms=NOON_MS))
    assert await change_limits(session, NO_PATH)
    assert (await count_unfinished_edits(session), await finish(session)) == (0, 0)
    assert await marked(admin) == []
    assert not await change_limits(session, NO_PATH)


async def test_a_change_of_limits_is_counted_and_its_marking_is_not(
    session: Any, admin: asyncpg.Connection
) -> None:
    number = "SELECT number FROM zones_change"
    await write_zones(session, [LINE], valid_from=BEFORE)
    assert await admin.fetchval(number) == 1
    await change_limits(session, NO_PATH)
    assert await admin.fetchval(number) == 2
    await finish(session)
    assert await admin.fetchval(number) == 2
    await admin.execute("DELETE FROM timing_limits")
    assert await admin.fetchval(number) == 3


async def add_devices(admin: asyncpg.Connection, n: int) -> None:
    await admin.execute(
        "INSERT INTO last_position SELECT n, $1, 1, now(), 25, 54, 0, 0, 9, 0, 0, 0"
        " FROM generate_series(1, $2::integer) AS n",
        *(NOON, n),
    )
