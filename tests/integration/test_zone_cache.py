"""Loading the zones of the table, beside everything else that the event loop does."""

import threading
from typing import Any

import asyncpg
import pytest

from teltonika_processor.codec.native import Zone
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.timing import zone_cache


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
