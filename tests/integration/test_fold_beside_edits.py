"""Fixed interleavings: zones change between two statements of a fold, which counts by the new ones.

A fold asks behind the marks how often zones changed. Whoever changes them afterwards marks devices
once more: the next fold finds them.
"""

from datetime import timedelta
from typing import Any, Final

import asyncpg
import pytest

from crossings import NOON, at, crossings, marked
from moments import WRITE, Beside
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones, ZonesChanged
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.store.zones import ZoneColumns, write_zones
from teltonika_processor.timing.zone_cache import load_zones
from writing import IMEI, write

# A device goes 20 m a second north, from the middle of a circle of 100 m that becomes one of 50.
BY_THE_OLD: Final = [
    (1, "initial", 0.0, None, "ok", 0.0),
    (1, "exit", pytest.approx(5.0, abs=2e-6), None, "ok", 10.0),
]
BY_THE_NEW: Final = [
    (1, "initial", 0.0, None, "ok", 0.0),
    (1, "exit", pytest.approx(2.5, abs=2e-6), None, "ok", 10.0),
]

# Devices that are done, None where the zones are others; crossings that are stored then.
REFUSED: Final = (None, [])
PASSED_OVER: Final = (0, [])
WRITTEN: Final = (1, BY_THE_OLD)

READ_TO_COUNT: Final = ("marks", "fixes", "history", "count")
HOUR_S: Final = 3600.0
BEFORE: Final = NOON - timedelta(seconds=HOUR_S)


def circle(radius_m: float) -> ZoneColumns:
    geometry = {"type": "Point", "coordinates": [25.0, 0.0]}
    return ZoneColumns(name="pit", kind="circle", geometry=geometry, radius_m=radius_m)


class Edit:
    """From 100 m to 50."""

    def __init__(self, session: Any) -> None:
        self._session: Final = session

    async def commit(self) -> None:
        await write_zones(self._session, [circle(50.0)], valid_from=BEFORE)

    async def finish(self) -> None:
        """Mark devices for it."""
        async for _ in finish_edits(self._session):
            pass

    async def commit_and_finish(self) -> None:
        await self.commit()
        await self.finish()


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="fold"))
    yield found
    found.terminate()


@pytest.fixture
async def edit(dsn: str, writer: PositionWriter) -> Any:
    session = await open_session(SessionConfig(dsn=dsn, instance="edit"))
    await write_zones(session, [circle(100.0)], valid_from=BEFORE)
    edit = Edit(session)
    await edit.finish()
    await write(writer, at(0, 0), at(10, 200))
    yield edit
    session.terminate()


async def fold(session: Any, known: KnownZones, *, holds: bool = False) -> int | None:
    """How many devices were done; None: the zones are others."""
    try:
        return (await Folder(session, FoldLimits()).fold(known, [IMEI], holds=holds)).n_done
    except ZonesChanged:
        return None


async def fold_all(session: Any, admin: asyncpg.Connection, known: KnownZones) -> int:
    """Until nobody is marked, as a worker does; how often zones were loaded for it."""
    n_loads = 0
    while await marked(admin):
        if await fold(session, known) is None:
            known = await load_zones(session)
            n_loads += 1
    return n_loads


async def versions(admin: asyncpg.Connection) -> set[int]:
    return {row[0] for row in await admin.fetch("SELECT zone_version FROM timing_records")}


async def causes(admin: asyncpg.Connection) -> list[str]:
    """One for each crossing that was replaced."""
    return [row[0] for row in await admin.fetch("SELECT cause FROM timing_revisions")]


async def test_an_edit_between_loading_the_zones_and_the_fold_is_folded_by(
    session: Any, edit: Edit, admin: asyncpg.Connection
) -> None:
    known = await load_zones(session)
    await edit.commit_and_finish()
    with pytest.raises(ZonesChanged):
        await Folder(session, FoldLimits()).fold(known, [IMEI])
    assert (await crossings(admin), await marked(admin)) == ([], [(IMEI, -HOUR_S, 10.0)])
    assert await fold(session, await load_zones(session)) == 1
    assert (await crossings(admin), await marked(admin)) == (BY_THE_NEW, [])
    assert await versions(admin) == {2}


@pytest.mark.parametrize(("moment", "n_loads"), [("count", 0), ("versions", 1), ("limits", 1)])
async def test_an_edit_while_zones_are_loaded_is_folded_by(
    session: Any, edit: Edit, admin: asyncpg.Connection, moment: str, n_loads: int
) -> None:
    beside: Any = Beside(session, moment, edit.commit_and_finish)
    known = await load_zones(beside)
    loaded_again = await fold_all(session, admin, known)
    assert (await crossings(admin), await versions(admin)) == (BY_THE_NEW, {2})
    assert loaded_again == n_loads


@pytest.mark.parametrize(
    ("holds", "moment", "expected"),
    [
        *((False, moment, REFUSED) for moment in ("partitions", *READ_TO_COUNT)),
        *((False, moment, PASSED_OVER) for moment in ("stored", "begin", "lock")),
        *((True, moment, REFUSED) for moment in ("partitions", "begin", "lock")),
    ],
)
async def test_an_edit_before_a_fold_locks_is_folded_by_at_once(
    session: Any,
    edit: Edit,
    admin: asyncpg.Connection,
    *,
    holds: bool,
    moment: str,
    expected: Any,
) -> None:
    known = await load_zones(session)
    n_done = await fold(Beside(session, moment, edit.commit_and_finish), known, holds=holds)
    assert (n_done, await crossings(admin)) == expected
    n_loads = await fold_all(session, admin, known)
    assert (await crossings(admin), await versions(admin)) == (BY_THE_NEW, {2})
    assert n_loads == 1
    assert await causes(admin) == []


@pytest.mark.parametrize(
    ("holds", "moment", "expected"),
    [
        *((False, moment, WRITTEN) for moment in ("stored", "begin", "lock", *WRITE)),
        *((True, moment, REFUSED) for moment in READ_TO_COUNT),
        *((True, moment, WRITTEN) for moment in ("stored", *WRITE)),
    ],
)
async def test_an_edit_whose_marks_come_behind_a_fold_is_folded_by_then(
    session: Any,
    edit: Edit,
    admin: asyncpg.Connection,
    *,
    holds: bool,
    moment: str,
    expected: Any,
) -> None:
    known = await load_zones(session)
    n_done = await fold(Beside(session, moment, edit.commit), known, holds=holds)
    assert (n_done, await crossings(admin)) == expected
    await edit.finish()
    n_loads = await fold_all(session, admin, known)
    assert (await crossings(admin), await versions(admin)) == (BY_THE_NEW, {2})
    assert n_loads == 1
    assert await causes(admin) == ["zone_edit"] * len(expected[1])
