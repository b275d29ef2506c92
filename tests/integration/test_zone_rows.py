"""Whatever stands in `zones`, it is folded by or named: no row ends an instance."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from teltonika_processor.errors import ZoneUnusable
from teltonika_processor.store.zones import ZoneColumns, all_zones, write_zones
from teltonika_processor.timing.zone_cache import load_zones


@pytest.fixture
async def session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


def pit(radius_m: float) -> ZoneColumns:
    geometry = {"type": "Point", "coordinates": [25.0, 54.0]}
    return ZoneColumns(name="pit", kind="circle", geometry=geometry, radius_m=radius_m)


async def test_a_zone_of_always_that_is_replaced_for_always_counts_at_no_time(
    session: asyncpg.Connection,
) -> None:
    for radius_m in (10.0, 20.0):
        await write_zones(session, [pit(radius_m)], valid_from=None)
    first, second = await all_zones(session)
    assert (first.valid_from, first.valid_to) == (None, datetime(1, 1, 1, tzinfo=UTC))
    assert (second.valid_from, second.valid_to) == (None, None)
    assert (await load_zones(session)).n_versions == 2


@pytest.mark.parametrize("bound", ["infinity", "294000-01-01 UTC", "4713-01-01 BC"])
async def test_a_moment_that_python_does_not_know_is_the_nearest_one(
    session: asyncpg.Connection, bound: str
) -> None:
    await write_zones(session, [pit(10.0)], valid_from=None)
    await session.execute(f"UPDATE zones SET valid_from = '{bound}', valid_to = 'infinity'")
    (zone,) = await all_zones(session)
    assert zone.valid_from in {datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)}
    assert (await load_zones(session)).n_versions == 1


@pytest.mark.parametrize(
    "geometry", ["{}", "[]", '{"type": "Point", "coordinates": null}', '{"coordinates": [1]}']
)
async def test_a_row_that_is_no_zone_is_named(session: asyncpg.Connection, geometry: str) -> None:
    await write_zones(session, [pit(10.0)], valid_from=None)
    await session.execute(f"UPDATE zones SET geometry = '{geometry}'")
    with pytest.raises(ZoneUnusable, match=r"zones: id 1, version 1 \(pit\): "):
        await load_zones(session)
