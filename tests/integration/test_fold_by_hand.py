"""What somebody writes by hand is folded by, or refused with a message: no instance ends by it."""

from typing import Any

import asyncpg
import pytest

from crossings import CIRCLE, at, crossings
from teltonika_processor.codec.native import ZoneIndex
from teltonika_processor.errors import SchemaMismatch
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import count_changes, path_limits
from writing import IMEI, write


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="test-0"))
    yield found
    await found.close()


@pytest.fixture(autouse=True)
async def zones(admin: asyncpg.Connection) -> None:
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m)"
        " VALUES (1, 1, 'any', 'circle', '{}', 100)"
    )


async def fold(session: Any) -> None:
    """Until nothing is marked."""
    limits, changes = await path_limits(session), await count_changes(session)
    known = KnownZones(ZoneIndex([CIRCLE]), limits, changes, 1)
    folder = Folder(session, FoldLimits())
    while (await folder.fold(known, [IMEI])).n_marked:
        pass


@pytest.mark.parametrize(
    "ranges", ["{(,)}", "{[2026-01-01,)}", "{(,2027-01-01]}", "{[-infinity,infinity]}"]
)
async def test_a_mark_without_a_bound_is_all_there_is(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, ranges: str
) -> None:
    await write(writer, at(0, 0), at(10, 150))
    await admin.execute("UPDATE refold SET ranges = $1::text::tstzmultirange", ranges)
    await fold(session)
    assert [row[1] for row in await crossings(admin)] == ["initial", "exit"]


@pytest.mark.parametrize("ranges", ["{(,2009-12-31]}", "{[-infinity,-infinity]}"])
async def test_a_mark_before_all_that_can_be_changes_nothing(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, ranges: str
) -> None:
    await write(writer, at(0, 0), at(10, 150))
    await fold(session)
    before = await crossings(admin)
    await admin.execute("UPDATE refold SET ranges = $1::text::tstzmultirange", ranges)
    await fold(session)
    assert await crossings(admin) == before
    assert len(before) == 2


@pytest.mark.parametrize(
    ("gap_s", "cause"), [("1e-7", "gap"), ("1e13", "ok"), ("1e300", "ok"), ("infinity", "ok")]
)
async def test_a_gap_beyond_what_can_be_counted_is_the_least_or_none(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, gap_s: str, cause: str
) -> None:
    await write(writer, at(0, 0), at(10, 150))
    await admin.execute("UPDATE timing_limits SET gap_s = $1::text::float8", gap_s)
    await fold(session)
    assert [row[4] for row in await crossings(admin)] == ["ok", cause]


@pytest.mark.parametrize("column", ["gap_s", "jump_m_s"])
async def test_a_limit_that_is_no_number_is_named(
    admin: asyncpg.Connection, session: Any, column: str
) -> None:
    await admin.execute(f"UPDATE timing_limits SET {column} = 'NaN'")
    with pytest.raises(SchemaMismatch, match="timing_limits: a limit is NaN"):
        await path_limits(session)
