"""Loading the zones of the table, beside everything else that the event loop does."""

import threading
from typing import Any

import asyncpg
import pytest

from teltonika_processor.cli.zones_outlook import look_ahead
from teltonika_processor.codec.native import Zone
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.zones import ZoneColumns, write_zones
from teltonika_processor.timing import zone_cache

PIT = ZoneColumns(
    name="pit",
    kind="circle",
    geometry={"type": "Point", "coordinates": [25.0, 54.0]},
    radius_m=100.0,
)


async def test_zones_are_built_outside_the_thread_of_the_event_loop(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m) SELECT n, 1, 'pit ' || n,"
        """ 'circle', '{"type": "Point", "coordinates": [25, 54]}', 100"""
        " FROM generate_series(1, 3) AS n"
    )
    threads = []
    built = zone_cache.native_zone

    def told(*of: Any) -> Zone:
        threads.append(threading.get_ident())
        return built(*of)

    monkeypatch.setattr(zone_cache, "native_zone", told)
    session = await open_session(SessionConfig(dsn=dsn, instance="zones"))
    known = await zone_cache.load_zones(session)
    await session.close()
    assert (known.n_versions, len(known.index), len(threads)) == (3, 3, 3)
    assert threading.get_ident() not in threads


async def test_a_look_ahead_makes_its_index_outside_of_the_transaction_that_it_rolls_back(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds for large zones: the server ends who idles in one, and edits wait."""
    session = await open_session(SessionConfig(dsn=dsn, instance="zones"))
    made, was_in_transaction = zone_cache._index_of, list[bool]()

    def make(zones: Any) -> Any:
        was_in_transaction.append(session.is_in_transaction())
        return made(zones)

    monkeypatch.setattr(zone_cache, "_index_of", make)
    await look_ahead(
        session, lambda: write_zones(session, [PIT], valid_from=None), None, is_asked=False
    )
    await session.close()
    assert was_in_transaction == [False]
    assert await admin.fetchval("SELECT count(*) FROM zones") == 0
